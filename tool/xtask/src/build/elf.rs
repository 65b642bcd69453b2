//! Whether a program is static, read from its bytes (System V ABI, "Object Files" and "Program Header").

use std::fmt;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const EXECUTABLE: u16 = 2;
/// Also what a static position-independent program says of itself.
const SHARED: u16 = 3;
const X86_64: u16 = 62;
const PT_INTERP: u32 = 3;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    NotElf,
    OtherMachine,
    NotAProgram,
    Truncated,
    /// The program asks for a dynamic loader, by this path.
    Dynamic(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "it is not a 64-bit little-endian ELF file"),
            Self::OtherMachine => write!(f, "it is not for x86-64"),
            Self::NotAProgram => write!(f, "it is an object file, not a program"),
            Self::Truncated => write!(f, "its program headers are cut off"),
            Self::Dynamic(loader) => write!(
                f,
                "it asks for the dynamic loader {loader}; build it for musl, or for glibc with +crt-static"
            ),
        }
    }
}

pub(super) fn check_static(bytes: &[u8]) -> Result<(), Error> {
    if !bytes.starts_with(MAGIC) || bytes.get(4..6) != Some(&[CLASS_64, LITTLE_ENDIAN]) {
        return Err(Error::NotElf);
    }
    if !matches!(u16_at(bytes, 16)?, EXECUTABLE | SHARED) {
        return Err(Error::NotAProgram);
    }
    if u16_at(bytes, 18)? != X86_64 {
        return Err(Error::OtherMachine);
    }
    let table = u64_at(bytes, 32)?;
    let (entry_len, entries) = (u16_at(bytes, 54)?, u16_at(bytes, 56)?);
    for index in 0..u64::from(entries) {
        let entry = table.checked_add(index * u64::from(entry_len)).ok_or(Error::Truncated)?;
        let entry = usize::try_from(entry).map_err(|_| Error::Truncated)?;
        if u32::from_le_bytes(array_at(bytes, entry)?) == PT_INTERP {
            return Err(Error::Dynamic(loader(bytes, entry).unwrap_or_default()));
        }
    }
    Ok(())
}

/// The path that a PT_INTERP entry points at.
fn loader(bytes: &[u8], entry: usize) -> Option<String> {
    let start = usize::try_from(u64_at(bytes, entry + 8).ok()?).ok()?;
    let len = usize::try_from(u64_at(bytes, entry + 32).ok()?).ok()?;
    let path = bytes.get(start..start.checked_add(len)?)?;
    Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Error> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Error> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Error::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one header of type `kind` that points at `path`.
    fn program(kind: u32, path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes[64 + 8] = 120;
        bytes[64 + 32] = path.len() as u8;
        bytes.extend(path);
        bytes
    }

    #[test]
    fn a_program_without_a_loader_is_static() {
        assert_eq!(check_static(&program(1, b"")), Ok(()));
    }

    #[test]
    fn a_program_with_a_loader_is_refused_by_its_name() {
        let refused = check_static(&program(PT_INTERP, b"/lib64/ld.so\0"));
        assert_eq!(refused, Err(Error::Dynamic("/lib64/ld.so".into())));
    }

    #[test]
    fn what_is_no_program_of_this_machine_is_refused() {
        let good = program(1, b"");
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            check_static(&bytes)
        };
        assert_eq!(check_static(b"#!/bin/sh\n"), Err(Error::NotElf));
        assert_eq!(changed(4, 1), Err(Error::NotElf), "32 bits");
        assert_eq!(changed(16, 1), Err(Error::NotAProgram));
        assert_eq!(changed(18, 183), Err(Error::OtherMachine), "aarch64");
        assert_eq!(changed(39, 0xFF), Err(Error::Truncated), "a table beyond the end");
        for kept in 6..64 + 4 {
            assert_eq!(check_static(&good[..kept]), Err(Error::Truncated), "{kept} bytes");
        }
    }
}
