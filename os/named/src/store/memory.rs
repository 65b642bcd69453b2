//! A store that lasts as long as its process: for tests, simulation and measuring.

use super::Store;
use crate::tree::Batch;
use bytes::Bytes;
use sigma_abi::{Code, Error};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store in memory. Its clones are owners of the same one.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
    epoch: u64,
}

#[derive(Debug, Default)]
struct Shared {
    epoch: u64,
    kept: BTreeMap<Vec<u8>, Bytes>,
}

impl Memory {
    /// Takes the store over.
    #[must_use]
    pub fn open(&self) -> Self {
        let mut shared = self.lock();
        shared.epoch += 1;
        Self { shared: Arc::clone(&self.shared), epoch: shared.epoch }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn load(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
        Ok(self.lock().kept.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut shared = self.lock();
        if shared.epoch != self.epoch {
            return Err(Error::new(Code::Stale, "another named has taken this namespace over"));
        }
        for (key, value) in batch {
            match value {
                Some(value) => drop(shared.kept.insert(key.clone(), value.clone())),
                None => drop(shared.kept.remove(key)),
            }
        }
        Ok(())
    }

    fn room(&self) -> Option<u64> {
        None
    }

    fn is_slow(&self) -> bool {
        false
    }
}
