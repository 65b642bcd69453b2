//! Realms on disk: one directory each, made and removed so that a crash at any point leaves one or none.

use crate::state::{State, make_dir, write_durably};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sigma_abi::Realm;
use std::fs;
use std::path::{Path, PathBuf};

/// The first host user of the first realm's procs. The range lies above what login and container tools hand out.
const FIRST_UID: u32 = 0x7000_0000;

/// Host users of one realm: its jail and its procs.
const UIDS: u32 = 2;

/// What begins the name of a realm that is being removed. No realm can be called so.
const ASIDE: &str = ".removing-";

/// A realm as it is on disk.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Realm,
    pub(super) dir: PathBuf,
    file: RealmFile,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RealmFile {
    /// Which range of host users is the realm's.
    range: u32,
}

impl Record {
    /// The first host user of the realm.
    pub(super) fn uid_base(&self) -> u32 {
        FIRST_UID + self.file.range * UIDS
    }
}

/// Makes a realm, durably.
pub(super) fn create(state: &State, name: &Realm) -> Result<Record> {
    let taken: Vec<u32> = load(state)?.iter().map(|record| record.file.range).collect();
    let range = (0..).find(|range| !taken.contains(range)).unwrap_or(0);
    let dir = state.realms().join(name.as_str());
    make_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = RealmFile { range };
    write_durably(
        &dir.join("realm.toml"),
        &toml::to_string(&file).context("cannot write the realm's file")?,
    )?;
    Ok(Record { name: name.clone(), dir, file })
}

/// Reads all realms, and finishes removals that were interrupted.
pub(super) fn load(state: &State) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let realms = state.realms();
    for entry in fs::read_dir(&realms).with_context(|| format!("cannot read {}", realms.display()))? {
        let dir = entry?.path();
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.starts_with(ASIDE) {
            remove(&dir)?;
            continue;
        }
        let Ok(name) = Realm::parse(name) else { continue };
        let path = dir.join("realm.toml");
        // Its file is written last: a realm without one was never acknowledged.
        if let Ok(text) = fs::read_to_string(&path) {
            let file = toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
            records.push(Record { name, dir, file });
        }
    }
    Ok(records)
}

/// Takes a realm away in one step; what is left to delete has another name.
pub(super) fn move_aside(state: &State, name: &Realm) -> Result<PathBuf> {
    let dir = state.realms().join(name.as_str());
    let aside = state.realms().join(format!("{ASIDE}{name}"));
    if aside.exists() {
        remove(&aside)?;
    }
    fs::rename(&dir, &aside).with_context(|| format!("cannot move {} aside", dir.display()))?;
    Ok(aside)
}

/// Deletes what was moved aside.
pub(super) fn remove(aside: &Path) -> Result<()> {
    fs::remove_dir_all(aside).with_context(|| format!("cannot delete {}", aside.display()))
}
