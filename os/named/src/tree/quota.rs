//! How much a tree may hold, and how much it does.

use sigma_abi::{Code, Error, Path, Result};

/// Entries of a tree unless the operator says otherwise.
pub const DEFAULT_ENTRIES: u64 = sigma_abi::limits::DEFAULT_ENTRIES;

/// Bytes of files and link targets of a tree unless the operator says otherwise.
pub const DEFAULT_BYTES: u64 = 256 << 20;

/// The most that a tree may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories, symlinks and mounts, without the root.
    pub entries: u64,
    /// Bytes of file contents, link targets, and the paths by which servers mounted.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: DEFAULT_ENTRIES, bytes: DEFAULT_BYTES }
    }
}

/// What a tree holds, removed but open files included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Quota {
    limits: Limits,
    usage: Usage,
}

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, usage: Usage::default() }
    }

    /// Of a tree that holds so much already.
    pub(super) fn counted(limits: Limits, entries: u64, bytes: u64) -> Self {
        Self { limits, usage: Usage { entries, bytes } }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Counts one more entry with so many bytes.
    pub(super) fn take_entry(&mut self, path: &Path, bytes: u64) -> Result<()> {
        if self.usage.entries >= self.limits.entries {
            let text = format!("{path}: the namespace holds {} entries, the most it may", self.usage.entries);
            return Err(Error::new(Code::Quota, text));
        }
        self.resize(path, 0, bytes)?;
        self.usage.entries += 1;
        Ok(())
    }

    /// Counts one more entry of the kernel's, which lays out a full realm too.
    pub(super) fn take_for_kernel(&mut self, bytes: u64) {
        self.usage.entries += 1;
        self.usage.bytes += bytes;
    }

    /// Counts what grows or shrinks from `old` to `new` bytes. Shrinking never fails.
    pub(super) fn resize(&mut self, what: impl std::fmt::Display, old: u64, new: u64) -> Result<()> {
        let bytes = self.usage.bytes - old + new;
        if new > old && bytes > self.limits.bytes {
            let text = format!(
                "{what}: the namespace would hold {bytes} bytes of files; it may hold {}",
                self.limits.bytes
            );
            return Err(Error::new(Code::Quota, text));
        }
        self.usage.bytes = bytes;
        Ok(())
    }

    pub(super) fn release(&mut self, entries: u64, bytes: u64) {
        self.usage.entries -= entries;
        self.usage.bytes -= bytes;
    }
}
