//! Absolute path names. A [`Path`] is checked and normal: no empty names, no `.`, no `..`, no NUL.

use crate::error::{Code, Error};
use crate::limits::{MAX_NAME, MAX_PATH};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// An absolute, normalized path name within a namespace or a server's tree.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// The path `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Checks and normalizes: `.` and doubled slashes are dropped, `..` is refused.
    ///
    /// # Errors
    /// `Invalid` for a relative path, `..` or NUL; `TooLarge` past [`MAX_PATH`] or [`MAX_NAME`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_PATH {
            return Err(Error::new(
                Code::TooLarge,
                format!("a path of {} bytes: the limit is {MAX_PATH}", text.len()),
            ));
        }
        if !text.starts_with('/') {
            return Err(Error::new(
                Code::Invalid,
                format!("{text:?} is not an absolute path: it must begin with '/'"),
            ));
        }
        let mut normal = String::with_capacity(text.len());
        for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
            check_name(name).map_err(|error| error.context(format!("{text:?}")))?;
            normal.push('/');
            normal.push_str(name);
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The names from the root down; none for `/`.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name; `None` for `/`.
    pub fn name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The path without its last name; `None` for `/`.
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            ("", "") => None,
            ("", _) => Some(Self::root()),
            _ => Some(Self(parent.to_owned())),
        }
    }

    /// This path and one more name.
    ///
    /// # Errors
    /// As [`Path::parse`], and `Invalid` for a name with a slash.
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        check_name(name)?;
        if name.contains('/') || name == "." {
            return Err(Error::new(Code::Invalid, format!("{name:?} is not a single name")));
        }
        Self::parse(&format!("{}/{name}", self.0.trim_end_matches('/')))
    }

    /// What is left of this path below `prefix`, compared by component; `/` where they are equal.
    pub fn below(&self, prefix: &Self) -> Option<Self> {
        if prefix.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&prefix.0)? {
            "" => Some(Self::root()),
            rest if rest.starts_with('/') => Some(Self(rest.to_owned())),
            _ => None,
        }
    }

    /// This path with `rest`, a path from a server's root, below it.
    ///
    /// # Errors
    /// `TooLarge` where the whole is past [`MAX_PATH`].
    pub fn append(&self, rest: &Self) -> Result<Self, Error> {
        Self::parse(&format!("{}{}", self.0, rest.0))
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let refuse = |code, reason: &str| Err(Error::new(code, reason));
    match name {
        "" => refuse(Code::Invalid, "a name must not be empty"),
        ".." => refuse(Code::Invalid, "'..' is refused: write the path without it"),
        _ if name.contains('\0') => refuse(Code::Invalid, "a name must not contain NUL"),
        _ if name.len() > MAX_NAME => Err(Error::new(
            Code::TooLarge,
            format!("a name of {} bytes: the limit is {MAX_NAME}", name.len()),
        )),
        _ => Ok(()),
    }
}

/// As text a path is equal, sorts and hashes as it does itself.
impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: Result<&str, Code>) {
        let parsed = Path::parse(text);
        assert_eq!(parsed.as_ref().map(Path::as_str).map_err(|error| error.code), expect, "{text:?}");
    }

    #[test]
    fn paths_are_normalized_or_refused() {
        check("/", Ok("/"));
        check("//a/./b/", Ok("/a/b"));
        check("/a/..", Err(Code::Invalid));
        check("/../a", Err(Code::Invalid));
        check("a/b", Err(Code::Invalid));
        check("", Err(Code::Invalid));
        check("/a\0b", Err(Code::Invalid));
        check("/..a/...", Ok("/..a/..."));
        check(&format!("/{}", "x".repeat(255)), Ok(&format!("/{}", "x".repeat(255))));
        check(&format!("/{}", "x".repeat(256)), Err(Code::TooLarge));
        check(&"/x".repeat(2049), Err(Code::TooLarge));
    }

    #[test]
    fn below_compares_by_component() {
        let path = |text: &str| Path::parse(text).unwrap();
        assert_eq!(path("/a/b").below(&path("/a")), Some(path("/b")));
        assert_eq!(path("/a").below(&path("/a")), Some(path("/")));
        assert_eq!(path("/ab").below(&path("/a")), None);
        assert_eq!(path("/ab").below(&path("/")), Some(path("/ab")));
    }

    #[test]
    fn parents_end_at_the_root() {
        let path = Path::parse("/a/b").unwrap();
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/a");
        assert_eq!(parent.parent().unwrap().as_str(), "/");
        assert_eq!(parent.parent().unwrap().parent(), None);
        assert!(Path::root().join("a/b").is_err());
        assert_eq!(Path::root().join("a").unwrap().as_str(), "/a");
    }

    proptest! {
        #[test]
        fn parsing_twice_changes_nothing(text in "[/.a-c\\x00]{0,24}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(Path::parse(path.as_str()).unwrap(), path.clone());
                prop_assert!(path.names().all(|name| name != "." && name != ".."));
                let rebuilt = path.names().try_fold(Path::root(), |path, name| path.join(name));
                prop_assert_eq!(rebuilt.unwrap(), path);
            }
        }

        #[test]
        fn any_text_is_a_path_or_an_error(text in ".{0,300}") {
            let _ = Path::parse(&text);
        }
    }
}
