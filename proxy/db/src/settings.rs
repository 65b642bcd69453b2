//! What the operator has set: `NAME.url`, `NAME.password` and `NAME.ca`, a database of a server each.

use crate::names::is_name;
use crate::place::Place;
use anyhow::{Result, ensure};
use sigma_proxy::Settings;
use std::collections::BTreeMap;

/// The databases that are outside, by name.
///
/// # Errors
/// What is wrong with which setting, and never its value where that is secret.
pub(crate) fn places(settings: &Settings) -> Result<BTreeMap<String, Place>> {
    for key in ["password", "ca"] {
        for name in settings.names(key) {
            let url = settings.get(&format!("{name}.url"));
            ensure!(url.is_some(), "db.{name}.{key} is set, but db.{name}.url is not");
        }
    }
    let place = |name: &str| {
        ensure!(is_name(name), "db.{name}.url: {name:?} is no name of a database");
        let url = settings.get(&format!("{name}.url")).unwrap_or_default();
        let [password, ca] = ["password", "ca"].map(|key| settings.get(&format!("{name}.{key}")));
        let place = Place::parse(name, url, password, ca)?;
        Ok((name.to_owned(), place))
    };
    settings.names("url").map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: &[(&str, &str)]) -> Settings {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn places_are_by_name() {
        let all = [
            ("main.url", "postgres://ada@host/shop"),
            ("main.password", "s3cret"),
            ("b.url", "mysql://u@h/d"),
        ];
        let places = places(&settings(&all)).unwrap();
        assert_eq!(places.keys().collect::<Vec<_>>(), ["b", "main"]);
        assert_eq!(places["main"].password.as_deref(), Some("s3cret"));
    }

    #[test]
    fn a_wrong_setting_is_named_and_no_secret_told() {
        for (key, expect) in [
            ("main.password", "db.main.url is not"),
            ("main.ca", "db.main.url is not"),
            ("Main.url", "no name of a database"),
            ("a.url", "db.a.url is no URL"),
        ] {
            let error = format!("{:#}", places(&settings(&[(key, "s3cret")])).unwrap_err());
            assert!(error.contains(expect) && !error.contains("s3cret"), "{key}: {error}");
        }
    }
}
