//! C programs for stories: what a stranger's compiler makes, without anything of ours.

use std::path::Path;
use std::process::Command;

/// Compiles a program of `test/c` as `cc -static` does.
///
/// A story cannot do without: a missing compiler is a panic that says what to install.
pub fn compiled(name: &str) -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(name);
    let place = tempfile::tempdir().expect("a temporary directory");
    let program = place.path().join("program");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
    let help = "stories need a C compiler and a static libc: apt-get install gcc libc6-dev";
    match cc.status() {
        Ok(status) => assert!(status.success(), "{cc:?} failed ({status}); {help}"),
        Err(error) => panic!("{cc:?} cannot be started ({error}); {help}"),
    }
    std::fs::read(program).expect("the compiler has written a program")
}
