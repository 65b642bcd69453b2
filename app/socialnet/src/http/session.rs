//! Logins: a signed cookie says who somebody is, and for how long. Nothing is kept of it but the key.
//!
//! Other sites cannot make a browser use it: the cookie is SameSite, and a request that changes something must come from the
//! page itself, by its Origin.

use crate::clock::now_ms;
use crate::limits::SESSION;
use crate::proto::Person;
use axum::http::{HeaderMap, HeaderValue, header};
use blake2::Blake2bMac512;
use blake2::digest::{KeyInit, Mac};
use sigmaos::{Code, Error, Result};

/// The cookie's name.
const COOKIE: &str = "session";

/// Signs and reads cookies.
pub struct Sessions {
    key: Vec<u8>,
}

impl Sessions {
    pub fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// What sets the cookie of somebody who has logged in.
    ///
    /// # Errors
    /// `Internal` where the key is none.
    pub fn begin(&self, person: &Person) -> Result<HeaderValue> {
        let ends_ms = now_ms() + SESSION.as_millis() as u64;
        let token = self.token(person, ends_ms)?;
        cookie(&token, SESSION.as_secs())
    }

    /// What removes the cookie.
    ///
    /// # Errors
    /// None today.
    pub fn end() -> Result<HeaderValue> {
        cookie("", 0)
    }

    /// Who has logged in.
    ///
    /// # Errors
    /// `Denied` for nobody.
    pub fn who(&self, headers: &HeaderMap) -> Result<Person> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let token = pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token);
        let person = token.and_then(|token| self.read(token, now_ms()));
        person.ok_or_else(|| Error::new(Code::Denied, "log in first"))
    }

    /// Who has logged in and asks for a change from a page of this site.
    ///
    /// # Errors
    /// `Denied` for nobody; `Invalid` for a request from elsewhere.
    pub fn changes(&self, headers: &HeaderMap) -> Result<Person> {
        from_here(headers)?;
        self.who(headers)
    }

    fn token(&self, person: &Person, ends_ms: u64) -> Result<String> {
        let said = format!("{}.{}.{ends_ms}", person.id, person.name);
        let signature: String =
            self.signed(&said)?.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{said}.{signature}"))
    }

    fn read(&self, token: &str, now_ms: u64) -> Option<Person> {
        let (said, signature) = token.rsplit_once('.')?;
        let bytes = signature
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        self.signed(said).ok()?.verify_slice(&bytes).ok()?;
        let mut parts = said.split('.');
        let (id, name, ends_ms) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?.parse().ok()?);
        (now_ms < ends_ms).then(|| Person { id, name: name.to_owned() })
    }

    fn signed(&self, said: &str) -> Result<Blake2bMac512> {
        let signer = <Blake2bMac512 as KeyInit>::new_from_slice(&self.key);
        let mut signer = signer.map_err(|_| Error::new(Code::Internal, "the key of the sessions is none"))?;
        Mac::update(&mut signer, said.as_bytes());
        Ok(signer)
    }
}

/// Whether a request comes from a page of this site, or from no page at all: browsers say from where they send a form.
///
/// # Errors
/// `Invalid` otherwise.
pub fn from_here(headers: &HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let elsewhere = match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => matches!(text(header::HeaderName::from_static("sec-fetch-site")), Some("cross-site")),
        (Some(origin), host) => origin.split_once("://").map(|(_, host)| host) != host,
    };
    if elsewhere {
        return Err(Error::new(Code::Invalid, "this request comes from another site"));
    }
    Ok(())
}

fn cookie(token: &str, seconds: u64) -> Result<HeaderValue> {
    let text = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(text).map_err(|_| Error::new(Code::Internal, "a name that no cookie can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_cookie_says_who_and_cannot_be_changed() {
        let sessions = Sessions::new(vec![7; 32]);
        let ada = Person { id: 42, name: "ada-1_x".into() };
        let token = sessions.token(&ada, 1000).unwrap();
        assert_eq!(sessions.read(&token, 999), Some(ada.clone()));
        assert_eq!(sessions.read(&token, 1000), None, "its time is over");
        assert_eq!(Sessions::new(vec![8; 32]).read(&token, 0), None, "another key");
        assert_eq!(sessions.read(&token.replacen("42", "43", 1), 0), None);
        for wrong in ["", "...", "42.ada.1000", "42.ada.1000.", "42.ada.1000.zz", &token[..token.len() - 2]] {
            assert_eq!(sessions.read(wrong, 0), None, "{wrong}");
        }
        let set = sessions.begin(&ada).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
        let pair = set.split(';').next().unwrap();
        assert_eq!(sessions.who(&headers(&[("cookie", &format!("a=b; {pair}"))])).unwrap(), ada);
        assert_eq!(sessions.who(&HeaderMap::new()).unwrap_err().code, Code::Denied);
    }

    #[test]
    fn a_change_comes_from_the_page_itself() {
        let here = [("host", "sn.example:8080")];
        assert!(from_here(&headers(&here)).is_ok(), "no browser");
        assert!(from_here(&headers(&[here[0], ("origin", "http://sn.example:8080")])).is_ok());
        for origin in ["http://evil.example", "null", "http://sn.example:8081", "http://sn.example:8080.evil"]
        {
            assert!(from_here(&headers(&[here[0], ("origin", origin)])).is_err(), "{origin}");
        }
        assert!(from_here(&headers(&[here[0], ("sec-fetch-site", "cross-site")])).is_err());
    }
}
