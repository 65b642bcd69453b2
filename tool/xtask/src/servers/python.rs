//! A Python environment of the tests' own, which holds what `test/python/requirements.txt` lists.

use crate::workspace::run as run_command;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Written last, so that an environment that was interrupted is made again.
const MARK: &str = "sigma-packages";

pub(super) fn install(home: &Path, requirements: &Path) -> Result<()> {
    let wanted =
        fs::read_to_string(requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let interpreter = home.join("bin/python3");
    if fs::read_to_string(home.join(MARK)).is_ok_and(|there| there == wanted) && interpreter.exists() {
        return Ok(());
    }
    eprintln!("Installing Python packages into {}.", home.display());
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(home).stdout(std::io::stderr());
    run_command(&mut venv, "is Python there, with venv (Debian: apt-get install python3-venv)?")?;
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    pip.stdout(std::io::stderr());
    run_command(&mut pip, "it installs from PyPI: is that reached from here?")?;
    fs::write(home.join(MARK), wanted).with_context(|| format!("writing {}", home.join(MARK).display()))
}
