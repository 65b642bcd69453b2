//! What a path of this tree names: the top, a bucket, or what is in a bucket.
//!
//! ```text
//!   /                     all buckets
//!   /bucket               a directory
//!   /bucket/a/b           the object with the key `a/b`, or the directory of the keys that begin with `a/b/`
//! ```
//! A path has no empty names, no `.` and no `..`, so keys that have them cannot be named: they are not shown, and cannot be made. The
//! same holds for keys with control characters, those that begin or end with `/`, and names past [`MAX_NAME`]. All other keys are
//! what they are, `%` and `#` too: nothing is escaped, at neither store.

use object_store::path::Path as Key;
use sigmaos::limits::MAX_NAME;
use sigmaos::{Code, Error, Path, Result};
use std::fmt;

/// Bytes of a bucket's name, as S3 has it.
const BUCKET_NAME: std::ops::RangeInclusive<usize> = 3..=63;

/// Bytes of a key, as S3 has it.
const MAX_KEY: usize = 1024;

/// A name that a bucket may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bucket(String);

/// A bucket and a key that an object may have in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) bucket: Bucket,
    pub(crate) key: Key,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Top,
    Bucket(Bucket),
    /// An object, or a directory: only the store knows.
    Within(Object),
}

impl Place {
    /// # Errors
    /// `NotFound` where no bucket can have such a name, `Invalid` and `TooLarge` where no object can.
    pub(crate) fn parse(path: &str) -> Result<Self> {
        let path = Path::parse(path)?;
        let mut names = path.names();
        let Some(bucket) = names.next() else { return Ok(Self::Top) };
        let bucket = Bucket::parse(bucket).map_err(|error| {
            Error::new(Code::NotFound, format!("{path} does not exist: {}", error.message))
        })?;
        let key = &path.as_str()[bucket.0.len() + 1..];
        if key.is_empty() {
            return Ok(Self::Bucket(bucket));
        }
        if key.len() > MAX_KEY + 1 {
            let text = format!("{path}: a key of {} bytes: the limit is {MAX_KEY}", key.len() - 1);
            return Err(Error::new(Code::TooLarge, text));
        }
        let key = Key::parse(key).map_err(|_| {
            let text = format!("{path:?}: an object's name must not contain control characters");
            Error::new(Code::Invalid, text)
        })?;
        Ok(Self::Within(Object { bucket, key }))
    }

    /// The object that a path names.
    ///
    /// # Errors
    /// As [`Place::parse`]; `IsDir` for the top and for buckets.
    pub(crate) fn object(path: &str) -> Result<Object> {
        match Self::parse(path)? {
            Self::Top => Err(Error::new(Code::IsDir, "this is the directory of all buckets")),
            Self::Bucket(bucket) => Err(Error::new(Code::IsDir, format!("/{bucket} is a bucket"))),
            Self::Within(object) => Ok(object),
        }
    }

    /// The last name; empty for the top.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Top => "",
            Self::Bucket(bucket) => bucket.as_str(),
            Self::Within(object) => object.name(),
        }
    }
}

impl Bucket {
    /// # Errors
    /// `Invalid`.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let ends = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| ends(byte) || matches!(byte, b'-' | b'.');
        let fits = BUCKET_NAME.contains(&name.len())
            && name.bytes().all(inner)
            && name.bytes().next().is_some_and(ends)
            && name.bytes().next_back().is_some_and(ends);
        match fits {
            true => Ok(Self(name.to_owned())),
            false => {
                let text = "a bucket's name has 3 to 63 small letters, digits, dots and hyphens, and begins and ends with a letter or a digit";
                Err(Error::new(Code::Invalid, text))
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Object {
    /// The last name of the key.
    pub(crate) fn name(&self) -> &str {
        self.key.filename().unwrap_or_default()
    }

    /// What the keys of all that is in this directory begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/", self.key)
    }
}

/// Whether a name of a key can be said in a path.
pub(crate) fn speakable(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME
        && !name.contains(|c: char| c.is_ascii_control())
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: std::result::Result<(&str, &str), Code>) {
        let place = Place::parse(path).map_err(|error| error.code);
        let named = place.map(|place| match place {
            Place::Top => (String::new(), String::new()),
            Place::Bucket(bucket) => (bucket.0, String::new()),
            Place::Within(object) => (object.bucket.0, object.key.to_string()),
        });
        assert_eq!(named, expect.map(|(bucket, key)| (bucket.to_owned(), key.to_owned())), "{path:?}");
    }

    #[test]
    fn a_path_names_a_bucket_and_a_key() {
        check("/", Ok(("", "")));
        check("/shop/", Ok(("shop", "")));
        check("/shop//a/./b/", Ok(("shop", "a/b")));
        check("/shop/100%/%2e%2e/a#1/ü", Ok(("shop", "100%/%2e%2e/a#1/ü")));
        check("/shop/../etc", Err(Code::Invalid));
        check("/shop/a\nb", Err(Code::Invalid));
        check(&format!("/shop/{}", "a/".repeat(512)), Ok(("shop", &format!("{}a", "a/".repeat(511)))));
        check(&format!("/shop/{}b", "ab/".repeat(342)), Err(Code::TooLarge));
    }

    #[test]
    fn what_no_bucket_can_be_called_is_not_there() {
        for name in ["ab", "Shop", ".drafts", "shop-", "a_b", &"a".repeat(64), "~any"] {
            check(&format!("/{name}/a"), Err(Code::NotFound));
            assert_eq!(Bucket::parse(name).unwrap_err().code, Code::Invalid);
        }
    }

    #[test]
    fn names_that_no_path_can_say_are_told() {
        for name in ["", ".", "..", "a\u{7}", &"a".repeat(256)] {
            assert!(!speakable(name), "{name:?}");
        }
        assert!(speakable("...") && speakable("%2e") && speakable("a b"));
    }
}
