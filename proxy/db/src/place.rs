//! Where a database outside is, as the operator has set it.

use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use url::Url;

/// The engine behind a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Mysql,
}

/// A database of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    /// Certificates of authorities that are believed besides the well-known ones, as PEM; without them the server is not asked who it is.
    pub(crate) ca: Option<String>,
}

/// Without its password.
impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}@{}:{}/{}", self.kind, self.user, self.host, self.port, self.database)
    }
}

impl Place {
    /// The place that the setting `db.NAME.url` says, the password of `db.NAME.password`, and the authorities of `db.NAME.ca`.
    ///
    /// # Errors
    /// What is wrong with it, and never the password.
    pub(crate) fn parse(name: &str, url: &str, password: Option<&str>, ca: Option<&str>) -> Result<Self> {
        let setting = format!("db.{name}.url");
        let url = Url::parse(url).with_context(|| format!("{setting} is no URL"))?;
        let (kind, default_port) = match url.scheme() {
            "postgres" | "postgresql" => (Kind::Postgres, 5432),
            "mysql" | "mariadb" => (Kind::Mysql, 3306),
            other => bail!("{setting} begins with {other}: write postgres://… or mysql://…"),
        };
        ensure!(
            url.password().is_none(),
            "{setting} holds a password: set that as db.{name}.password, which is never shown again"
        );
        ensure!(url.query().is_none() && url.fragment().is_none(), "{setting} may hold no options");
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .with_context(|| format!("{setting} names no host"))?;
        let database = url.path().trim_matches('/');
        ensure!(!url.username().is_empty(), "{setting} names no user: {}://USER@…", url.scheme());
        ensure!(
            !database.is_empty() && !database.contains('/'),
            "{setting} names no database: …/DATABASE at its end"
        );
        Ok(Self {
            kind,
            host: host.to_owned(),
            port: url.port().unwrap_or(default_port),
            user: url.username().to_owned(),
            password: password.map(str::to_owned),
            database: database.to_owned(),
            ca: ca.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Place> {
        Place::parse("main", url, Some("s3cret"), None)
    }

    #[test]
    fn a_place_has_its_parts() {
        let place = parse("postgres://ada@db.example/shop").unwrap();
        assert_eq!(format!("{place:?}"), "Postgres ada@db.example:5432/shop", "and no password");
        assert_eq!(place.password.as_deref(), Some("s3cret"));
        assert_eq!(parse("mysql://ada@127.0.0.1:3307/shop").unwrap().port, 3307);
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret() {
        for (url, expect) in [
            ("shop", "db.main.url is no URL"),
            ("http://ada@host/shop", "begins with http"),
            ("postgres://ada:s3cret@host/shop", "db.main.password"),
            ("postgres://host/shop", "names no user"),
            ("postgres://ada@host", "names no database"),
            ("postgres://ada@host/shop?sslmode=disable", "no options"),
        ] {
            let error = format!("{:#}", parse(url).unwrap_err());
            assert!(error.contains(expect) && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
