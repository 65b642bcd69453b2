//! Names of tenants, and of who acts within one.

use crate::error::{Code, Error};
use std::fmt;
use std::str::FromStr;

/// Names that the system keeps for itself.
const RESERVED: [&str; 3] = ["kernel", "root", "sigma"];

/// The principal of a realm that a spawn inherits unless it names another.
pub const DEFAULT_PRINCIPAL: &str = "owner";

/// Who lays out the top of a realm's namespace. No proc acts as this one.
pub const KERNEL_PRINCIPAL: &str = "kernel";

/// A tenant: a namespace, its procs, its limits and its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm(String);

/// Who acts within a realm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(String);

impl Realm {
    /// # Errors
    /// `Invalid` unless it is 1 to 32 of a-z, 0-9 and '-', begins with a letter, and is not reserved.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check("realm", text)?;
        if RESERVED.contains(&text) {
            return Err(Error::new(Code::Invalid, format!("the realm name {text:?} is reserved")));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Principal {
    /// # Errors
    /// `Invalid` unless it is 1 to 32 of a-z, 0-9 and '-', and begins with a letter.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check("principal", text)?;
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is [`KERNEL_PRINCIPAL`].
    pub fn is_kernel(&self) -> bool {
        self.0 == KERNEL_PRINCIPAL
    }
}

impl Default for Principal {
    fn default() -> Self {
        Self(DEFAULT_PRINCIPAL.to_owned())
    }
}

fn check(what: &str, text: &str) -> Result<(), Error> {
    let right = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if right {
        return Ok(());
    }
    Err(Error::new(
        Code::Invalid,
        format!("{text:?} is not a {what} name: 1 to 32 of a-z, 0-9 and '-', beginning with a letter"),
    ))
}

impl fmt::Display for Realm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Realm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_names_are_checked() {
        for right in ["a", "shop", "team-7", &"x".repeat(32)] {
            assert!(Realm::parse(right).is_ok(), "{right:?}");
        }
        for wrong in ["", "/", "..", "A", "7up", "-a", "a/b", "a b", "root", "kernel", &"x".repeat(33)] {
            assert_eq!(Realm::parse(wrong).map_err(|error| error.code), Err(Code::Invalid), "{wrong:?}");
        }
    }
}
