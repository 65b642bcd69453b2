//! The command line of named.

use crate::tree::Limits;
use std::path::PathBuf;

/// Bytes of the disk that are kept for the kernel and for what must be removed.
pub const DEFAULT_RESERVE: u64 = sigma_abi::limits::DISK_RESERVE;

/// What named is told when it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file that keeps the namespace; without one it is in memory alone.
    pub store: Option<PathBuf>,
    pub limits: Limits,
    pub reserve: u64,
}

impl Options {
    /// Reads `--store FILE`, `--entries N`, `--bytes N` and `--reserve-bytes N`.
    ///
    /// # Errors
    /// What is not one of them.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { store: None, limits: Limits::default(), reserve: DEFAULT_RESERVE };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--store" => options.store = Some(value.into()),
                "--entries" => options.limits.entries = number()?,
                "--bytes" => options.limits.bytes = number()?,
                "--reserve-bytes" => options.reserve = number()?,
                _ => return Err(format!("{name} is not an option of named")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_read() {
        let options = parse("--store /s/named.redb --entries 5").unwrap();
        assert_eq!(options.store, Some("/s/named.redb".into()));
        assert_eq!(options.limits.entries, 5);
        assert_eq!((options.limits.bytes, options.reserve), (Limits::default().bytes, DEFAULT_RESERVE));
        for (line, expect) in [
            ("--store", "--store needs a value"),
            ("--bytes x", "--bytes x: not a number"),
            ("--colour red", "--colour is not an option of named"),
        ] {
            assert_eq!(parse(line), Err(expect.to_owned()));
        }
    }
}
