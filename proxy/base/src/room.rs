//! The room on the machine's disk that a proxy asks the kernel for.

use sigmaos::limits::DISK_RESERVE;
use sigmaos::stub::RoomClient;
use sigmaos::{Code, Error, Result, Sigma, proto};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The room of one proxy, for what it keeps in its own directory. It is granted ahead of need, so that most growth asks nobody.
#[derive(Clone, Debug)]
pub struct Room {
    kernel: RoomClient,
    dir: PathBuf,
    granted: Arc<AtomicU64>,
}

impl Room {
    /// The room of the proxy that keeps its files in `dir`.
    pub fn new(sigma: &Sigma, dir: PathBuf) -> Self {
        Self { kernel: RoomClient(sigma.kernel().clone()), dir, granted: Arc::default() }
    }

    /// Asks whether it may take `wanted` bytes in all, where it takes `used` bytes now.
    ///
    /// # Errors
    /// `Quota` past the realm's `limit.disk`, or where the machine's disk has only the kernel's reserve left.
    pub async fn reach(&self, used: u64, wanted: u64) -> Result<()> {
        let disk = rustix::fs::statvfs(&self.dir);
        let free = disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < DISK_RESERVE.saturating_add(wanted.saturating_sub(used)) {
            let text = "the machine's disk is full but for the kernel's reserve: remove what is not needed";
            return Err(Error::new(Code::Quota, text));
        }
        if wanted <= self.granted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let granted = self.ask(used, wanted).await?;
        if wanted <= granted {
            return Ok(());
        }
        let text = "the realm has no room left on the disk: remove what is not needed, or ask the operator for a higher limit.disk";
        Err(Error::new(Code::Quota, text))
    }

    /// Says that it takes `used` bytes and no more for now, so that others of the realm may have the rest.
    ///
    /// # Errors
    /// As a call.
    pub async fn settle(&self, used: u64) -> Result<()> {
        self.ask(used, used).await.map(drop)
    }

    async fn ask(&self, used: u64, wanted: u64) -> Result<u64> {
        let granted = self.kernel.take(proto::RoomRequest { used, wanted }).await?.granted;
        self.granted.store(granted, Ordering::Relaxed);
        Ok(granted)
    }
}
