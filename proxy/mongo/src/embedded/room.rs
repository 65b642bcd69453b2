//! The room on the machine's disk that the file takes.

use sigma_abi::Result;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// For what a change of so many bytes takes in the file: the tree above it is written anew, and what was there stays until the next
/// commit.
const TIMES: u64 = 4;

/// Bytes of a block, as the system counts those of a file.
const BLOCK: u64 = 512;

/// The room of one file. It is asked for before the file grows.
#[derive(Debug)]
pub struct Room {
    kernel: sigma_proxy::Room,
    file: PathBuf,
}

impl Room {
    pub fn new(kernel: sigma_proxy::Room, file: PathBuf) -> Self {
        Self { kernel, file }
    }

    /// Asks for room for a change of so many bytes.
    ///
    /// # Errors
    /// `Quota` where there is none.
    pub(super) async fn make(&self, bytes: u64) -> Result<()> {
        // A file that cannot be looked at cannot be written either, and the store says why.
        let used = std::fs::metadata(&self.file).map_or(0, |file| file.blocks() * BLOCK);
        self.kernel.reach(used, used.saturating_add(bytes.saturating_mul(TIMES))).await
    }
}
