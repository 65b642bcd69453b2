//! Python for stories that speak to a machine as a stranger does: an environment of its own beside the installation.

use crate::machine::dist;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What it holds besides the standard library.
const PACKAGES: &[&str] = &["protobuf==7.36.2"];

/// Written last, so that an environment that was interrupted is made again.
const MARK: &str = "sigma-packages";

/// The interpreter of the environment, which is made where it is missing or holds something else.
///
/// A story cannot do without: what is missing on the host is a panic that says what to install.
pub fn python() -> PathBuf {
    let home = dist().with_file_name("python");
    let interpreter = home.join("bin/python3");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(home.join(MARK)).is_ok_and(|there| there == wanted) && interpreter.exists() {
        return interpreter;
    }
    let help = "stories need Python 3.10 with venv and pip: apt-get install python3 python3-venv";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), help);
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run(&mut pip, "it installs from PyPI: is that reached from here?");
    std::fs::write(home.join(MARK), wanted).expect("the environment can be written");
    interpreter
}

/// A program of `test/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

fn run(command: &mut Command, help: &str) {
    match command.status() {
        Ok(status) => assert!(status.success(), "{command:?} failed ({status}); {help}"),
        Err(error) => panic!("{command:?} cannot be started ({error}); {help}"),
    }
}
