//! Who may depend on whom: the arrows of the design point one way.
//!
//! ```text
//! abi ← sigmaos ← {named, schedd, proxy/base ← proxy/*, app/*, cli, bench}      abi ← jail      {kernel, bench} → schedd      kernel → sigmaos
//! ```
//! The kernel executes jail, named and proxies; nobody links them. Packages are told apart by their folders, and
//! `proxy/*` stands for each of a folder's; what a package's tests use is freer than what it ships.

use super::Problem;
use crate::workspace::{Kind, Package};

/// One package, or each of a folder's, and which of ours it may link.
struct Arrow {
    from: &'static str,
    to: &'static [&'static str],
}

const ARROWS: &[Arrow] = &[
    Arrow { from: "os/abi", to: &[] },
    Arrow { from: "os/rpcgen", to: &[] },
    Arrow { from: "os/sigmaos", to: &["os/abi"] },
    Arrow { from: "os/named", to: &["os/abi", "os/sigmaos"] },
    Arrow { from: "os/schedd", to: &["os/abi", "os/sigmaos"] },
    Arrow { from: "os/jail", to: &["os/abi"] },
    Arrow { from: "os/kernel", to: &["os/abi", "os/sigmaos", "os/schedd"] },
    Arrow { from: PROXY_BASE, to: &["os/sigmaos"] },
    Arrow { from: "proxy/*", to: &["os/abi", "os/sigmaos", PROXY_BASE] },
    Arrow { from: "app/socialnet", to: &["os/abi", "os/sigmaos", "app/cache"] },
    Arrow { from: "app/*", to: &["os/abi", "os/sigmaos"] },
    Arrow { from: "tool/bench", to: &["os/abi", "os/sigmaos", "os/schedd", "app/*"] },
    Arrow { from: "tool/cli", to: &["os/abi", "os/sigmaos", "tool/bench"] },
    Arrow { from: "tool/peer", to: &[] },
    Arrow { from: "tool/xtask", to: &[] },
    Arrow { from: "test", to: &["os/abi", "os/sigmaos", "os/schedd", "app/*", "tool/bench"] },
    Arrow { from: "test/procs", to: &["os/abi", "os/sigmaos"] },
];

/// Generates code at build time; whoever defines services may use it so.
const GENERATOR: &str = "os/rpcgen";

/// What all proxies have in common: the one package among them that others of them link.
const PROXY_BASE: &str = "proxy/base";

/// What is executed and never linked, not even by tests.
const EXECUTED: &[&str] = &["os/kernel", "os/named", "os/jail", "proxy/*", "tool/xtask", "tool/cli"];

/// Libraries that only some packages may link.
struct Restricted {
    library: &'static str,
    to: &'static [&'static str],
    why: &'static str,
}

const RESTRICTED: &[Restricted] = &[
    Restricted {
        library: "redb",
        to: &["os/named", "proxy/mongo", "tool/peer"],
        why: "only named knows a store",
    },
    Restricted { library: "etcd-client", to: &["os/named"], why: "only named knows a store" },
    Restricted {
        library: "object_store",
        to: &["proxy/s3", "tool/peer"],
        why: "only a proxy knows an outside system",
    },
    Restricted { library: "sqlx", to: &["proxy/db"], why: "only a proxy knows an outside system" },
    Restricted { library: "mongodb", to: &["proxy/mongo"], why: "only a proxy knows an outside system" },
    Restricted {
        library: "libc",
        to: &["os/jail", "os/sigmaos", "test/procs"],
        why: "unsafe calls live in the jail and the door",
    },
    Restricted {
        library: "prost-reflect",
        to: &["tool/cli"],
        why: "procs carry descriptors, and only tools read them",
    },
    Restricted { library: "seccompiler", to: &["os/jail"], why: "the sandbox lives in the jail" },
];

/// What a package may never link, whatever else it may.
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("os/abi", &["tokio", "rustix", "libc", "nix", "mio"], "abi does no I/O and is not async"),
    ("os/jail", &["tokio", "rayon", "futures"], "the jail has one thread"),
];

pub(super) fn check(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let manifest = if package.folder.is_empty() {
            "Cargo.toml".into()
        } else {
            format!("{}/Cargo.toml", package.folder)
        };
        let mut refuse = |fix: String| problems.push(Problem::new(&manifest, 1, "arrows", fix));
        let Some(arrow) = ARROWS.iter().find(|arrow| is_in(&package.folder, &[arrow.from])) else {
            refuse(format!("a new package must earn itself: add its row to the table in {}", file!()));
            continue;
        };
        for dependency in &package.dependencies {
            let name = &dependency.name;
            let ours = packages.iter().find(|other| other.name == *name).map(|other| other.folder.as_str());
            let why = match ours {
                Some(folder) => ours_refused(arrow, folder, dependency.kind),
                None => library_refused(&package.folder, name, dependency.kind),
            };
            if let Some(why) = why {
                refuse(format!("{} may not depend on {name}: {why}", package.name));
            }
        }
    }
    problems
}

fn ours_refused(arrow: &Arrow, folder: &str, kind: Kind) -> Option<&'static str> {
    if folder != PROXY_BASE && is_in(folder, EXECUTED) {
        return Some("it is executed, never linked");
    }
    let allowed = match kind {
        Kind::Normal => is_in(folder, arrow.to),
        Kind::Build => folder == GENERATOR && arrow.from != "os/abi",
        // A package's own tests may use what is above it, such as the fixture.
        Kind::Test => true,
    };
    (!allowed).then_some("arrows point one way (DESIGN, section 5): move what is shared down, or the call up")
}

fn library_refused(folder: &str, library: &str, kind: Kind) -> Option<&'static str> {
    if kind == Kind::Test {
        return None;
    }
    let restricted = RESTRICTED.iter().find(|row| row.library == library && !is_in(folder, row.to));
    let refused =
        REFUSED.iter().find(|(from, libraries, _)| is_in(folder, &[from]) && libraries.contains(&library));
    restricted.map(|row| row.why).or(refused.map(|(_, _, why)| *why))
}

/// Whether `folder` is one of `places`, of which `proxy/*` is each folder in `proxy`.
fn is_in(folder: &str, places: &[&str]) -> bool {
    places.iter().any(|place| match place.strip_suffix("/*") {
        Some(parent) => folder.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')),
        None => folder == *place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(folder: &str, dependencies: &[(&str, Kind)]) -> Package {
        Package {
            name: format!("sigma-{}", folder.rsplit('/').next().unwrap()),
            folder: folder.into(),
            binaries: Vec::new(),
            dependencies: dependencies
                .iter()
                .map(|&(name, kind)| Dependency { name: name.into(), kind })
                .collect(),
        }
    }

    /// Whether `from` may depend on the package or library `to`.
    fn may(from: &str, to: &str, kind: Kind) -> bool {
        let others = [
            "os/abi",
            "os/rpcgen",
            "os/sigmaos",
            "os/schedd",
            "os/kernel",
            "os/jail",
            "os/named",
            "proxy/base",
            "proxy/ux",
        ];
        let mut packages: Vec<_> =
            others.iter().filter(|other| **other != from).map(|other| package(other, &[])).collect();
        packages.push(package(from, &[(to, kind)]));
        check(&packages).is_empty()
    }

    #[test]
    fn arrows_point_one_way() {
        assert!(may("os/sigmaos", "sigma-abi", Kind::Normal));
        assert!(may("os/kernel", "sigma-schedd", Kind::Normal));
        assert!(may("proxy/s3", "sigma-sigmaos", Kind::Normal));
        assert!(!may("os/abi", "sigma-sigmaos", Kind::Normal));
        assert!(!may("os/jail", "sigma-sigmaos", Kind::Normal));
        assert!(!may("os/schedd", "sigma-kernel", Kind::Normal));
        assert!(may("os/schedd", "sigma-sigmaos", Kind::Test));
    }

    #[test]
    fn what_is_executed_is_never_linked() {
        for executed in ["sigma-kernel", "sigma-jail", "sigma-named", "sigma-ux"] {
            assert!(!may("test", executed, Kind::Normal), "{executed}");
            assert!(!may("test", executed, Kind::Test), "{executed}");
        }
        assert!(may("proxy/s3", "sigma-base", Kind::Normal) && !may("os/named", "sigma-base", Kind::Normal));
    }

    #[test]
    fn the_generator_works_at_build_time_and_not_for_abi() {
        assert!(may("os/sigmaos", "sigma-rpcgen", Kind::Build));
        assert!(!may("os/sigmaos", "sigma-rpcgen", Kind::Normal));
        assert!(!may("os/abi", "sigma-rpcgen", Kind::Build));
    }

    #[test]
    fn libraries_stay_where_they_belong() {
        assert!(may("os/named", "redb", Kind::Normal));
        assert!(!may("os/kernel", "redb", Kind::Normal));
        assert!(!may("os/kernel", "libc", Kind::Normal));
        assert!(!may("os/abi", "tokio", Kind::Normal));
        assert!(!may("os/jail", "tokio", Kind::Normal));
        assert!(may("os/abi", "tokio", Kind::Test));
    }

    #[test]
    fn a_package_without_a_row_is_refused() {
        assert_eq!(check(&[package("lib/extra", &[])]).len(), 1);
    }
}
