//! A dependency is a reviewed line: what it saves, how heavy it is, who keeps it. The lines are a table in
//! CONTRIBUTING.md, and this rule holds it against the one in Cargo.toml.

use super::Problem;
use crate::workspace::Package;

const SECTION: &str = "[workspace.dependencies]";
const REVIEWS: &str = "CONTRIBUTING.md";

pub(super) fn check(manifest: &str, reviews: Option<&str>, packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(reviews) = reviews else {
        let fix = "there is none: write one with a table of the dependencies";
        return vec![Problem::new(REVIEWS, 1, "dependencies", fix)];
    };
    for (line, name) in libraries(manifest) {
        let mut refuse = |fix: String| problems.push(Problem::new("Cargo.toml", line, "dependencies", fix));
        if !is_reviewed(reviews, name) {
            refuse(format!(
                "add a row for `{name}` to the table in {REVIEWS}: what it saves, its weight, its keeper"
            ));
        }
        let used = packages.iter().flat_map(|package| &package.dependencies).any(|used| used.name == name);
        if !used {
            refuse(format!("nothing uses {name}: delete the line"));
        }
    }
    problems
}

/// The names in the workspace's table that are not our own packages, with their line numbers.
fn libraries(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = manifest.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .skip_while(|(_, line)| *line != SECTION)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter(|(_, line)| !line.starts_with('#') && !line.contains("path = "))
        .filter_map(|(number, line)| Some((number, line.split_once('=')?.0.trim())))
}

/// Whether a row of a table names it, in backticks, in its first cell.
fn is_reviewed(reviews: &str, name: &str) -> bool {
    let rows = reviews.lines().filter_map(|line| line.trim_start().strip_prefix('|'));
    let mut first_cells = rows.filter_map(|row| row.split('|').next());
    first_cells.any(|cell| cell.contains(&format!("`{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Kind};

    const MANIFEST: &str = "[workspace]\nx = 1\n\n[workspace.dependencies]\nsigma-abi = { path = \"os/abi\" }\n# why\nbytes = \"1\"\nslab = { version = \"0.4\" }\n\n[profile.dev]\ny = 2\n";

    fn broken(reviews: Option<&str>, used: &[&str]) -> Vec<(String, usize)> {
        let dependencies =
            used.iter().map(|&name| Dependency { name: name.into(), kind: Kind::Normal }).collect();
        let packages =
            [Package { name: "x".into(), folder: "os/x".into(), binaries: Vec::new(), dependencies }];
        let problems = check(MANIFEST, reviews, &packages);
        problems.into_iter().map(|problem| (problem.path, problem.line)).collect()
    }

    #[test]
    fn each_library_has_its_row() {
        let rows = "| library | saves |\n|---|---|\n| `bytes` | x |\n| `slab`, `y` | x |\n";
        assert_eq!(broken(Some(rows), &["bytes", "slab"]), []);
        let mentioned = "| `bytes` | better than `slab` |\n`slab` is fine\n";
        assert_eq!(broken(Some(mentioned), &["bytes", "slab"]), [("Cargo.toml".to_owned(), 8)]);
        assert_eq!(broken(None, &["bytes", "slab"]), [("CONTRIBUTING.md".to_owned(), 1)]);
    }

    #[test]
    fn a_library_that_nothing_uses_is_deleted() {
        let rows = "| `bytes` |\n| `slab` |\n";
        assert_eq!(broken(Some(rows), &["bytes"]), [("Cargo.toml".to_owned(), 8)]);
    }
}
