//! cgroup v1: the same tree in the hierarchies of cpu, memory and pids.

use super::tree::{self, Top};
use super::{LEAST_WEIGHED_MCPU, MAX_TASKS, Memory};
use sigma_abi::Class;
use std::fs::File;
use std::io;
use std::path::Path;

/// cpu.shares of a group that nothing sets, and of one core's worth of mcpu: v1 counts a default of 1024.
const SHARES: u64 = 1024;

/// The least and the most shares that the system takes.
const LEAST_SHARES: u64 = 2;
const MOST_SHARES: u64 = 262_144;

#[derive(Debug)]
pub(super) struct Hierarchies {
    cpu: Top,
    memory: Top,
    pids: Top,
}

impl Hierarchies {
    pub(super) fn open(root: &Path, name: &str, idle: bool, cores: u32) -> io::Result<Self> {
        let at = |controller: &str| {
            let hierarchy = root.join(controller);
            if !hierarchy.join("cgroup.procs").exists() {
                let text = format!("{} is not a cgroup hierarchy", hierarchy.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Ok(Top::new(&hierarchy, name))
        };
        let this = Self { cpu: at("cpu")?, memory: at("memory")?, pids: at("pids")? };
        this.clear();
        for top in this.all() {
            top.all().into_iter().try_for_each(tree::make)?;
            tree::make(&top.join("lc"))?;
        }
        for top in this.cpu.all() {
            tree::weigh(top, "cpu.shares", shares(cores.saturating_mul(1000)))?;
        }
        if !idle {
            return Ok(this);
        }
        if tree::write(&this.cpu.join("be"), "cpu.idle", 1).is_err() {
            // Before Linux 5.15 a group cannot be idle; the least weight comes closest.
            tree::write(&this.cpu.join("be"), "cpu.shares", LEAST_SHARES)?;
        }
        Ok(this)
    }

    fn all(&self) -> [&Top; 3] {
        [&self.cpu, &self.memory, &self.pids]
    }

    pub(super) fn make(&self, name: &Path, memory_bytes: u64) -> io::Result<()> {
        for hierarchy in self.all() {
            if let Some(realm) = name.parent() {
                tree::make(&hierarchy.join(realm))?;
            }
            tree::make(&hierarchy.join(name))?;
        }
        tree::write(&self.pids.join(name), "pids.max", MAX_TASKS)?;
        self.limit_memory(name, memory_bytes)
    }

    /// The files of tasks: a task that moves itself by them takes no lock that others fork and exit under.
    pub(super) fn entrances(&self, name: &Path) -> io::Result<Vec<File>> {
        self.all().into_iter().map(|hierarchy| tree::entrance(&hierarchy.join(name), "tasks")).collect()
    }

    pub(super) fn exists(&self, name: &Path) -> bool {
        self.cpu.join(name).exists()
    }

    /// Whether a group may be used again.
    pub(super) fn is_empty(&self, name: &Path, most_left_bytes: u64) -> bool {
        tree::number(&self.memory.join(name), "memory.usage_in_bytes")
            .is_some_and(|bytes| bytes <= most_left_bytes)
    }

    pub(super) fn limit(&self, name: &Path, class: Class, memory: Option<u64>) -> io::Result<()> {
        if let Some(bytes) = memory {
            self.limit_memory(name, bytes)?;
        }
        if let Class::Lc { mcpu } = class {
            tree::write(&self.cpu.join(name), "cpu.shares", shares(mcpu.max(LEAST_WEIGHED_MCPU)))?;
        }
        Ok(())
    }

    /// Moves what is in a group to another one, where CPU is counted alone: limits stay where they are.
    pub(super) fn serve(&self, from: &Path, to: &Path, slot: &Path) -> io::Result<()> {
        if !self.cpu.join(slot).exists() {
            return Ok(());
        }
        self.make_cpu(to)?;
        tree::move_all(&self.cpu.join(from), &self.cpu.join(to))
    }

    pub(super) fn processes(&self, name: &Path) -> Vec<u32> {
        tree::processes(&self.cpu.join(name))
    }

    /// Moves a kernel process to a group of its realm, which counts CPU alone.
    pub(super) fn take_in(&self, name: &Path, os_pid: u32) -> io::Result<()> {
        self.make_cpu(name)?;
        tree::write(&self.cpu.join(name), "cgroup.procs", os_pid)
    }

    /// Moves the kernel processes of a realm; where there are none, no group is made for them.
    pub(super) fn rank(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.cpu.join(from);
        if tree::processes(&from).is_empty() {
            return Ok(());
        }
        self.make_cpu(to)?;
        tree::move_all(&from, &self.cpu.join(to))
    }

    fn make_cpu(&self, name: &Path) -> io::Result<()> {
        if let Some(realm) = name.parent() {
            tree::make(&self.cpu.join(realm))?;
        }
        tree::make(&self.cpu.join(name))
    }

    /// The limit of memory, and of memory and swap together where that is counted: otherwise a proc would swap.
    fn limit_memory(&self, name: &Path, bytes: u64) -> io::Result<()> {
        let group = self.memory.join(name);
        let swap = "memory.memsw.limit_in_bytes";
        let counted = group.join(swap).exists();
        let current = tree::number(&group, "memory.limit_in_bytes").unwrap_or(u64::MAX);
        // The limit with swap may never be the lower one of the two, also not in between.
        if counted && bytes > current {
            tree::write(&group, swap, bytes)?;
        }
        tree::write(&group, "memory.limit_in_bytes", bytes)?;
        if counted && bytes <= current {
            tree::write(&group, swap, bytes)?;
        }
        Ok(())
    }

    pub(super) fn memory(&self, name: &Path) -> Option<Memory> {
        let group = self.memory.join(name);
        let killed = tree::field(&group, "memory.oom_control", "oom_kill")? > 0;
        // Where the group was used before, an earlier proc may have had a higher peak, under a higher limit.
        let limit = tree::number(&group, "memory.limit_in_bytes")?;
        Some(Memory { killed, peak_bytes: tree::number(&group, "memory.max_usage_in_bytes")?.min(limit) })
    }

    pub(super) fn remove(&self, name: &Path) {
        for hierarchy in self.all() {
            tree::remove(&hierarchy.join(name));
        }
    }

    pub(super) fn remove_all(&self, name: &Path) {
        for group in self.all().map(|hierarchy| hierarchy.join(name)).iter().filter(|group| group.exists()) {
            tree::remove_all(group);
        }
    }

    /// The top of the tree in each hierarchy.
    pub(super) fn tops(&self) -> Vec<&Top> {
        self.all().to_vec()
    }

    pub(super) fn clear(&self) {
        for group in self.all().into_iter().flat_map(Top::all).filter(|group| group.exists()) {
            tree::remove_all(group);
        }
    }
}

/// Weights are scaled into what the system takes, so that no reservation overflows.
fn shares(mcpu: u32) -> u64 {
    (u64::from(mcpu) * SHARES / 1000).clamp(LEAST_SHARES, MOST_SHARES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stay_within_what_the_system_takes() {
        assert_eq!(shares(1), LEAST_SHARES);
        assert_eq!(shares(1000), SHARES);
        assert_eq!(shares(u32::MAX), MOST_SHARES);
    }
}
