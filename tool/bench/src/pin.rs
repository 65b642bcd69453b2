//! Cores: which there are, and who runs where. Procs may not choose their core, so they are pinned from outside.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the two sides of a connection run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// `one core`, `across cores`.
    pub name: &'static str,
    pub server: usize,
    pub client: usize,
}

/// Both sides on one core, and, where there are two, each on its own.
///
/// # Errors
/// Where the system does not say which cores there are.
pub fn placements() -> Result<Vec<Placement>> {
    let allowed = sched_getaffinity(None).context("which cores there are")?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    Ok(places(&cores))
}

fn places(cores: &[usize]) -> Vec<Placement> {
    let (Some(&first), Some(&last)) = (cores.first(), cores.last()) else { return Vec::new() };
    let one = Placement { name: "one core", server: last, client: last };
    let across = Placement { name: "across cores", server: first, client: last };
    if first == last { vec![one] } else { vec![one, across] }
}

/// Pins every thread that a process has now. Threads that it makes later inherit their maker's core.
///
/// # Errors
/// Where there is no such process, or it is another user's.
pub fn process(os_pid: u32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    let tasks = format!("/proc/{os_pid}/task");
    for task in std::fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
        let thread = task?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        sched_setaffinity(thread, &set).with_context(|| format!("pin process {os_pid} to core {core}"))?;
    }
    Ok(())
}

/// Pins the calling thread for as long as this lives.
#[derive(Debug)]
pub struct Pinned(CpuSet);

impl Pinned {
    /// # Errors
    /// Where the system refuses.
    pub fn here(core: usize) -> Result<Self> {
        let before = sched_getaffinity(None).context("which cores there are")?;
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).with_context(|| format!("pin this thread to core {core}"))?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // These cores were allowed before.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_core_there_is_one_way_to_place_two_sides() {
        let names = |cores: &[usize]| places(cores).iter().map(|place| place.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), Vec::<&str>::new());
        assert_eq!(names(&[3]), ["one core"]);
        assert_eq!(names(&[0, 1, 5]), ["one core", "across cores"]);
        let across = places(&[0, 1, 5])[1];
        assert_eq!((across.server, across.client), (0, 5));
    }

    #[test]
    fn a_thread_is_pinned_and_let_go() {
        let cores = || sched_getaffinity(None).unwrap();
        let before = cores();
        let core = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core)).unwrap();
        let pinned = Pinned::here(core).unwrap();
        assert_eq!((cores().count(), cores().is_set(core)), (1, true));
        drop(pinned);
        assert_eq!(cores(), before);
    }
}
