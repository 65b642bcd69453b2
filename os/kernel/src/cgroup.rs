//! The control groups of procs: memory and task limits, CPU weights, and BE work that runs only when cores are idle.
//!
//! ```text
//! sigmaos-<machine>/lc/<realm>/<slot>    the greatest weight; equal weights a realm; procs weighted by mcpu
//!                  /be/<realm>/<slot>    cpu.idle; equal weights a realm
//! ```
//!
//! The same tree stands in each hierarchy of cgroup v1, and once in v2. Where neither can be written, procs run with
//! SCHED_IDLE and rlimits alone, and `sigma status` says so.

mod tree;
mod v1;
mod v2;

use sigma_abi::{Class, MachineId, Realm, proto};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Tasks that one proc may have.
const MAX_TASKS: u32 = 512;

/// CPU weight of LC as a whole beside BE as a whole, in the units of cgroup v2: the greatest there is.
const LC_WEIGHT: u32 = 10_000;

/// The control groups of this machine.
#[derive(Debug)]
pub(crate) struct Cgroups {
    version: Version,
    slots: AtomicU64,
    /// Everything is being removed: a group that were made now would stay behind.
    closed: RwLock<bool>,
}

#[derive(Debug)]
enum Version {
    V1(v1::Hierarchies),
    V2(v2::Tree),
    /// Why there are none.
    Absent(String),
}

/// The control group of one proc. It is made ahead of need, with the default memory limit.
#[derive(Debug)]
pub(crate) struct Slot {
    name: PathBuf,
    memory_bytes: u64,
}

/// What a proc's memory did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The limit killed a task.
    pub(crate) killed: bool,
    pub(crate) peak_bytes: u64,
}

impl Cgroups {
    /// Finds what this machine offers and removes what an earlier kernel of the same machine left.
    pub(crate) fn find(machine: MachineId, root: &Path, wanted: bool) -> Self {
        let name = format!("sigmaos-{machine}");
        let version = if wanted {
            v2::Tree::open(root, &name)
                .map(Version::V2)
                .or_else(|_| v1::Hierarchies::open(root, &name).map(Version::V1))
                .unwrap_or_else(|error| Version::Absent(error.to_string()))
        } else {
            Version::Absent("switched off by --insecure-without=cgroup".to_owned())
        };
        Self { version, slots: AtomicU64::new(0), closed: RwLock::default() }
    }

    /// Whether limits are enforced.
    pub(crate) fn on(&self) -> bool {
        !matches!(self.version, Version::Absent(_))
    }

    /// In words: the version, or why there is none.
    pub(crate) fn describe(&self) -> String {
        match &self.version {
            Version::V1(_) => "v1".to_owned(),
            Version::V2(_) => "v2".to_owned(),
            Version::Absent(why) => format!("none: {why}"),
        }
    }

    /// Makes a group for one proc of a realm and moves the process into it. `None` where there are no groups.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn make(
        &self,
        realm: &Realm,
        class: proto::Class,
        os_pid: u32,
        memory_bytes: u64,
    ) -> io::Result<Option<Slot>> {
        let number = self.slots.fetch_add(1, Ordering::Relaxed);
        let class = if class == proto::Class::Lc { "lc" } else { "be" };
        let name = Path::new(class).join(realm.as_str()).join(number.to_string());
        let slot = Slot { name, memory_bytes };
        let made = {
            let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
            match &self.version {
                Version::Absent(_) => return Ok(None),
                _ if *closed => return Err(io::Error::other("the kernel ends")),
                Version::V1(tree) => tree.make(&slot.name, os_pid, memory_bytes),
                Version::V2(tree) => tree.make(&slot.name, os_pid, memory_bytes),
            }
        };
        if made.is_err() {
            // What was made of it before the failure.
            self.remove(&slot);
        }
        made.map(|()| Some(slot))
    }

    /// Sets the limits of a proc before it runs.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn limit(&self, slot: &mut Slot, class: Class, memory_bytes: u64) -> io::Result<()> {
        let memory = (memory_bytes != slot.memory_bytes).then_some(memory_bytes);
        slot.memory_bytes = memory_bytes;
        match &self.version {
            Version::V1(tree) => tree.limit(&slot.name, class, memory),
            Version::V2(tree) => tree.limit(&slot.name, class, memory),
            Version::Absent(_) => Ok(()),
        }
    }

    /// What the memory of a proc did; `None` where nobody counts.
    pub(crate) fn memory(&self, slot: &Slot) -> Option<Memory> {
        match &self.version {
            Version::V1(tree) => tree.memory(&slot.name),
            Version::V2(tree) => tree.memory(&slot.name),
            Version::Absent(_) => None,
        }
    }

    /// Removes the group of a proc that has ended.
    pub(crate) fn remove(&self, slot: &Slot) {
        match &self.version {
            Version::V1(tree) => tree.remove(&slot.name),
            Version::V2(tree) => tree.remove(&slot.name),
            Version::Absent(_) => {}
        }
    }

    /// Removes everything, when the kernel ends.
    pub(crate) fn clear(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        match &self.version {
            Version::V1(tree) => tree.clear(),
            Version::V2(tree) => tree.clear(),
            Version::Absent(_) => {}
        }
    }
}
