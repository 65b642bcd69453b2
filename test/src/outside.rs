//! Real systems outside, for the stories that speak to them: each a child of the test on a free port of the loopback, with its
//! data in a temporary folder.
//!
//! `cargo xtask servers` installs them and prints the environment variables that name their places. Without its variable a
//! story is skipped, and says so on standard error whatever the test runner captures; where `CI` is set it fails.

mod certificate;
pub mod chromium;
pub mod mariadb;
pub mod nx;
pub mod postgres;
mod server;
pub mod weed;

pub use certificate::Certificate;
pub use chromium::Chromium;
pub use server::Server;

use std::io::Write;
use std::path::PathBuf;

/// Who runs servers that refuse to run as root: the user "nobody".
const ORDINARY_USER: u32 = 65534;

/// The place that an environment variable names, or none: then the story that asks is skipped, and that is said.
pub fn find(variable: &str) -> Option<PathBuf> {
    let place = std::env::var_os(variable).filter(|place| !place.is_empty()).map(PathBuf::from);
    if place.is_none() {
        let thread = std::thread::current();
        let story = thread.name().unwrap_or("a story");
        let enable = format!("{variable} is not set; run: eval \"$(cargo xtask servers)\"");
        assert!(std::env::var_os("CI").is_none(), "CI is set, so nothing may be skipped: {enable}");
        // Written past the capture of the test runner, which shows nothing of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED {story}: {enable}");
    }
    place
}
