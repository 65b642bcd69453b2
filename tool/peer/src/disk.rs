//! The floor of durability: one block after the other by `fdatasync`, and entries in transactions of a bare redb.

use crate::pace::{self, Load};
use anyhow::{Context, Result};
use redb::{Database, Durability, TableDefinition};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Bytes of the file of blocks. It is written before, so that no block needs a new place.
const FILE_BYTES: usize = 4 << 20;

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

pub(crate) fn fdatasync(file: &Path, load: &Load) -> Result<()> {
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(file)
        .with_context(|| format!("make {}", file.display()))?;
    disk.write_all_at(&vec![0; FILE_BYTES], 0)?;
    disk.sync_all()?;
    let block = vec![7; load.bytes];
    let mut at = 0;
    pace::one_by_one(load, || {
        disk.write_all_at(&block, at as u64)?;
        at = (at + load.bytes) % (FILE_BYTES - load.bytes);
        Ok(disk.sync_data()?)
    })
}

/// Each operation is a put; a transaction holds as many as are in flight.
pub(crate) fn redb(file: &Path, load: &Load) -> Result<()> {
    let database = Database::create(file).with_context(|| format!("make {}", file.display()))?;
    let value = vec![7; load.bytes];
    pace::wait()?;
    let mut put = 0u64;
    let mut batches = |count: usize| {
        let mut left = count;
        while left > 0 {
            let batch = left.min(load.in_flight as usize);
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut entries = transaction.open_table(ENTRIES)?;
                for _ in 0..batch {
                    let key = [b"entry ".as_slice(), &put.to_be_bytes()].concat();
                    entries.insert(key.as_slice(), value.as_slice())?;
                    put += 1;
                }
            }
            transaction.commit()?;
            left -= batch;
        }
        anyhow::Ok(())
    };
    batches(load.warm_up)?;
    let begun = Instant::now();
    batches(load.count)?;
    pace::print(&[], begun.elapsed())
}
