//! Realms on disk: one directory each, made and removed so that a crash at any point leaves one or none.
//!
//! ```text
//!   directory ──realm.toml──▶ a realm ──`removing`──▶ on its way out ──all else deleted──▶ realm.toml ──▶ directory ──▶ gone
//!       └── a crash here leaves no realm ── and so does one here ──────────────────────────────┘
//! ```
//!
//! A directory without its `realm.toml` is garbage, and the next boot deletes it. The file is the first that is written and
//! the last that is deleted, and holds the realm's host users: no other realm gets them before all else is gone.

use super::settings::Settings;
use crate::state::{State, make_dir, sync_dir, write_durably};
use crate::tree;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sigma_abi::Realm;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

/// The first host user of the first realm's procs. The range lies above what login and container tools hand out.
const FIRST_UID: u32 = 0x7000_0000;

/// Host users of one realm: its jail and its procs.
const UIDS: u32 = 2;

/// The name of the file that makes a directory a realm.
const FILE: &str = "realm.toml";

/// A realm as it is on disk.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) name: Realm,
    pub(super) dir: PathBuf,
    pub(super) settings: Settings,
    /// Its removal has begun.
    pub(super) removing: bool,
    /// Which range of host users is its.
    pub(super) range: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RealmFile {
    /// Which range of host users is the realm's.
    range: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removing: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
}

impl Record {
    /// The first host user of the realm.
    pub(super) fn uid_base(&self) -> u32 {
        FIRST_UID + self.range * UIDS
    }

    /// Writes it down. The file may come to hold secrets of the realm, so its owner alone may read it.
    pub(super) fn keep(&self) -> Result<()> {
        let settings = self.settings.texts().clone();
        let file = RealmFile { range: self.range, removing: self.removing, settings };
        let text = toml::to_string(&file).context("cannot write the realm's file")?;
        write_durably(&self.dir.join(FILE), &text)
    }

    /// Deletes all that is on disk of it, and counts what is gone. Where it is interrupted, the next call goes on.
    pub(super) fn delete(&self, deleted: &AtomicU64) -> Result<()> {
        tree::delete(&self.dir, &[FILE], deleted)
            .and_then(|()| tree::delete(&self.dir, &[], deleted))
            .with_context(|| format!("cannot delete {}", self.dir.display()))
    }
}

/// Makes a realm, durably.
pub(super) fn create(state: &State, name: &Realm) -> Result<Record> {
    let taken: Vec<u32> = load(state)?.iter().map(|record| record.range).collect();
    let range = (0..).find(|range| !taken.contains(range)).unwrap_or(0);
    let dir = state.realms().join(name.as_str());
    make_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    sync_dir(&state.realms())?;
    let record = Record { name: name.clone(), dir, settings: Settings::default(), removing: false, range };
    record.keep()?;
    Ok(record)
}

/// Reads all realms, also those on their way out.
///
/// # Errors
/// Where a realm's file is damaged, naming it.
pub(super) fn load(state: &State) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (name, dir) in directories(state)? {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let damaged = || format!("{} is damaged", path.display());
        let file: RealmFile = toml::from_str(&text).with_context(damaged)?;
        let settings = Settings::read(file.settings).with_context(damaged)?;
        records.push(Record { name, dir, settings, removing: file.removing, range: file.range });
    }
    Ok(records)
}

/// Deletes what is left of realms that were not made, or that are gone but for their directory.
pub(super) fn clear_garbage(state: &State) -> Result<()> {
    for (name, dir) in directories(state)? {
        if !dir.join(FILE).exists() {
            tree::delete(&dir, &[], &AtomicU64::new(0))
                .with_context(|| format!("cannot delete {}", dir.display()))?;
            tracing::info!(realm = %name, "cleared what an interrupted command left");
        }
    }
    Ok(())
}

/// The directories that have a realm's name; others are not ours.
fn directories(state: &State) -> Result<Vec<(Realm, PathBuf)>> {
    let realms = state.realms();
    let mut found = Vec::new();
    for entry in fs::read_dir(&realms).with_context(|| format!("cannot read {}", realms.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", realms.display()))?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| Realm::parse(name).ok()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(state: &State) -> Vec<String> {
        load(state).unwrap().iter().map(|record| record.name.to_string()).collect()
    }

    #[test]
    fn a_crash_at_any_step_of_a_creation_leaves_one_realm_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let realm = state.realms().join("a");
        // After each of its steps: the directory, the draft of its file, its file.
        make_dir(&realm).unwrap();
        assert_eq!(names(&state), [""; 0]);
        fs::write(realm.join("realm.draft"), "ran").unwrap();
        assert_eq!(names(&state), [""; 0]);
        clear_garbage(&state).unwrap();
        assert!(!realm.exists(), "the next boot clears it");
        create(&state, &Realm::parse("a").unwrap()).unwrap();
        clear_garbage(&state).unwrap();
        assert_eq!(names(&state), ["a"]);
    }

    #[test]
    fn a_removal_is_finished_from_wherever_it_was_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let name = Realm::parse("a").unwrap();
        let fill = || {
            let mut record = create(&state, &name).unwrap();
            fs::create_dir_all(record.dir.join("ux/deep/er")).unwrap();
            fs::write(record.dir.join("ux/deep/file"), "x").unwrap();
            record.removing = true;
            record.keep().unwrap();
            record
        };
        // Begun, and nothing deleted; some deleted; all but its file; all but its directory.
        let steps: [&dyn Fn(&std::path::Path); 4] = [
            &|_| {},
            &|dir| fs::remove_file(dir.join("ux/deep/file")).unwrap(),
            &|dir| fs::remove_dir_all(dir.join("ux")).unwrap(),
            &|dir| {
                fs::remove_dir_all(dir.join("ux")).unwrap();
                fs::remove_file(dir.join(FILE)).unwrap();
            },
        ];
        for interrupted in steps {
            let record = fill();
            interrupted(&record.dir);
            clear_garbage(&state).unwrap();
            for record in load(&state).unwrap() {
                assert!(record.removing, "it does not come back");
                record.delete(&AtomicU64::new(0)).unwrap();
            }
            assert!(!record.dir.exists());
        }
    }

    #[test]
    fn host_users_are_free_again_only_when_a_realm_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let create = |name| create(&state, &Realm::parse(name).unwrap()).unwrap();
        let mut first = create("a");
        first.removing = true;
        first.keep().unwrap();
        let second = create("b");
        assert_ne!(first.uid_base(), second.uid_base());
        first.delete(&AtomicU64::new(0)).unwrap();
        assert_eq!(create("c").uid_base(), first.uid_base());
    }

    #[test]
    fn settings_are_kept_and_a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut record = create(&state, &Realm::parse("a").unwrap()).unwrap();
        let change = ("limit.disk".to_owned(), "1G".to_owned());
        record.settings = record.settings.with([change]).unwrap();
        record.keep().unwrap();
        assert_eq!(load(&state).unwrap()[0].settings, record.settings);
        fs::write(record.dir.join(FILE), "range = 0\n[settings]\n\"limit.disc\" = \"1\"").unwrap();
        let error = format!("{:#}", load(&state).unwrap_err());
        assert!(error.contains("a/realm.toml is damaged") && error.contains("limit.disk"), "{error}");
    }
}
