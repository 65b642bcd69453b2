//! `cargo xtask test`: everything that must hold, cheapest first; it stops at the first step that does not.

use crate::servers::Servers;
use crate::workspace::{Workspace, run as run_command};
use crate::{build, tidy};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The user "nobody", who owns nothing.
const ORDINARY_USER: u32 = 65534;

/// The story that an ordinary user must be able to live through, too.
const ORDINARY_STORY: &str = "test/tests/ordinary.rs";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    step("formatting", || {
        run_command(workspace.cargo().args(["fmt", "--all", "--check"]), "run: cargo fmt --all")
    })?;
    step("clippy", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        run_command(&mut clippy, "each message above names its place; fix those first")
    })?;
    step("the pages of the SDK", || {
        // The table of the thesis' calls at its head is of links: one that leads nowhere is an error.
        let mut doc = workspace.cargo();
        doc.args(["doc", "--package", "sigmaos", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        run_command(&mut doc, "each message above names its place; fix those first")
    })?;
    step("tidy", || tidy::run(workspace))?;
    let dist = step("build target/dist", || build::run(workspace))?;
    let servers = step("systems outside that tests speak to", || Servers::install(workspace))?;
    servers.report();
    step("tests", || {
        let mut tests = workspace.cargo();
        tests.args(["test", "--workspace"]).env("SIGMA_DIST", &dist);
        servers.tell(&mut tests);
        run_command(
            &mut tests,
            "the names of the failed tests are above; run one alone with: cargo test NAME",
        )
    })?;
    if is_root()? {
        step("a story as an ordinary user", || ordinary(workspace, &dist))?;
    }
    eprintln!("\nAll steps passed.");
    servers.report();
    Ok(())
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\n== {name}");
    let started = Instant::now();
    let result = work().with_context(|| format!("the step \"{name}\" failed"))?;
    eprintln!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(result)
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").context("asking who we are")?.uid() == 0)
}

/// Runs the story as a user who can read neither the home of root nor, perhaps, this workspace: from a copy.
fn ordinary(workspace: &Workspace, dist: &Path) -> Result<()> {
    if !workspace.root.join(ORDINARY_STORY).exists() {
        eprintln!("There is no {ORDINARY_STORY} yet, so there is nothing to run.");
        return Ok(());
    }
    let story = compile_story(workspace)?;
    let copy = tempfile::Builder::new()
        .prefix("sigma-ordinary-")
        .tempdir_in("/var/tmp")
        .context("making a folder in /var/tmp")?;
    fs::set_permissions(copy.path(), Permissions::from_mode(0o755)).context("making it world-readable")?;
    let (copied_dist, copied_story) = (copy.path().join("dist"), copy.path().join("ordinary"));
    copy_tree(dist, &copied_dist)?;
    copy_readable(&story, &copied_story)?;
    let home = copy.path().join("home");
    make_folder(&home)?;
    chown(&home, Some(ORDINARY_USER), Some(ORDINARY_USER)).context("giving the home to the ordinary user")?;

    let user = ORDINARY_USER;
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()])
        .arg(&copied_story)
        .current_dir(&home)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &home)
        .env("SIGMA_DIST", &copied_dist)
        .env("RUST_BACKTRACE", "1");
    run_command(
        &mut command,
        &format!("{ORDINARY_STORY} must also pass for uid {user} (setpriv is part of util-linux)"),
    )
}

/// The test program, as cargo names it.
fn compile_story(workspace: &Workspace) -> Result<PathBuf> {
    let output = workspace
        .cargo()
        .args(["test", "--no-run", "--package=sigma-test", "--test=ordinary"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo test")?;
    if !output.status.success() {
        bail!("{ORDINARY_STORY} does not compile: see the compiler's messages above");
    }
    story_of(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo built no test program from {ORDINARY_STORY}: is it a test target?"))
}

fn story_of(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ordinary")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Copies folders and files, readable for everyone whatever the umask says.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to)?;
        } else {
            copy_readable(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_readable(from: &Path, to: &Path) -> Result<()> {
    let copy = || {
        fs::copy(from, to)?;
        fs::set_permissions(to, Permissions::from_mode(0o755))
    };
    copy().with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

fn make_folder(path: &Path) -> Result<()> {
    let make = || {
        fs::create_dir(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    make().with_context(|| format!("making {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_found_among_the_messages_of_cargo() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"name":"sigma_test"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"ordinary"},"executable":"deps/ordinary-1a2b"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(story_of(&messages.join("\n")), Some("deps/ordinary-1a2b".into()));
        assert_eq!(story_of(messages[0]), None);
    }

    #[test]
    fn a_copy_is_readable_for_everyone() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir(from.path().join("bin")).unwrap();
        fs::write(from.path().join("bin/sigma"), "x").unwrap();
        fs::set_permissions(from.path().join("bin"), Permissions::from_mode(0o700)).unwrap();
        let to = tempfile::tempdir().unwrap();
        copy_tree(from.path(), &to.path().join("dist")).unwrap();
        for path in ["dist", "dist/bin", "dist/bin/sigma"] {
            assert_eq!(fs::metadata(to.path().join(path)).unwrap().mode() & 0o777, 0o755, "{path}");
        }
    }
}
