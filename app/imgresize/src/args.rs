//! Arguments of the procs: flags with a value, and what stands between them. Small, as a proc should be.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Why the arguments cannot be understood.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("{0} is no flag of this program")]
    Unknown(String),
    #[error("{0} wants a value behind it")]
    NoValue(String),
    #[error("{0} is given twice")]
    Twice(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{flag} {value:?}: it must be a number from {} to {}", range.start(), range.end())]
    Number { flag: &'static str, value: String, range: RangeInclusive<u32> },
}

/// Arguments, taken apart.
#[derive(Debug, Default, PartialEq)]
pub struct Args {
    flags: BTreeMap<&'static str, String>,
    /// What is no flag, in its order.
    pub rest: Vec<String>,
}

impl Args {
    /// Takes arguments apart: each of the `known` flags has a value, behind it or behind `=`; behind `--` there are no
    /// flags.
    ///
    /// # Errors
    /// `Unknown`, `NoValue`, `Twice`.
    pub fn parse(args: impl IntoIterator<Item = String>, known: &[&'static str]) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                parsed.rest.extend(args);
                break;
            }
            if !arg.starts_with("--") {
                parsed.rest.push(arg);
                continue;
            }
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            let flag = known.iter().find(|flag| **flag == name).copied();
            let flag = flag.ok_or_else(|| Error::Unknown(name.clone()))?;
            let value = value.or_else(|| args.next()).ok_or_else(|| Error::NoValue(name.clone()))?;
            if parsed.flags.insert(flag, value).is_some() {
                return Err(Error::Twice(name));
            }
        }
        Ok(parsed)
    }

    /// The value of a flag.
    pub fn text(&mut self, flag: &'static str) -> Option<String> {
        self.flags.remove(flag)
    }

    /// The value of a flag that must be there.
    ///
    /// # Errors
    /// `Missing`.
    pub fn required(&mut self, flag: &'static str) -> Result<String, Error> {
        self.text(flag).ok_or(Error::Missing(flag))
    }

    /// The value of a flag as a number.
    ///
    /// # Errors
    /// `Number` outside of `range`.
    pub fn number(&mut self, flag: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>, Error> {
        let Some(value) = self.text(flag) else { return Ok(None) };
        match value.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(Error::Number { flag, value, range }),
        }
    }

    /// The first flag whose value nobody has taken.
    pub fn left(&self) -> Option<&'static str> {
        self.flags.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Error> {
        Args::parse(line.split_whitespace().map(str::to_owned), &["--width", "--output"])
    }

    #[test]
    fn flags_are_told_from_the_rest() {
        let mut args = parse("a --width 3 b --output=x=y -- --width").unwrap();
        assert_eq!(args.number("--width", 1..=9), Ok(Some(3)));
        assert_eq!(args.required("--output"), Ok("x=y".into()));
        assert_eq!(args.rest, ["a", "b", "--width"]);
        assert_eq!(args.left(), None);
    }

    #[test]
    fn each_wrong_flag_has_its_sentence() {
        let check = |line, text: &str| assert_eq!(parse(line).unwrap_err().to_string(), text);
        check("--hight 3", "--hight is no flag of this program");
        check("--width", "--width wants a value behind it");
        check("--width 1 --width=2", "--width is given twice");
        let number = |line| parse(line).unwrap().number("--width", 1..=9).unwrap_err().to_string();
        assert_eq!(number("--width 10"), "--width \"10\": it must be a number from 1 to 9");
        assert_eq!(number("--width wide"), "--width \"wide\": it must be a number from 1 to 9");
        assert_eq!(parse("").unwrap().required("--output"), Err(Error::Missing("--output")));
    }
}
