//! What the operator set for a proxy.

use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;

/// The descriptor from which they are read.
const SETTINGS_FD: &str = "/proc/self/fd/5";

/// Bytes that they may have together; sigmad takes less.
const MAX_LENGTH: u64 = 1 << 20;

/// What the operator set, without the proxy's own name before the keys. Values may be secret, so they are never shown.
#[derive(Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads what sigmad passes on, to its end.
    pub(crate) fn read() -> anyhow::Result<Self> {
        // Opened by its name: a pipe opens again as itself, and no number has to be believed to be a descriptor.
        let passed =
            File::open(SETTINGS_FD).context("descriptor 5 is not open: sigmad starts this program")?;
        let mut text = String::new();
        passed.take(MAX_LENGTH).read_to_string(&mut text)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // What a parser says may quote what is secret.
        toml::from_str(text).map(Self).map_err(|_| anyhow::anyhow!("they are not a table of texts"))
    }

    /// The value of a key, where it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The names that have a `NAME.key`, in order.
    pub fn names<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |name| name.strip_suffix(key)?.strip_suffix('.'))
    }
}

impl FromIterator<(String, String)> for Settings {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(settings: T) -> Self {
        Self(settings.into_iter().collect())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_values_are_never_shown() {
        let settings =
            Settings::parse("endpoint = \"e\"\n\"main.url\" = \"u\"\n\"main.password\" = \"hush\"").unwrap();
        assert_eq!((settings.get("endpoint"), settings.get("region")), (Some("e"), None));
        assert_eq!(settings.names("url").collect::<Vec<_>>(), ["main"]);
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        let error = Settings::parse("hush").unwrap_err();
        assert!(!format!("{error:#}").contains("hush"), "{error:#}");
    }
}
