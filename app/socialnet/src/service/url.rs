//! Url: short links. The key of a link is a digest of it, so that the same link has the same key whoever shortens it.

use super::{invalid, serve as run, too_large};
use crate::limits::{MAX_LINK, MAX_LINKS};
use crate::proto::{ExpandRequest, Link, Links, Url, UrlServer, Urls};
use blake2::{Blake2b512, Digest};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sigmaos::mongo::{Collection, Mongo, doc};
use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "url";

/// The path of short links at the front end.
pub const SHORT_PATH: &str = "/s/";

/// Characters of a key: 71 bits.
const KEY: usize = 12;

struct Shortener {
    links: Collection<Stored>,
    /// What stands before a key.
    prefix: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    key: String,
    long: String,
}

/// Serves until somebody asks this proc to end. Short links begin with `public`, the address of the front end.
///
/// # Errors
/// As [`Mongo::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma, public: &str) -> Result<()> {
    let links = Mongo::open(sigma).await?.collection("links");
    let prefix = format!("{}{SHORT_PATH}", public.trim_end_matches('/'));
    run(sigma, NAME, UrlServer(Arc::new(Shortener { links, prefix }))).await
}

impl Shortener {
    async fn shorten_one(&self, long: String) -> Result<Link> {
        if long.len() > MAX_LINK {
            return Err(too_large(format!("a link of {} bytes: the limit is {MAX_LINK}", long.len())));
        }
        let key = key(&long);
        let stored =
            self.links.upsert(doc! { "_id": &key }, doc! { "$setOnInsert": { "long": &long } }).await;
        match stored {
            Err(error) if error.code == Code::Exists => {}
            stored => drop(stored?),
        }
        Ok(Link { short: format!("{}{key}", self.prefix), long })
    }
}

impl Url for Shortener {
    async fn shorten(&self, request: Request<Urls>) -> Result<Response<Links>> {
        let urls = request.message.urls;
        if urls.len() > MAX_LINKS {
            return Err(invalid(format!("{} links: a post has at most {MAX_LINKS}", urls.len())));
        }
        let links = try_join_all(urls.into_iter().map(|long| self.shorten_one(long))).await?;
        Ok(Links { links }.into())
    }

    async fn expand(&self, request: Request<ExpandRequest>) -> Result<Response<Link>> {
        let key = request.message.key;
        let found = self.links.find_one(doc! { "_id": &key }).await?;
        let nowhere = || Error::new(Code::NotFound, "this short link leads nowhere");
        let Stored { key, long } = found.ok_or_else(nowhere)?;
        Ok(Link { short: format!("{}{key}", self.prefix), long }.into())
    }
}

fn key(long: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Blake2b512::digest(long.as_bytes());
    // Of the 512 bits the first 128 are more than the key has room for.
    let mut number = digest[..16].iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let mut key = String::with_capacity(KEY);
    for _ in 0..KEY {
        key.push(DIGITS[(number % 62) as usize].into());
        number /= 62;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_link_has_one_key() {
        assert_eq!(key("http://a.b"), key("http://a.b"));
        assert_ne!(key("http://a.b"), key("http://a.c"));
        assert_eq!(key("http://a.b").len(), 12);
        assert!(key("http://a.b").chars().all(|digit| digit.is_ascii_alphanumeric()));
    }
}
