//! What kind of program a file is. Only static programs for this architecture run; the rest are refused with a reason.

use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use sigma_abi::{Code, Error, Result};
use sigmaos::door::{NOTE_NAME, NOTE_TYPE};

/// Program headers of one program: Linux reads 64 KiB of them, of 56 bytes each, and executes no file that has more.
const MAX_SEGMENTS: u16 = ((64 << 10) / 56) as u16;

/// A program that can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// It links the SDK, and will say itself when it has started. Others have started when they are executed.
    pub(crate) sdk: bool,
}

/// # Errors
/// `Invalid`, saying what is wrong with the file and what to do.
pub(crate) fn inspect(file: &[u8]) -> Result<Program> {
    let refuse = |reason: String| Err(Error::new(Code::Invalid, reason));
    if !file.starts_with(b"\x7fELF") {
        return refuse(
            "not an ELF program: build a static binary, for example with --target x86_64-unknown-linux-musl"
                .into(),
        );
    }
    let truncated = |_| Error::new(Code::Invalid, "a truncated or damaged ELF file: upload it again");
    let header = FileHeader64::<Endianness>::parse(file).map_err(|_| {
        Error::new(Code::Invalid, "not a 64-bit ELF program, or a truncated one: build it for x86_64")
    })?;
    let endian = header.endian().map_err(truncated)?;
    let machine = header.e_machine(endian);
    if machine != EM_X86_64 {
        let name =
            if machine == EM_AARCH64 { "aarch64".to_owned() } else { format!("ELF machine {machine}") };
        return refuse(format!(
            "a program for {name}; this machine is x86_64: build it for x86_64-unknown-linux-musl"
        ));
    }
    // A program that is linked to run at any address has the type of a shared object.
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        return refuse("an ELF file that is no program, but an object file or a core dump: link it".into());
    }
    // Past 65,534 the number is somewhere else, where Linux does not look.
    if header.e_phnum(endian) > MAX_SEGMENTS {
        return refuse(format!(
            "a program with more than {MAX_SEGMENTS} program headers, the most that Linux executes"
        ));
    }
    let segments = header.program_headers(endian, file).map_err(truncated)?;
    if segments.is_empty() {
        return refuse("an ELF file without program segments: nothing of it would be loaded; link it".into());
    }
    if segments.iter().any(|segment| segment.data(endian, file).is_err()) {
        return refuse(
            "a truncated program: a segment reaches past the end of the file; upload it again".into(),
        );
    }
    let mut sdk = false;
    for segment in segments {
        match segment.p_type(endian) {
            PT_INTERP => {
                return refuse(
                    "a dynamic program: procs have no file system to load libraries from; link it statically, for \
                     example with --target x86_64-unknown-linux-musl or cc -static"
                        .into(),
                );
            }
            PT_NOTE => {
                let notes = segment.notes(endian, file).map_err(truncated)?;
                for note in notes.into_iter().flatten() {
                    let note = note.map_err(truncated)?;
                    sdk |= note.name() == NOTE_NAME.trim_ascii_end().strip_suffix(b"\0").unwrap_or(NOTE_NAME)
                        && note.n_type(endian).0 == NOTE_TYPE;
                }
            }
            _ => {}
        }
    }
    Ok(Program { sdk })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(file: &[u8], expect: &str) {
        let error = inspect(file).expect_err(expect);
        assert!(error.message.contains(expect), "{:?} does not say {expect:?}", error.message);
    }

    /// This test's own program is dynamic, which is what most wrong uploads are.
    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn what_cannot_run_is_refused_with_a_reason() {
        refused(b"", "not an ELF");
        refused(b"#!/bin/sh\n", "not an ELF");
        refused(b"\x7fELF\x02\x01\x01", "truncated");
        let program = own();
        refused(&program, "dynamic");
        let mut foreign = program.clone();
        foreign[18..20].copy_from_slice(&EM_AARCH64.0.to_le_bytes());
        refused(&foreign, "aarch64");
        for (kind, said) in
            [(0u16, "no program"), (1, "object file"), (4, "core dump"), (0xfe00, "no program")]
        {
            let mut other = program.clone();
            other[16..18].copy_from_slice(&kind.to_le_bytes());
            refused(&other, said);
        }
        let headers = |count: u16| {
            let mut many = program.clone();
            many[32..40].copy_from_slice(&(program.len() as u64).to_le_bytes());
            many[56..58].copy_from_slice(&count.to_le_bytes());
            // Headers of zeros say nothing.
            many.resize(program.len() + 56 * usize::from(count), 0);
            many
        };
        assert_eq!(inspect(&headers(1170)).map_err(|error| error.message), Ok(Program { sdk: false }));
        refused(&headers(1171), "more than 1170 program headers");
        refused(&headers(u16::MAX), "more than 1170 program headers");
        refused(&headers(0), "without program segments");
        refused(&program[..8192], "truncated");
        refused(&program[..100], "truncated");
    }
}
