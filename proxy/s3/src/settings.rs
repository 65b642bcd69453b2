//! What the operator sets: which store it is.

use anyhow::{Context, bail};
use object_store::Certificate;
use sigma_proxy::Settings;
use std::fmt;
use url::Url;

const DEFAULT_REGION: &str = "us-east-1";

/// An S3 endpoint, and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) region: String,
    pub(crate) key: Option<AccessKey>,
    /// Certificates of authorities that are believed besides those of the machine, as PEM.
    pub(crate) ca: Option<String>,
}

/// Without one requests are not signed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Endpoint {
    /// The endpoint of `s3.endpoint`, or that of Amazon where only a key is set; none where neither is.
    ///
    /// # Errors
    /// Which setting is wrong or missing, and never its value.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let region = settings.get("region").unwrap_or(DEFAULT_REGION).to_owned();
        let key = match (settings.get("access-key"), settings.get("secret-key")) {
            (Some(id), Some(secret)) => Some(AccessKey { id: id.to_owned(), secret: secret.to_owned() }),
            (Some(_), None) => bail!("s3.access-key is set without s3.secret-key: set both"),
            (None, Some(_)) => bail!("s3.secret-key is set without s3.access-key: set both"),
            (None, None) => None,
        };
        let url = match settings.get("endpoint") {
            Some(endpoint) => endpoint.to_owned(),
            None if key.is_some() => format!("https://s3.{region}.amazonaws.com"),
            None => return Ok(None),
        };
        let url =
            Url::parse(&url).context("s3.endpoint is no address: write http://HOST:PORT or https://HOST")?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
            bail!("s3.endpoint is no address of a store: write http://HOST:PORT or https://HOST");
        }
        let ca = settings.get("ca").map(str::to_owned);
        if ca.is_some() && url.scheme() != "https" {
            bail!("s3.ca is set, and s3.endpoint has no certificate: write https://HOST:PORT");
        }
        Ok(Some(Self { url, region, key, ca }))
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// Those who sign for the store, besides whom the machine trusts.
    ///
    /// # Errors
    /// For what is no certificate.
    pub(crate) fn authorities(&self) -> anyhow::Result<Vec<Certificate>> {
        let pem = self.ca.as_deref().unwrap_or_default();
        Certificate::from_pem_bundle(pem.as_bytes()).context("s3.ca holds what is no certificate")
    }

    /// As the requests begin, without a slash at the end.
    pub(crate) fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&str, &str)]) -> anyhow::Result<Option<Endpoint>> {
        let settings = settings.iter().map(|(key, value)| (String::from(*key), String::from(*value)));
        Endpoint::of(&settings.collect())
    }

    #[test]
    fn what_is_set_says_which_store_it_is() {
        assert_eq!(of(&[]).unwrap(), None);
        let key = [("access-key", "me"), ("secret-key", "hush")];
        let amazon = of(&key).unwrap().unwrap();
        assert_eq!((amazon.base(), amazon.port()), ("https://s3.us-east-1.amazonaws.com", 443));
        let other = of(&[("endpoint", "http://localhost:8333/"), ("region", "here"), key[0], key[1]])
            .unwrap()
            .unwrap();
        assert_eq!(
            (other.base(), other.port(), other.region.as_str()),
            ("http://localhost:8333", 8333, "here")
        );
        assert!(!format!("{other:?}").contains("hush"));
        assert!(of(&[("endpoint", "http://localhost")]).unwrap().unwrap().key.is_none());
    }

    #[test]
    fn a_wrong_setting_is_named_and_not_shown() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("access-key", "hush")], "s3.secret-key"),
            (&[("secret-key", "hush")], "s3.access-key"),
            (&[("endpoint", "hush")], "s3.endpoint"),
            (&[("endpoint", "ftp://hush")], "s3.endpoint"),
            (&[("endpoint", "http://me:hush@localhost")], "s3.endpoint"),
            (&[("endpoint", "http://localhost"), ("ca", "hush")], "s3.ca"),
        ];
        for (settings, named) in cases {
            let error = format!("{:#}", of(settings).unwrap_err());
            assert!(error.contains(named) && !error.contains("hush"), "{error}");
        }
    }
}
