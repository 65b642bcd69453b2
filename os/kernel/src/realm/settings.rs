//! What the operator sets for a realm: its limits, the ports that it may publish, whom its procs may act as, and the outside
//! systems of its proxies.
//!
//! A setting is a key and a text, as the operator wrote it and as it is kept. [`KEYS`] is the one list of them: what is not
//! in it is an error that names the nearest key, also in a realm's file. Nothing here touches a disk.
//!
//! Some are secret: they are passed to the proxy that needs them, and shown to nobody again.

use sigma_abi::{Code, Error, Principal, Realm, Result};
use sigma_schedd::RealmLimits;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Ports and principals that one setting may list.
const MAX_LISTED: usize = 64;

/// Bytes of a value.
const MAX_VALUE: usize = 4096;

/// Bytes of a value that is certificates.
const MAX_CERTIFICATES: usize = 16 << 10;

/// Settings of one realm.
const MAX_SETTINGS: usize = 256;

/// Bytes of their names and values together; a proxy takes a mebibyte, with what is escaped in it.
const MAX_SETTINGS_BYTES: usize = 256 << 10;

/// In the name of a key: here stands a name that the operator chooses.
const NAME: &str = "NAME";

/// A key that may be set.
#[derive(Debug)]
pub(crate) struct Key {
    name: &'static str,
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
    /// Where an outside system is: one of these schemes.
    Url(&'static [&'static str]),
    Text,
    Secret,
    /// Certificates of authorities, as PEM.
    Certificates,
}

/// How a certificate begins in a PEM file.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

pub(crate) const PROCS: &str = "limit.procs";
pub(crate) const MCPU: &str = "limit.mcpu";
pub(crate) const MEMORY: &str = "limit.memory";
pub(crate) const DISK: &str = "limit.disk";
pub(crate) const ENTRIES: &str = "limit.entries";
const PORTS: &str = "publish.ports";
const PRINCIPALS: &str = "spawn.principals";

/// Every key that there is.
const KEYS: [Key; 19] = [
    Key { name: PROCS, kind: Kind::Number, default: "100000" },
    Key { name: MCPU, kind: Kind::Number, default: "all of the machine" },
    Key { name: MEMORY, kind: Kind::Bytes, default: "all of the machine" },
    Key { name: DISK, kind: Kind::Bytes, default: "all but the kernel's reserve" },
    Key { name: ENTRIES, kind: Kind::Number, default: "200000" },
    Key { name: PORTS, kind: Kind::Ports, default: "none" },
    Key { name: PRINCIPALS, kind: Kind::Principals, default: "their own" },
    Key { name: "s3.endpoint", kind: Kind::Url(&["http", "https"]), default: "the machine's disk" },
    Key { name: "s3.region", kind: Kind::Text, default: "us-east-1" },
    Key { name: "s3.access-key", kind: Kind::Text, default: "none" },
    Key { name: "s3.secret-key", kind: Kind::Secret, default: "none" },
    Key { name: "s3.ca", kind: Kind::Certificates, default: "those that the machine trusts" },
    Key {
        name: "db.NAME.url",
        kind: Kind::Url(&["postgres", "postgresql", "mysql", "mariadb"]),
        default: "SQLite on the machine's disk",
    },
    Key { name: "db.NAME.password", kind: Kind::Secret, default: "none" },
    Key { name: "db.NAME.ca", kind: Kind::Certificates, default: "the server is not asked who it is" },
    Key { name: "mongo.url", kind: Kind::Url(&["mongodb"]), default: "the machine's disk" },
    Key { name: "mongo.user", kind: Kind::Text, default: "none" },
    Key { name: "mongo.password", kind: Kind::Secret, default: "none" },
    Key { name: "mongo.database", kind: Kind::Text, default: "the name of the realm" },
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
            let key = KEYS.iter().find(|key| key.is(&name)).ok_or_else(|| unknown(&name))?;
            if value.is_empty() {
                settings.remove(&name);
                continue;
            }
            key.check(&name, &value)?;
            settings.insert(name, value);
        }
        let bytes: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
        if settings.len() > MAX_SETTINGS || bytes > MAX_SETTINGS_BYTES {
            let text =
                format!("a realm has at most {MAX_SETTINGS} settings of {MAX_SETTINGS_BYTES} bytes together");
            return Err(Error::new(Code::Quota, text));
        }
        Ok(Self(settings))
    }

    pub(crate) fn texts(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Those of one proxy, with its name taken off.
    pub(crate) fn of(&self, proxy: &str) -> BTreeMap<&str, &str> {
        let below = |name| str::strip_prefix(str::strip_prefix(name, proxy)?, ".");
        self.0.iter().filter_map(|(name, value)| Some((below(name)?, value.as_str()))).collect()
    }

    /// Every key, with what is set: one with a name in it as often as it is set, or once as it is written.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (String, &'static Key, Option<&str>)> {
        KEYS.iter().flat_map(|key| {
            let mut set: Vec<_> = self
                .0
                .iter()
                .filter(|(name, _)| key.is(name))
                .map(|(name, value)| (name.clone(), key, Some(value.as_str())))
                .collect();
            if set.is_empty() {
                set.push((key.name.to_owned(), key, None));
            }
            set
        })
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
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// A value for people; of a secret nothing.
    pub(crate) fn shown(&self, value: &str) -> String {
        match self.kind {
            Kind::Secret => String::new(),
            Kind::Certificates => match value.matches(CERTIFICATE).count() {
                1 => "1 certificate".to_owned(),
                more => format!("{more} certificates"),
            },
            _ => value.to_owned(),
        }
    }

    /// Whether `name` is this key, or is it with a name where that has to be chosen.
    fn is(&self, name: &str) -> bool {
        match self.name.split_once(NAME) {
            None => self.name == name,
            Some((before, after)) => name
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|chosen| Realm::parse(chosen).is_ok()),
        }
    }

    fn check(&self, name: &str, value: &str) -> Result<()> {
        // A secret is not repeated, even where it is wrong.
        let shown = if matches!(self.kind, Kind::Secret | Kind::Certificates) { "…" } else { value };
        let wrong = |why: String| Error::new(Code::Invalid, format!("{name}={shown}: {why}"));
        if let Kind::Certificates = self.kind {
            return certificates(value).map_err(wrong);
        }
        if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
            return Err(wrong(format!("at most {MAX_VALUE} bytes of one line of text")));
        }
        let listed = matches!(self.kind, Kind::Ports | Kind::Principals);
        if listed && list(value).count() > MAX_LISTED {
            return Err(wrong(format!("at most {MAX_LISTED} of them")));
        }
        match self.kind {
            Kind::Number | Kind::Bytes => size(value).map(drop).map_err(wrong),
            Kind::Ports => list(value).try_for_each(|item| ports(item).map(drop)).map_err(wrong),
            Kind::Principals => list(value)
                .try_for_each(|item| Principal::parse(item).map(drop))
                .map_err(|error| wrong(error.message)),
            Kind::Url(schemes) => url(value, schemes).map_err(wrong),
            Kind::Text | Kind::Secret | Kind::Certificates => Ok(()),
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

/// A URL with a host and without a password: those are settings of their own, which are kept secret.
fn url(text: &str, schemes: &[&str]) -> std::result::Result<(), String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !schemes.contains(&scheme) || host.is_empty() {
        return Err(format!("it is written {}://HOST:PORT", schemes.join(":// or ")));
    }
    for host in host.split(',') {
        // Of an address in brackets the colons are its own.
        let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
        if let Some((_, port)) = after.split_once(':')
            && !port.parse().is_ok_and(|port: u16| port > 0)
        {
            return Err(format!("{port:?} is no port from 1 to 65535"));
        }
    }
    if user.contains(':') {
        return Err("a password is a setting of its own, so that it is shown to nobody".to_owned());
    }
    Ok(())
}

/// What the proxy will take for certificates, as far as that is seen from here: it tells what is wrong within one.
fn certificates(text: &str) -> std::result::Result<(), String> {
    let is_text = |byte: char| !byte.is_control() || matches!(byte, '\n' | '\r' | '\t');
    match text.contains(CERTIFICATE) && text.chars().all(is_text) && text.len() <= MAX_CERTIFICATES {
        true => Ok(()),
        false => Err(format!(
            "at most {MAX_CERTIFICATES} bytes of certificates as PEM are needed, {CERTIFICATE} and so on: name their file as @FILE"
        )),
    }
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
    fn a_proxy_gets_what_is_its_own_and_secrets_are_not_shown() {
        let settings = set("db.main.password", "hush").unwrap();
        let settings =
            settings.with([("db.main.url".to_owned(), "postgres://me@host:5432/shop".to_owned())]).unwrap();
        let settings = settings.with([("s3.region".to_owned(), "here".to_owned())]).unwrap();
        assert_eq!(
            settings.of("db").into_iter().collect::<Vec<_>>(),
            [("main.password", "hush"), ("main.url", "postgres://me@host:5432/shop")]
        );
        assert_eq!(settings.of("d"), BTreeMap::new());
        let secret: Vec<_> = settings
            .shown()
            .filter(|(_, key, value)| key.is_secret() && value.is_some())
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(secret, ["db.main.password"]);
        let trusted = settings.with([("db.main.ca".to_owned(), format!("{CERTIFICATE}\nx\n"))]).unwrap();
        let (_, key, value) = trusted.shown().find(|(name, ..)| name == "db.main.ca").unwrap();
        assert_eq!(key.shown(value.unwrap()), "1 certificate");
        assert!(settings.shown().any(|(name, _, value)| name == "mongo.url" && value.is_none()));
    }

    #[test]
    fn a_url_has_no_password_and_a_name_is_a_name() {
        for (key, value, word) in [
            ("mongo.url", "mongodb://me:hush@host", "a setting of its own"),
            ("s3.endpoint", "ftp://host", "http://"),
            ("s3.endpoint", "http://", "http://"),
            // Ports once were told of at the first use alone.
            ("s3.endpoint", "http://host:65536", "no port from 1 to 65535"),
            ("s3.endpoint", "https://[::1]:0/", "no port"),
            ("mongo.url", "mongodb://host:", "no port"),
            ("db.main.url", "postgres://me@host:x/shop", "no port"),
            ("db.a/b.url", "postgres://host/x", "there is no setting"),
            ("s3.secret-key", "a\nb", "s3.secret-key=…"),
            ("s3.ca", "/etc/ssl/ca.pem", "name their file as @FILE"),
            ("db.main.ca", "-----BEGIN CERTIFICATE-----\0", "PEM"),
        ] {
            let error = set(key, value).unwrap_err();
            assert!(error.code == Code::Invalid && error.message.contains(word), "{key}={value}: {error}");
        }
    }

    #[test]
    fn places_of_outside_systems_are_taken() {
        for (key, value) in [
            ("s3.endpoint", "https://s3.example.org"),
            ("s3.endpoint", "http://[::1]:8333/"),
            ("s3.endpoint", "http://[fe80::1]"),
            ("db.main.url", "mysql://me@host:3306/shop"),
            ("mongo.url", "mongodb://one:27017,two:65535/?replicaSet=r"),
        ] {
            set(key, value).unwrap();
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
