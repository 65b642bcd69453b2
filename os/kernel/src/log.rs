//! The log of the kernel processes: one file, which all of them append to, bounded in size.

use crate::state::State;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

/// Bytes of the log past which it is moved to `sigmad.log.1`, whose contents are dropped.
pub(crate) const MAX_LOG: u64 = 16 << 20;

/// What is added to the name of the log for the part before.
const BEFORE: &str = "log.1";

pub(crate) fn open(state: &Path) -> Result<File> {
    let path = State::log_file(state);
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

pub(crate) fn start(log: File, verbose: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let log = std::sync::Mutex::new(log);
    // Setting the log twice is impossible: this is the only place.
    let _ = match verbose {
        true => format.with_writer(log.and(io::stderr)).try_init(),
        false => format.with_writer(log).try_init(),
    };
}

/// Whether the log has grown past [`MAX_LOG`].
pub(crate) fn is_full(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|log| log.len() > MAX_LOG)
}

/// Moves what the log holds aside. It is copied and then cut, since every kernel process has the file open; each of them appends,
/// and so goes on at its new beginning. What is written in between is lost.
///
/// # Errors
/// What the system says; the log is then as it was.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    let draft = log.with_extension("draft");
    fs::copy(log, &draft)?;
    fs::rename(&draft, log.with_extension(BEFORE))?;
    File::options().write(true).open(log)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_that_has_grown_begins_anew_for_all_who_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = State::log_file(dir.path());
        let (mut one, mut other) = (open(dir.path()).unwrap(), open(dir.path()).unwrap());
        one.write_all(b"old ").unwrap();
        other.write_all(b"older").unwrap();
        rotate(&path).unwrap();
        one.write_all(b"new ").unwrap();
        other.write_all(b"newer").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new newer");
        assert_eq!(fs::read_to_string(dir.path().join("sigmad.log.1")).unwrap(), "old older");
        rotate(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "one part before is kept");
        assert!(!is_full(&path));
        File::options().write(true).open(&path).unwrap().set_len(MAX_LOG + 1).unwrap();
        assert!(is_full(&path));
    }
}
