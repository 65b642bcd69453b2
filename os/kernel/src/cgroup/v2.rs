//! cgroup v2: one tree for all controllers.

use super::tree::{self, Top};
use super::{LEAST_WEIGHED_MCPU, MAX_TASKS, Memory};
use sigma_abi::Class;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The controllers that limits need.
const CONTROLLERS: &str = "+cpu +memory +pids";

/// The greatest CPU weight that the system takes.
const MOST_WEIGHT: u32 = 10_000;

#[derive(Debug)]
pub(super) struct Tree {
    top: Top,
}

impl Tree {
    pub(super) fn open(root: &Path, name: &str, idle: bool, cores: u32) -> io::Result<Self> {
        let offered = fs::read_to_string(root.join("cgroup.controllers"))?;
        let missing = ["cpu", "memory", "pids"]
            .into_iter()
            .find(|wanted| !offered.split_whitespace().any(|controller| controller == *wanted));
        if let Some(missing) = missing {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no {missing} controller")));
        }
        let this = Self { top: Top::new(root, name) };
        this.clear();
        tree::write(root, "cgroup.subtree_control", CONTROLLERS)?;
        let [main, best_effort] = this.top.all().map(ToOwned::to_owned);
        for group in [main, this.top.join("lc"), best_effort] {
            tree::make(&group)?;
            tree::write(&group, "cgroup.subtree_control", CONTROLLERS)?;
        }
        for top in this.top.all() {
            tree::weigh(top, "cpu.weight", weight(cores.saturating_mul(1000)))?;
        }
        if idle {
            tree::write(&this.top.join("be"), "cpu.idle", 1)?;
        }
        Ok(this)
    }

    pub(super) fn make(&self, name: &Path, memory_bytes: u64) -> io::Result<()> {
        self.make_limited(name, memory_bytes).map(drop)
    }

    pub(super) fn entrances(&self, name: &Path) -> io::Result<Vec<File>> {
        Ok(vec![tree::entrance(&self.top.join(name), "cgroup.procs")?])
    }

    pub(super) fn exists(&self, name: &Path) -> bool {
        self.top.join(name).exists()
    }

    /// Whether a group may be used again.
    pub(super) fn is_empty(&self, name: &Path, most_left_bytes: u64) -> bool {
        tree::number(&self.top.join(name), "memory.current").is_some_and(|bytes| bytes <= most_left_bytes)
    }

    /// Moves what is in a group to another one with the same limits. The memory that it has stays counted where it was, so
    /// that a proc may have up to its limit in each of the two; a lower limit could kill it for being moved.
    pub(super) fn serve(&self, from: &Path, to: &Path, slot: &Path, memory_bytes: u64) -> io::Result<()> {
        if !self.top.join(slot).exists() {
            return Ok(());
        }
        let to = self.make_limited(to, memory_bytes)?;
        tree::move_all(&self.top.join(from), &to)
    }

    pub(super) fn processes(&self, name: &Path) -> Vec<u32> {
        tree::processes(&self.top.join(name))
    }

    /// Moves a kernel process to a group of its realm, without limits.
    pub(super) fn take_in(&self, name: &Path, os_pid: u32) -> io::Result<()> {
        tree::write(&self.make_group(name)?, "cgroup.procs", os_pid)
    }

    /// Moves the kernel processes of a realm; where there are none, no group is made for them.
    pub(super) fn rank(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.top.join(from);
        if tree::processes(&from).is_empty() {
            return Ok(());
        }
        tree::move_all(&from, &self.make_group(to)?)
    }

    fn make_limited(&self, name: &Path, memory_bytes: u64) -> io::Result<PathBuf> {
        let group = self.make_group(name)?;
        tree::write(&group, "pids.max", MAX_TASKS)?;
        limit_memory(&group, memory_bytes)?;
        Ok(group)
    }

    /// Makes a group of a realm, and the realm's.
    fn make_group(&self, name: &Path) -> io::Result<PathBuf> {
        if let Some(realm) = name.parent() {
            let realm = self.top.join(realm);
            if !realm.exists() {
                tree::make(&realm)?;
                tree::write(&realm, "cgroup.subtree_control", CONTROLLERS)?;
            }
        }
        let group = self.top.join(name);
        tree::make(&group)?;
        Ok(group)
    }

    pub(super) fn limit(&self, name: &Path, class: Class, memory: Option<u64>) -> io::Result<()> {
        let group = self.top.join(name);
        if let Some(bytes) = memory {
            limit_memory(&group, bytes)?;
        }
        if let Class::Lc { mcpu } = class {
            tree::write(&group, "cpu.weight", weight(mcpu.max(LEAST_WEIGHED_MCPU)))?;
        }
        Ok(())
    }

    pub(super) fn memory(&self, name: &Path) -> Option<Memory> {
        let group = self.top.join(name);
        let killed = tree::field(&group, "memory.events", "oom_kill")? > 0;
        // Before Linux 5.19 nobody kept the peak; the limit is then the best that is known of a killed proc. Where the group
        // was used before, an earlier proc may have had a higher one, under a higher limit.
        let limit = tree::number(&group, "memory.max");
        let peak = tree::number(&group, "memory.peak").into_iter().chain(limit).min();
        Some(Memory { killed, peak_bytes: peak.unwrap_or(0) })
    }

    pub(super) fn remove(&self, name: &Path) {
        tree::remove(&self.top.join(name));
    }

    pub(super) fn remove_all(&self, name: &Path) {
        let group = self.top.join(name);
        if group.exists() {
            tree::remove_all(&group);
        }
    }

    /// The top of the tree.
    pub(super) fn tops(&self) -> Vec<&Top> {
        vec![&self.top]
    }

    pub(super) fn clear(&self) {
        for group in self.top.all().into_iter().filter(|group| group.exists()) {
            tree::remove_all(group);
        }
    }
}

fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    tree::write(group, "memory.max", bytes)?;
    if group.join("memory.swap.max").exists() {
        tree::write(group, "memory.swap.max", 0)?;
    }
    Ok(())
}

/// 100 is one core's worth, as a new group has; scaled into what the system takes, so that no reservation overflows.
fn weight(mcpu: u32) -> u32 {
    (mcpu / 10).clamp(1, MOST_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of plain files stands in for the real one, which this version cannot have everywhere.
    fn fake() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let tree = Tree::open(dir.path(), "sigmaos-test", true, 4).unwrap();
        (dir, tree)
    }

    #[test]
    fn be_is_idle_and_lc_is_not() {
        let (dir, _) = fake();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("sigmaos-test-be/cpu.idle"), "1");
        assert!(!dir.path().join("sigmaos-test/lc/cpu.idle").exists());
        assert_eq!(read("sigmaos-test/lc/cgroup.subtree_control"), CONTROLLERS);
    }

    #[test]
    fn without_idle_both_classes_weigh_the_same() {
        let (dir, _) = fake();
        Tree::open(dir.path(), "sigmaos-plain", false, 4).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("sigmaos-plain-be/cpu.idle")).unwrap(), "0");
        for top in ["sigmaos-plain", "sigmaos-plain-be"] {
            let weight = fs::read_to_string(dir.path().join(top).join("cpu.weight")).unwrap();
            assert_eq!(weight, "400", "on each of four cores what a process weighs");
        }
    }

    #[test]
    fn a_proc_gets_its_limits_and_its_end_is_read() {
        let (dir, tree) = fake();
        let name = Path::new("lc/shop/7");
        tree.make(name, 1 << 20).unwrap();
        tree.limit(name, Class::Lc { mcpu: 250 }, Some(2 << 20)).unwrap();
        let group = dir.path().join("sigmaos-test/lc/shop/7");
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        assert_eq!(read("memory.max"), "2097152");
        assert_eq!(read("cpu.weight"), "25");
        tree.limit(name, Class::Lc { mcpu: 10 }, None).unwrap();
        assert_eq!(read("cpu.weight"), "25", "what does little is not kept waiting");
        tree.limit(name, Class::Lc { mcpu: 700 }, None).unwrap();
        assert_eq!(read("cpu.weight"), "70");
        assert_eq!(tree.memory(name), None);
        fs::write(group.join("memory.events"), "low 0\noom 1\noom_kill 1\n").unwrap();
        fs::write(group.join("memory.peak"), "2097152\n").unwrap();
        assert_eq!(tree.memory(name), Some(Memory { killed: true, peak_bytes: 2 << 20 }));
    }

    #[test]
    fn an_lc_proc_is_moved_below_be_and_back() {
        let (dir, tree) = fake();
        let (own, idle) = (Path::new("lc/shop/7"), Path::new("be/shop/7"));
        tree.make(own, 1 << 20).unwrap();
        fs::write(dir.path().join("sigmaos-test/lc/shop/7/cgroup.procs"), "42").unwrap();
        tree.serve(own, idle, own, 1 << 20).unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(format!("sigmaos-test{file}"))).unwrap();
        assert_eq!(
            (read("-be/shop/7/cgroup.procs").as_str(), read("-be/shop/7/memory.max").as_str()),
            ("42", "1048576")
        );
        fs::write(dir.path().join("sigmaos-test/lc/shop/7/cgroup.procs"), "").unwrap();
        tree.serve(idle, own, own, 1 << 20).unwrap();
        assert_eq!(read("/lc/shop/7/cgroup.procs"), "42");
        // One that has ended is not made again.
        tree.serve(Path::new("lc/shop/8"), Path::new("be/shop/8"), Path::new("lc/shop/8"), 1).unwrap();
        assert!(!dir.path().join("sigmaos-test-be/shop/8").exists());
    }

    #[test]
    fn kernel_processes_are_served_as_lc_work_or_as_be_work() {
        let (dir, tree) = fake();
        let (lc, be) = (Path::new("lc/shop/kernel"), Path::new("be/shop/kernel"));
        tree.rank(lc, be).unwrap();
        assert!(!dir.path().join("sigmaos-test-be/shop").exists(), "there is nobody to move");
        tree.take_in(lc, 43).unwrap();
        tree.rank(lc, be).unwrap();
        assert_eq!(tree.processes(be), [43]);
    }

    #[test]
    fn a_kernel_process_counts_towards_its_realm() {
        let (dir, tree) = fake();
        tree.take_in(Path::new("lc/shop/kernel"), 43).unwrap();
        let group = dir.path().join("sigmaos-test/lc/shop/kernel");
        assert_eq!(fs::read_to_string(group.join("cgroup.procs")).unwrap(), "43");
        assert!(!group.join("memory.max").exists());
    }

    #[test]
    fn a_group_is_used_again_when_nothing_is_left_in_it() {
        let (dir, tree) = fake();
        let name = Path::new("be/shop/8");
        tree.make(name, 1 << 20).unwrap();
        let group = dir.path().join("sigmaos-test-be/shop/8");
        let write = |file: &str, text: &str| fs::write(group.join(file), text).unwrap();
        write("cgroup.procs", "");
        assert_eq!(tree.entrances(name).unwrap().len(), 1);
        let check = |bytes: &str, empty| {
            write("memory.current", bytes);
            assert_eq!(tree.is_empty(name, 4096), empty, "{bytes}");
        };
        check("4096\n", true);
        check("4097\n", false);
        // An earlier proc may have used more than the limit of this one.
        write("memory.events", "oom_kill 1\n");
        write("memory.peak", "9999999\n");
        assert_eq!(tree.memory(name), Some(Memory { killed: true, peak_bytes: 1 << 20 }));
    }

    #[test]
    fn a_tree_without_a_controller_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        assert_eq!(Tree::open(dir.path(), "x", true, 4).unwrap_err().to_string(), "no cpu controller");
    }
}
