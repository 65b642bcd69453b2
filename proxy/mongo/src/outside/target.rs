//! Which MongoDB the operator means: `mongo.url`, `mongo.user`, `mongo.password` and `mongo.database`.

use sigma_abi::{Code, Error, Result};
use std::fmt;

/// The port of a MongoDB whose address names none.
const DEFAULT_PORT: u16 = 27017;

/// A MongoDB that is set.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
}

impl Target {
    /// Reads the settings; `None` where no `url` is set: then the embedded store is meant.
    ///
    /// # Errors
    /// `Invalid` for a setting that is wrong, by its name and never by its value.
    pub fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>> {
        let [user, password, database] =
            ["user", "password", "database"].map(|key| setting(key).map(str::to_owned));
        let Some(url) = setting("url") else {
            let others = [("user", &user), ("password", &password), ("database", &database)];
            return match others.into_iter().find(|(_, value)| value.is_some()) {
                Some((key, _)) => Err(wrong(&format!("mongo.{key} is set, and mongo.url is not"))),
                None => Ok(None),
            };
        };
        if user.is_some() != password.is_some() {
            return Err(wrong("mongo.user and mongo.password belong together: set both"));
        }
        let rest = url.strip_prefix("mongodb://").ok_or_else(|| match url.starts_with("mongodb+srv://") {
            true => wrong("mongo.url: name the hosts by mongodb://HOST:PORT,…: hosts are not looked up by a service here"),
            false => wrong("mongo.url begins with mongodb://"),
        })?;
        let authority = rest.split(['/', '?']).next().unwrap_or("");
        if authority.contains('@') {
            return Err(wrong("mongo.url holds a user: set mongo.user and mongo.password instead"));
        }
        let hosts = authority.split(',').map(host).collect::<Option<Vec<_>>>();
        let hosts = hosts.ok_or_else(|| {
            wrong("mongo.url names its hosts as HOST or HOST:PORT, with a comma between them")
        })?;
        Ok(Some(Self { url: url.to_owned(), hosts, user, password, database }))
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The TCP ports that it takes.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.hosts.iter().map(|(_, port)| *port)
    }

    /// The hosts and ports, for people.
    pub fn hosts(&self) -> String {
        self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
    }

    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.user.as_deref().zip(self.password.as_deref())
    }

    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

/// Never with what is secret.
impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Target").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn host(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, DEFAULT_PORT),
    };
    let known = !host.is_empty() && !host.contains(['%', ' ', '\\']) && port != 0;
    known.then(|| (host.to_owned(), port))
}

fn wrong(text: &str) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &'static str)]) -> Result<Option<Target>> {
        Target::read(|key| settings.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn hosts_and_ports_are_found() {
        assert_eq!(read(&[]).unwrap(), None);
        let target =
            read(&[("url", "mongodb://a,b:1234,[::1]:5/shop?directConnection=true")]).unwrap().unwrap();
        assert_eq!(target.ports().collect::<Vec<_>>(), [DEFAULT_PORT, 1234, 5]);
        assert_eq!(target.hosts(), "a:27017,b:1234,[::1]:5");
        assert_eq!(target.credentials(), None);
    }

    #[test]
    fn wrong_settings_are_named_and_no_secret_is() {
        for (settings, word) in [
            (&[("user", "hush")][..], "mongo.user"),
            (&[("url", "mongodb://a"), ("password", "hush")], "both"),
            (&[("url", "http://hush")], "mongodb://"),
            (&[("url", "mongodb+srv://hush")], "hosts"),
            (&[("url", "mongodb://me:hush@a")], "mongo.password"),
            (&[("url", "mongodb://a:hush")], "HOST:PORT"),
            (&[("url", "mongodb://")], "HOST:PORT"),
        ] {
            let error = read(settings).unwrap_err();
            assert!(error.message.contains(word) && !error.message.contains("hush"), "{error}");
        }
        let target = read(&[("url", "mongodb://a"), ("user", "me"), ("password", "hush")]).unwrap().unwrap();
        assert!(!format!("{target:?}").contains("hush"));
        assert_eq!(target.credentials(), Some(("me", "hush")));
    }
}
