//! The folder of a benchmark: on the file system of the state directory, and empty at the beginning, whatever became of the
//! benchmark before.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const NAME: &str = "bench";

/// The folder. It goes with this; what a benchmark that was killed has left is removed by the next one.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Locked for as long as it is in use. The lock ends with the process, however that ends.
    _lock: File,
}

impl Scratch {
    /// Makes it, or empties it.
    ///
    /// # Errors
    /// Where another benchmark uses it; where it cannot be made.
    pub(crate) fn take(state: &Path) -> Result<Self> {
        let path = state.join(NAME);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let lock = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another benchmark of names is under way on this machine: wait for its end");
        }
        for left in fs::read_dir(&path)? {
            let left = left?.path();
            let removed = if left.is_dir() { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.with_context(|| format!("remove {}", left.display()))?;
        }
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_benchmark_left_is_removed_by_the_next() {
        let state = tempfile::tempdir().unwrap();
        let left = state.path().join(NAME).join("host-1");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("named.redb"), "left").unwrap();
        let scratch = Scratch::take(state.path()).unwrap();
        assert!(!left.exists());
        let refused = Scratch::take(state.path()).unwrap_err().to_string();
        assert!(refused.contains("another benchmark"), "{refused}");
        drop(scratch);
        assert!(fs::read_dir(state.path()).unwrap().next().is_none(), "nothing stays behind");
    }
}
