//! Identifiers of machines and procs. A [`Pid`] names its home and the home's boot, so it never repeats and any
//! machine can route a question about it.

use crate::error::{Code, Error};
use std::fmt;
use std::str::FromStr;

/// A machine, drawn once when its state directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(pub u32);

impl fmt::Display for MachineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "m{:08x}", self.0)
    }
}

impl FromStr for MachineId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix('m')
            .filter(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| {
                Error::new(Code::Invalid, format!("{text:?} is not a machine: 'm' and 8 hex digits"))
            })
    }
}

/// A proc: its home machine, the boot of that machine's kernel, and a number within the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid {
    pub home: MachineId,
    /// Counts the boots of the home; durable there.
    pub epoch: u64,
    pub number: u64,
}

impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.home, self.epoch, self.number)
    }
}

impl FromStr for Pid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::new(
                Code::Invalid,
                format!("{text:?} is not a pid: it looks like m0123abcd-1-42, see 'sigma ps'"),
            )
        };
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or_else(invalid);
        let home = next()?.parse().map_err(|_| invalid())?;
        let epoch = next()?.parse().map_err(|_| invalid())?;
        let number = next()?.parse().map_err(|_| invalid())?;
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { home, epoch, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_survive_their_text() {
        let pid = Pid { home: MachineId(0xab), epoch: 3, number: 42 };
        assert_eq!(pid.to_string(), "m000000ab-3-42");
        assert_eq!("m000000ab-3-42".parse(), Ok(pid));
        for wrong in
            ["", "m000000ab", "m000000ab-3", "m000000ab-3-4-5", "x000000ab-3-4", "mab-1-1", "m+00000ab-1-1"]
        {
            assert_eq!(wrong.parse::<Pid>().map_err(|error| error.code), Err(Code::Invalid), "{wrong:?}");
        }
    }
}
