//! `/machine/<id>`: what this machine has, and what runs on it, as JSON.

use super::tree::{Entry, Files, json, missing, page};
use crate::kernel::Kernel;
use serde_json::json;
use sigma_abi::{Path, Result};
use sigmaos::rpc::Bytes;
use std::sync::Arc;

/// In the order of their names.
const FILES: [&str; 2] = ["capacity", "load"];

#[derive(Clone)]
pub(crate) struct MachineFiles(pub(crate) Arc<Kernel>);

impl Files for MachineFiles {
    fn entry(&self, path: &Path) -> Result<Entry> {
        let mut names = path.names();
        match (names.next(), names.next()) {
            (None, _) => Ok(Entry::Directory),
            (Some(name), None) if FILES.contains(&name) => Ok(Entry::File { size: 0 }),
            _ => Err(missing(path)),
        }
    }

    fn list(&self, _: &Path, after: &str, limit: usize) -> Result<(Vec<(String, Entry)>, bool)> {
        Ok(page(&FILES, after, limit, |_| Entry::File { size: 0 }))
    }

    fn read(&self, path: &Path) -> Result<Bytes> {
        let kernel = &self.0;
        Ok(match path.name() {
            Some("capacity") => json(&json!({
                "machine": kernel.capacity.id.to_string(),
                "cores": kernel.capacity.cores,
                "memory_bytes": kernel.capacity.memory_bytes,
            })),
            _ => {
                let load = kernel.scheduler.load();
                json(&json!({
                    "lc_running": load.lc_running,
                    "be_running": load.be_running,
                    "lc_queued": load.lc_queued,
                    "be_queued": load.be_queued,
                    "reserved_mcpu": load.reserved_mcpu,
                    "memory_reserved_bytes": load.memory_bytes,
                }))
            }
        })
    }
}
