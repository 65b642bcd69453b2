//! The control groups of procs: memory and task limits, CPU weights, and BE work that runs only when cores are idle.
//!
//! ```text
//! sigmaos-<machine>/lc/<realm>/<slot>    equal weights a realm; procs weighted by mcpu, of which each has some
//!                  /lc/<realm>/kernel    its named and proxies, weighted as one core
//! sigmaos-<machine>-be/<realm>/<slot>    cpu.idle; equal weights a realm
//!                     /<realm>/kernel    its named and proxies, while it has BE procs and no others
//! ```
//!
//! What the kernel does for a realm counts towards that realm: a realm that keeps its named busy takes CPU from its own
//! procs, and no more than an even share from other realms. It is idle while BE procs alone may wait for it: `crate::rank`
//! says when, and [`Cgroups::rank`] moves it.
//!
//! The two tops weigh a process for each core: the weight of a group is parted among the cores on which it has work.
//! But that of BE is idle: beside LC work, sigmad, tools, and whatever else runs. With `--sched-idle=off`, for experiments, it is not, and the two weigh the same.
//!
//! An LC proc that uses more than it reserved is moved below `be` for a while, and back: [`Cgroups::serve`].
//!
//! The same tree stands in each hierarchy of cgroup v1, and once in v2. Where neither can be written, procs run with
//! SCHED_IDLE and rlimits alone, and `sigma status` says so.

mod tree;
mod v1;
mod v2;

use sigma_abi::limits::DEFAULT_MEMORY;
use sigma_abi::{Class, MachineId, Realm, proto};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Tasks that one proc may have.
const MAX_TASKS: u32 = 512;

/// An LC proc weighs no less than one that reserved so much: one that does little would otherwise wait long for the little that it
/// does, for it is the weight that says how soon a thread that wakes up runs. One that uses more than it reserved is moved.
const LEAST_WEIGHED_MCPU: u32 = 250;

/// Groups of ended procs that are kept for the next ones, of a realm and class: making and removing one costs more than the
/// rest of a start.
const MAX_FREE: usize = 32;

/// A group in which more is still charged than this is not used again: what its proc left behind, as bytes in sockets, would
/// count towards the next one.
const MAX_LEFT_BYTES: u64 = 1 << 20;

/// The control groups of this machine.
#[derive(Debug)]
pub(crate) struct Cgroups {
    version: Version,
    slots: AtomicU64,
    /// Groups that are ready to be used again, by the name of their realm's group.
    free: Mutex<HashMap<PathBuf, Vec<Slot>>>,
    /// Everything is being removed: a group that were made now would stay behind.
    closed: RwLock<bool>,
    /// Held while a proc is moved between classes: one that ends meanwhile leaves no group behind.
    moving: Mutex<()>,
}

#[derive(Debug)]
enum Version {
    V1(v1::Hierarchies),
    V2(v2::Tree),
    /// Why there are none.
    Absent(String),
}

/// The control group of one proc. It is made ahead of need, with the default memory limit, or used again.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    name: PathBuf,
    memory_bytes: u64,
}

impl Slot {
    /// Where an LC proc is while it is served as BE.
    fn idle(&self) -> Option<PathBuf> {
        self.name.strip_prefix("lc").ok().map(|below| Path::new("be").join(below))
    }
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
    pub(crate) fn find(machine: MachineId, root: &Path, wanted: bool, idle: bool, cores: u32) -> Self {
        let name = format!("sigmaos-{machine}");
        let version = if wanted {
            v2::Tree::open(root, &name, idle, cores)
                .map(Version::V2)
                .or_else(|_| v1::Hierarchies::open(root, &name, idle, cores).map(Version::V1))
                .unwrap_or_else(|error| Version::Absent(error.to_string()))
        } else {
            Version::Absent("switched off by --insecure-without=cgroup".to_owned())
        };
        Self {
            version,
            slots: AtomicU64::new(0),
            free: Mutex::default(),
            closed: RwLock::default(),
            moving: Mutex::default(),
        }
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

    /// A group that an earlier proc of the realm and class left.
    pub(crate) fn reuse(&self, realm: &Realm, class: proto::Class) -> Option<Slot> {
        self.free().get_mut(&realm_group(realm, class))?.pop()
    }

    /// Makes a group for one proc of a realm. Slow: a fraction of a millisecond, and at times several.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn make(&self, realm: &Realm, class: proto::Class) -> io::Result<Slot> {
        let number = self.slots.fetch_add(1, Ordering::Relaxed);
        let name = realm_group(realm, class).join(number.to_string());
        let slot = Slot { name, memory_bytes: DEFAULT_MEMORY };
        let made = {
            let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
            match &self.version {
                Version::Absent(why) => return Err(io::Error::other(why.clone())),
                _ if *closed => return Err(io::Error::other("the kernel ends")),
                Version::V1(tree) => tree.make(&slot.name, slot.memory_bytes),
                Version::V2(tree) => tree.make(&slot.name, slot.memory_bytes),
            }
        };
        if made.is_err() {
            // What was made of it before the failure.
            self.remove(&slot);
        }
        made.map(|()| slot)
    }

    /// The files by which a process joins a group, one a hierarchy: it writes "0" to each.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn entrances(&self, slot: &Slot) -> io::Result<Vec<File>> {
        match &self.version {
            Version::V1(tree) => tree.entrances(&slot.name),
            Version::V2(tree) => tree.entrances(&slot.name),
            Version::Absent(_) => Ok(Vec::new()),
        }
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
            Version::V2(tree) => {
                // What an LC proc used while it was served as BE is counted there.
                let idle = slot.idle().and_then(|idle| tree.memory(&idle));
                let own = tree.memory(&slot.name)?;
                Some(idle.filter(|idle| idle.killed).unwrap_or(own))
            }
            Version::Absent(_) => None,
        }
    }

    /// Moves an LC proc to where BE procs are, or back. What `as_be` says when it is carried out counts, so that of several
    /// moves each may come last.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn serve(&self, slot: &Slot, as_be: impl Fn() -> bool) -> io::Result<()> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let Some(idle) = slot.idle().filter(|_| !*closed) else { return Ok(()) };
        let (from, to) = if as_be() { (&slot.name, &idle) } else { (&idle, &slot.name) };
        match &self.version {
            Version::V1(tree) => tree.serve(from, to, &slot.name),
            Version::V2(tree) => tree.serve(from, to, &slot.name, slot.memory_bytes),
            Version::Absent(_) => Ok(()),
        }
    }

    /// The processes of a proc, as this machine numbers them: where it is served as its class says, or else as BE.
    pub(crate) fn processes(&self, slot: &Slot) -> Vec<u32> {
        let read = |name: &Path| match &self.version {
            Version::V1(tree) => tree.processes(name),
            Version::V2(tree) => tree.processes(name),
            Version::Absent(_) => Vec::new(),
        };
        let mut processes = read(&slot.name);
        if let Some(idle) = slot.idle().filter(|_| processes.is_empty()) {
            processes = read(&idle);
        }
        processes
    }

    /// Counts a kernel process towards the realm that it serves, as LC work at first.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn take_in(&self, realm: &Realm, os_pid: u32) -> io::Result<()> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let name = kernel_group(realm, proto::Class::Lc);
        match &self.version {
            _ if *closed => Ok(()),
            Version::V1(tree) => tree.take_in(&name, os_pid),
            Version::V2(tree) => tree.take_in(&name, os_pid),
            Version::Absent(_) => Ok(()),
        }
    }

    /// Serves the kernel processes of a realm as work of this class from now on.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn rank(&self, realm: &Realm, class: proto::Class) -> io::Result<()> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let other = if class == proto::Class::Lc { proto::Class::Be } else { proto::Class::Lc };
        let (from, to) = (kernel_group(realm, other), kernel_group(realm, class));
        match &self.version {
            _ if *closed => Ok(()),
            Version::V1(tree) => tree.rank(&from, &to),
            Version::V2(tree) => tree.rank(&from, &to),
            Version::Absent(_) => Ok(()),
        }
    }

    /// Keeps the group of a proc that has ended for another one, where nothing of that proc is left in it. Gives it back where
    /// it is to be removed.
    pub(crate) fn recycle(&self, slot: Slot) -> Option<Slot> {
        // One that was served as BE for a while has a second group, which goes with it.
        let clean = match &self.version {
            _ if slot.idle().is_some_and(|idle| self.exists(&idle)) => false,
            Version::V1(tree) => tree.is_empty(&slot.name, MAX_LEFT_BYTES),
            Version::V2(tree) => tree.is_empty(&slot.name, MAX_LEFT_BYTES),
            Version::Absent(_) => false,
        };
        let mut free = self.free();
        let place = slot.name.parent().map(|realm| free.entry(realm.to_owned()).or_default());
        match place {
            Some(place) if clean && place.len() < MAX_FREE => place.push(slot),
            _ => return Some(slot),
        }
        None
    }

    fn exists(&self, name: &Path) -> bool {
        match &self.version {
            Version::V1(tree) => tree.exists(name),
            Version::V2(tree) => tree.exists(name),
            Version::Absent(_) => false,
        }
    }

    /// Removes the groups that a realm keeps for procs to come, in the background.
    pub(crate) fn shrink(self: &Arc<Self>, realm: &Realm) {
        let free: Vec<_> = {
            let mut all = self.free();
            [proto::Class::Be, proto::Class::Lc]
                .into_iter()
                .flat_map(|class| all.remove(&realm_group(realm, class)).unwrap_or_default())
                .collect()
        };
        if !free.is_empty() {
            let this = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || free.iter().for_each(|slot| this.remove(slot))));
        }
    }

    /// Removes the groups of a realm that is gone.
    fn forget(&self, realm: &Realm) {
        for class in [proto::Class::Be, proto::Class::Lc] {
            let name = realm_group(realm, class);
            self.free().remove(&name);
            match &self.version {
                Version::V1(tree) => tree.remove_all(&name),
                Version::V2(tree) => tree.remove_all(&name),
                Version::Absent(_) => {}
            }
        }
    }

    fn free(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<Slot>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the group of a proc that has ended. Slow: it waits for the last task to be out of it.
    pub(crate) fn remove(&self, slot: &Slot) {
        let remove = |name: &Path| match &self.version {
            Version::V1(tree) => tree.remove(name),
            Version::V2(tree) => tree.remove(name),
            Version::Absent(_) => {}
        };
        remove(&slot.name);
        if let Some(idle) = slot.idle() {
            let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
            remove(&idle);
        }
    }

    /// Removes the groups of a realm, whose procs have ended.
    ///
    /// # Errors
    /// Where processes are left in them, naming the group.
    pub(crate) fn remove_realm(&self, realm: &Realm) -> io::Result<()> {
        self.forget(realm);
        let groups = [proto::Class::Be, proto::Class::Lc].map(|class| realm_group(realm, class));
        let tops = match &self.version {
            Version::V1(tree) => tree.tops(),
            Version::V2(tree) => tree.tops(),
            Version::Absent(_) => return Ok(()),
        };
        let mut left = tops.iter().flat_map(|top| groups.iter().map(move |group| top.join(group)));
        match left.find(|group| group.exists()) {
            Some(group) => Err(io::Error::other(format!("processes are left in {}", group.display()))),
            None => Ok(()),
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

/// The group of a realm and class, below the top.
fn realm_group(realm: &Realm, class: proto::Class) -> PathBuf {
    Path::new(if class == proto::Class::Lc { "lc" } else { "be" }).join(realm.as_str())
}

/// The group of a realm's kernel processes, while they are served as this class.
fn kernel_group(realm: &Realm, class: proto::Class) -> PathBuf {
    realm_group(realm, class).join("kernel")
}
