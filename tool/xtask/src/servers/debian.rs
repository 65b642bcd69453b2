//! Debian's packages, and where they put what tests start.

use crate::workspace::run as run_command;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Asked by maintainer scripts before they start a service, invoke-rc.d(8).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The answer "no": tests start servers of their own, and the system's are nobody's business here.
const REFUSAL: &str = "#!/bin/sh\n# Of SigmaOS' tests, while they install servers. If no apt-get runs, delete this file.\nexit 101\n";

/// Installs packages without starting the services that they bring.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this system has no apt-get");
    }
    if fs::metadata("/proc/self").context("asking who we are")?.uid() != 0 {
        bail!("only root can install it");
    }
    eprintln!("Installing {}.", packages.join(", "));
    let _policy = Policy::refuse().with_context(|| format!("writing {POLICY}"))?;
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends"]);
    install.args(packages);
    if run_command(&mut install, "trying once more with new lists").is_err() {
        run_command(&mut apt_get(&["update"]), "are the mirrors of /etc/apt reached from here?")?;
        run_command(&mut install, "see the messages of apt-get above")?;
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Standard output is for what was asked for.
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    command
}

/// The refusal to start services, for as long as this lives. One of the system's own is left in its place.
struct Policy {
    ours: bool,
}

impl Policy {
    fn refuse() -> std::io::Result<Self> {
        let ours = match fs::read(POLICY) {
            // Ours is from a run that was killed.
            Ok(there) => there == REFUSAL.as_bytes(),
            Err(_) => {
                fs::write(POLICY, REFUSAL)?;
                fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
                true
            }
        };
        Ok(Self { ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!(
                "{POLICY} cannot be removed: delete it, or the system starts no service that it installs."
            );
        }
    }
}

/// The programs of the newest version, which are not on the path.
pub(super) fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| Some((version(&entry.file_name().to_string_lossy())?, entry)));
    let newest = numbered.max_by_key(|(version, _)| *version);
    let folder = newest.map(|(_, entry)| entry.path().join("bin")).or_else(|| folder_on_path("initdb"))?;
    ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).exists()).then_some(folder)
}

fn version(name: &str) -> Option<u32> {
    name.parse().ok()
}

pub(super) fn mariadb() -> Option<PathBuf> {
    let prefix = PathBuf::from("/usr");
    let programs = ["sbin/mariadbd", "bin/mariadb-install-db", "bin/my_print_defaults", "bin/mariadb"];
    programs.iter().all(|program| prefix.join(program).exists()).then_some(prefix)
}

pub(super) fn chromium() -> Option<PathBuf> {
    folder_on_path("chromium").map(|folder| folder.join("chromium"))
}

pub(super) fn openssl() -> Option<PathBuf> {
    folder_on_path("openssl").map(|folder| folder.join("openssl"))
}

fn folder_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| folder.join(program).exists())
}
