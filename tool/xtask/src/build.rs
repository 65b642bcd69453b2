//! `cargo xtask build`: an installation in `target/dist`, all of it static.
//!
//! Jail and procs are built for musl, because a static musl program starts in a tenth of the time of a static
//! glibc one; the rest, which starts once and may hold C code, for glibc with `+crt-static`. That flag needs an
//! explicit `--target`, without which it would also reach proc-macros, which cannot be static.

mod elf;

use crate::workspace::{Workspace, run as run_command};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

/// One row of what an installation consists of.
struct Part {
    package: &'static str,
    target: &'static str,
    /// Where in `target/dist` its binaries go.
    folder: &'static str,
}

/// Every binary of each of these packages is placed.
const PARTS: &[Part] = &[
    Part { package: "sigma-cli", target: GNU, folder: "bin" },
    Part { package: "sigma-kernel", target: GNU, folder: "bin" },
    Part { package: "sigma-named", target: GNU, folder: "bin" },
    Part { package: "sigma-s3", target: GNU, folder: "bin" },
    Part { package: "sigma-ux", target: GNU, folder: "bin" },
    Part { package: "sigma-mongo", target: GNU, folder: "bin" },
    Part { package: "sigma-db", target: GNU, folder: "bin" },
    Part { package: "sigma-peer", target: GNU, folder: "bin" },
    Part { package: "sigma-jail", target: MUSL, folder: "bin" },
    Part { package: "cache", target: MUSL, folder: "proc" },
    Part { package: "hello", target: MUSL, folder: "proc" },
    Part { package: "imgresize", target: MUSL, folder: "proc" },
    Part { package: "socialnet", target: MUSL, folder: "proc" },
    Part { package: "sigma-test-procs", target: MUSL, folder: "proc" },
];

/// Builds, checks and places everything; returns the folder.
pub(crate) fn run(workspace: &Workspace) -> Result<PathBuf> {
    ensure_musl(workspace)?;
    // A folder of its own: in `target`, a profile named dist would put its build scripts into target/dist.
    let built = workspace.target.join("dist-build");
    for target in [MUSL, GNU] {
        compile(workspace, &built, target)?;
    }
    let dist = workspace.dist();
    let placed = place(workspace, &built, &dist)?;
    prune(&dist, &placed)?;
    report(&dist, &placed)?;
    Ok(dist)
}

/// Automatic installs are off on some machines, so that rust-toolchain.toml alone does not bring the target.
fn ensure_musl(workspace: &Workspace) -> Result<()> {
    let advice = format!("install it with: rustup target add {MUSL}");
    let output = Command::new("rustc")
        .args(["--print=target-libdir", "--target", MUSL])
        .current_dir(&workspace.root)
        .output()
        .context("starting rustc")?;
    ensure!(output.status.success(), "rustc does not know the target {MUSL}: {advice}");
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists() {
        return Ok(());
    }
    eprintln!("The target {MUSL} is missing; adding it.");
    run_command(
        Command::new("rustup").args(["target", "add", MUSL]).current_dir(&workspace.root),
        &format!("procs are built for {MUSL}, which this toolchain lacks; {advice}"),
    )
}

fn compile(workspace: &Workspace, built: &Path, target: &str) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--profile=dist", "--bins", "--target", target, "--target-dir"]).arg(built);
    for part in PARTS.iter().filter(|part| part.target == target) {
        cargo.args(["--package", part.package]);
    }
    if target == GNU {
        cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static");
    }
    run_command(&mut cargo, "see the compiler's messages above")
}

/// Copies each binary to its place, if it is static; returns the places, relative to `dist`.
fn place(workspace: &Workspace, built: &Path, dist: &Path) -> Result<Vec<PathBuf>> {
    let mut placed = Vec::new();
    for part in PARTS {
        let package =
            workspace.packages.iter().find(|package| package.name == part.package).with_context(|| {
                format!("there is no package {}: correct the table in {}", part.package, file!())
            })?;
        for binary in &package.binaries {
            let from = built.join(part.target).join("dist").join(binary);
            let bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            if let Err(why) = elf::check_static(&bytes) {
                bail!("{} must be a static program: {why}", from.display());
            }
            let to = Path::new(part.folder).join(binary);
            copy_if_changed(&bytes, &dist.join(&to))?;
            placed.push(to);
        }
    }
    Ok(placed)
}

/// Replaces the file in one step, so that whoever runs it keeps running the old one; not at all if it is the same.
fn copy_if_changed(bytes: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = to.parent().context("a place has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let copy = || {
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut new, bytes)?;
        new.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
        new.persist(to).map_err(|error| error.error)
    };
    copy().map(drop).with_context(|| format!("writing {}", to.display()))
}

/// Removes what an earlier build placed and this one did not: an installation holds nothing else.
fn prune(dist: &Path, placed: &[PathBuf]) -> Result<()> {
    for folder in PARTS.iter().map(|part| part.folder) {
        let files = fs::read_dir(dist.join(folder)).with_context(|| format!("listing {folder}"))?;
        for file in files {
            let path = file?.path();
            let stale =
                path.strip_prefix(dist).is_ok_and(|relative| !placed.iter().any(|place| place == relative));
            if stale {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn report(dist: &Path, placed: &[PathBuf]) -> Result<()> {
    eprintln!("{}: {} static programs", dist.display(), placed.len());
    for place in placed {
        let bytes = fs::metadata(dist.join(place))?.len();
        eprintln!("  {:<28}{:>8.2} MB", place.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_replaced_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bin/sigma");
        let inode = || fs::metadata(&file).unwrap().ino();

        copy_if_changed(b"one", &file).unwrap();
        let first = inode();
        copy_if_changed(b"one", &file).unwrap();
        assert_eq!(inode(), first, "the same bytes leave it alone");

        let running = fs::File::open(&file).unwrap();
        copy_if_changed(b"two", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(std::io::read_to_string(running).unwrap(), "one", "who has it open keeps the old one");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_is_no_longer_part_is_removed() {
        let dist = tempfile::tempdir().unwrap();
        for place in ["bin/sigma", "bin/old", "proc/hello"] {
            copy_if_changed(b"x", &dist.path().join(place)).unwrap();
        }
        prune(dist.path(), &["bin/sigma".into(), "proc/hello".into()]).unwrap();
        assert!(dist.path().join("bin/sigma").exists());
        assert!(!dist.path().join("bin/old").exists());
    }
}
