//! What the operator sets for a realm: its limits, the ports that it may publish, and whom its procs may act as.
//!
//! A setting is a key and a text, as the operator wrote it and as it is kept. [`KEYS`] is the one list of them: what is not
//! in it is an error that names the nearest key, also in a realm's file. Nothing here touches a disk.

use sigma_abi::{Code, Error, Principal, Result};
use sigma_schedd::RealmLimits;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Ports and principals that one setting may list.
const MAX_LISTED: usize = 64;

/// A key that may be set.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    kind: Kind,
    /// What holds where nothing is set.
    pub(crate) default: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    Bytes,
    Ports,
    Principals,
}

pub(crate) const PROCS: &str = "limit.procs";
pub(crate) const MCPU: &str = "limit.mcpu";
pub(crate) const MEMORY: &str = "limit.memory";
pub(crate) const DISK: &str = "limit.disk";
pub(crate) const ENTRIES: &str = "limit.entries";
const PORTS: &str = "publish.ports";
const PRINCIPALS: &str = "spawn.principals";

/// Every key that there is.
pub(crate) const KEYS: [Key; 7] = [
    Key { name: PROCS, kind: Kind::Number, default: "100000" },
    Key { name: MCPU, kind: Kind::Number, default: "all of the machine" },
    Key { name: MEMORY, kind: Kind::Bytes, default: "all of the machine" },
    Key { name: DISK, kind: Kind::Bytes, default: "all but the kernel's reserve" },
    Key { name: ENTRIES, kind: Kind::Number, default: "200000" },
    Key { name: PORTS, kind: Kind::Ports, default: "none" },
    Key { name: PRINCIPALS, kind: Kind::Principals, default: "their own" },
];

/// The settings of one realm. Each of them is right: it was read when it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// # Errors
    /// `Invalid` naming the key or the value that is wrong.
    pub(crate) fn read(texts: BTreeMap<String, String>) -> Result<Self> {
        Self::default().with(texts)
    }

    /// These, with some of them changed. An empty value goes back to the default.
    ///
    /// # Errors
    /// As [`Settings::read`]; then nothing is changed.
    pub(crate) fn with(&self, changes: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut settings = self.0.clone();
        for (name, value) in changes {
            let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| unknown(&name))?;
            if value.is_empty() {
                settings.remove(&name);
                continue;
            }
            key.check(&value)?;
            settings.insert(name, value);
        }
        Ok(Self(settings))
    }

    pub(crate) fn texts(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// What the scheduler holds the realm to.
    pub(crate) fn limits(&self) -> RealmLimits {
        RealmLimits { procs: self.number(PROCS), mcpu: self.number(MCPU), memory_bytes: self.number(MEMORY) }
    }

    pub(crate) fn disk_bytes(&self) -> Option<u64> {
        self.number(DISK)
    }

    pub(crate) fn entries(&self) -> Option<u64> {
        self.number(ENTRIES)
    }

    /// Whether the operator granted a port to the realm.
    pub(crate) fn grants_port(&self, port: u16) -> bool {
        self.0
            .get(PORTS)
            .is_some_and(|text| list(text).any(|item| ports(item).is_ok_and(|range| range.contains(&port))))
    }

    /// Whether the operator lets procs spawn others as this principal.
    pub(crate) fn allows_principal(&self, principal: &Principal) -> bool {
        self.0.get(PRINCIPALS).is_some_and(|text| list(text).any(|item| item == principal.as_str()))
    }

    /// What a limit is set to; `None` where it is not set, and for what is no limit.
    pub(crate) fn limit(&self, key: &str) -> Option<u64> {
        key.starts_with("limit.").then(|| self.number(key)).flatten()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(|text| size(text).ok())
    }
}

impl Key {
    fn check(&self, value: &str) -> Result<()> {
        let wrong = |why: String| Error::new(Code::Invalid, format!("{}={value}: {why}", self.name));
        if list(value).count() > MAX_LISTED {
            return Err(wrong(format!("at most {MAX_LISTED} of them")));
        }
        match self.kind {
            Kind::Number | Kind::Bytes => size(value).map(drop).map_err(wrong),
            Kind::Ports => list(value).try_for_each(|item| ports(item).map(drop)).map_err(wrong),
            Kind::Principals => list(value)
                .try_for_each(|item| Principal::parse(item).map(drop))
                .map_err(|error| wrong(error.message)),
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// A number, or with K, M or G times 1024 each.
fn size(text: &str) -> std::result::Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| "a number is needed, or one with K, M or G: 512M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than any machine has".to_owned())
}

/// A port, or a range of them: `8080`, `8000-8010`.
fn ports(text: &str) -> std::result::Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is no port from 1 to 65535, nor a range of them as 8000-8010");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let range = port(first)?..=port(last)?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn unknown(name: &str) -> Error {
    let names = KEYS.iter().map(|key| key.name);
    let nearest = names
        .clone()
        .min_by_key(|key| distance(name, key))
        .filter(|key| distance(name, key) <= key.len() / 3);
    let text = match nearest {
        Some(key) => format!("there is no setting {name:?}: did you mean {key:?}?"),
        None => format!("there is no setting {name:?}: there are {}", names.collect::<Vec<_>>().join(", ")),
    };
    Error::new(Code::Invalid, text)
}

/// How many letters must change to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Result<Settings> {
        Settings::default().with([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn sizes_ports_and_principals_are_read() {
        assert_eq!(set(DISK, "2G").unwrap().disk_bytes(), Some(2 << 30));
        assert_eq!(set(PROCS, "10").unwrap().limits().procs, Some(10));
        let ports = set(PORTS, "80, 8000-8010").unwrap();
        for (port, granted) in [(80, true), (81, false), (8000, true), (8010, true), (8011, false)] {
            assert_eq!(ports.grants_port(port), granted, "{port}");
        }
        let web = Principal::parse("web").unwrap();
        assert!(set(PRINCIPALS, "db,web").unwrap().allows_principal(&web));
        assert!(!Settings::default().allows_principal(&web) && !Settings::default().grants_port(80));
    }

    #[test]
    fn what_is_wrong_is_named_and_changes_nothing() {
        for (key, value, word) in [
            ("limit.proc", "1", "did you mean \"limit.procs\"?"),
            ("limits.memory", "1", "did you mean \"limit.memory\"?"),
            ("colour", "red", "there are limit.procs"),
            (PROCS, "many", "limit.procs=many: a number"),
            (MEMORY, "1T", "a number"),
            (DISK, "99999999999G", "more than any machine has"),
            (PORTS, "0", "no port"),
            (PORTS, "80-70", "no port"),
            (PORTS, "http", "no port"),
            (PRINCIPALS, "Web", "principal name"),
        ] {
            let error = set(key, value).unwrap_err();
            assert!(error.code == Code::Invalid && error.message.contains(word), "{key}={value}: {error}");
        }
    }

    #[test]
    fn an_empty_value_goes_back_to_the_default() {
        let set = set(ENTRIES, "5").unwrap();
        assert_eq!(set.with([(ENTRIES.to_owned(), String::new())]).unwrap(), Settings::default());
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let settings = set(PORTS, "80").unwrap();
        assert_eq!(Settings::read(settings.texts().clone()), Ok(settings));
    }
}
