//! Where things are and what there is, as `cargo metadata` tells it.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace that this program belongs to.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds; `CARGO_TARGET_DIR` is respected.
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the root: `os/abi`.
    pub(crate) folder: String,
    pub(crate) binaries: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    /// The name of the package, also where it is renamed.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Test,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let here =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&here).ancestors().nth(2).context("xtask lives two folders below the root")?;
        let output = cargo(root)
            .args(["metadata", "--no-deps", "--format-version=1"])
            .output()
            .context("starting cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Self::parse(root, &serde_json::from_slice(&output.stdout).context("reading cargo metadata")?)
    }

    fn parse(root: &Path, metadata: &Value) -> Result<Self> {
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
        let packages = packages.iter().map(|package| Package::parse(root, package)).collect::<Result<_>>()?;
        Ok(Self { root: root.to_owned(), target: target.into(), packages })
    }

    /// `cargo`, in the root.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The installation that `build` makes.
    pub(crate) fn dist(&self) -> PathBuf {
        self.target.join("dist")
    }
}

impl Package {
    fn parse(root: &Path, package: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let manifest = text(&package["manifest_path"]);
        let folder = Path::new(&manifest).parent().and_then(|folder| folder.strip_prefix(root).ok());
        let folder = folder.with_context(|| format!("{manifest} lies outside of {}", root.display()))?;
        let binaries = list(&package["targets"])
            .iter()
            .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "bin"))
            .map(|target| text(&target["name"]))
            .collect();
        let dependencies = list(&package["dependencies"])
            .iter()
            .map(|dependency| Dependency {
                name: text(&dependency["name"]),
                kind: match dependency["kind"].as_str() {
                    Some("build") => Kind::Build,
                    Some("dev") => Kind::Test,
                    _ => Kind::Normal,
                },
            })
            .collect();
        Ok(Self {
            name: text(&package["name"]),
            folder: folder.to_string_lossy().into_owned(),
            binaries,
            dependencies,
        })
    }
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // What cargo told us about ourselves is not true of what it builds next.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    command
}

/// Runs a command with our own input and output.
///
/// # Errors
/// When it cannot be started or fails: `next_step` says what to do then.
pub(crate) fn run(command: &mut Command, next_step: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{} failed ({status}): {next_step}", describe(command));
    }
    Ok(())
}

/// The program and its arguments, without what surrounds them.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
