//! The resources of one machine: what there is, what is held, what is free.

use crate::proc::Run;
use sigma_abi::{Class, Code, Error, Result};

/// Memory that procs never get: sigmad, named, the proxies and the page tables behind them live in it.
pub const KERNEL_RESERVE_BYTES: u64 = 256 << 20;

/// BE procs that run at once beyond the cores, as a part of the cores in percent, rounded up: enough to cover for
/// procs that block for a moment, too few to thrash.
pub const BE_OVERSUBSCRIPTION_PERCENT: u64 = 25;

/// What a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub cores: u32,
    /// All of its memory; [`KERNEL_RESERVE_BYTES`] of it are not for procs.
    pub memory_bytes: u64,
    /// Procs that may run at once: its descriptors allow no more.
    pub procs: u64,
}

impl Machine {
    /// Thousandths of cores that LC procs may reserve.
    pub fn mcpu(self) -> u64 {
        u64::from(self.cores) * 1000
    }

    /// Memory that procs may hold, in bytes.
    pub fn proc_memory_bytes(self) -> u64 {
        self.memory_bytes.saturating_sub(KERNEL_RESERVE_BYTES)
    }

    /// Places for BE procs without any measurement of idle CPU.
    pub fn be_baseline(self) -> u64 {
        let cores = u64::from(self.cores);
        cores + (cores * BE_OVERSUBSCRIPTION_PERCENT).div_ceil(100)
    }

    /// Whether a proc fits on the machine when nothing else runs. The kernel asks at spawn.
    ///
    /// # Errors
    /// `TooLarge`, with what is asked for and what there is.
    pub fn check(self, class: Class, memory_bytes: u64) -> Result<()> {
        let refuse = |text| Err(Error::new(Code::TooLarge, text));
        if u64::from(class.mcpu()) > self.mcpu() {
            return refuse(format!("asks for {} mcpu; this machine has {}", class.mcpu(), self.mcpu()));
        }
        if memory_bytes > self.proc_memory_bytes() {
            return refuse(format!(
                "asks for {} of memory; this machine has {} for procs",
                Mib(memory_bytes),
                Mib(self.proc_memory_bytes())
            ));
        }
        Ok(())
    }
}

/// Resources that a proc needs, or that somebody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) mcpu: u64,
    pub(crate) memory_bytes: u64,
}

impl Need {
    pub(crate) fn of(class: Class, memory_bytes: u64) -> Self {
        Self { mcpu: class.mcpu().into(), memory_bytes }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.mcpu += other.mcpu;
        self.memory_bytes += other.memory_bytes;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.mcpu -= other.mcpu;
        self.memory_bytes -= other.memory_bytes;
    }

    /// What is left of this when `held` is taken; nothing of what more is held of.
    pub(crate) fn left_of(self, held: Self) -> Self {
        Self {
            mcpu: self.mcpu.saturating_sub(held.mcpu),
            memory_bytes: self.memory_bytes.saturating_sub(held.memory_bytes),
        }
    }

    /// What of this there is too little of in `room`.
    pub(crate) fn short_in(self, room: Self) -> Short {
        Short { mcpu: self.mcpu > room.mcpu, memory: self.memory_bytes > room.memory_bytes }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        let memory_bytes = self.memory_bytes.min(other.memory_bytes);
        Self { mcpu: self.mcpu.min(other.mcpu), memory_bytes }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        let memory_bytes = self.memory_bytes.max(other.memory_bytes);
        Self { mcpu: self.mcpu.max(other.mcpu), memory_bytes }
    }

    /// What is held and `more`; 0 of what nothing is held of.
    pub(crate) fn sum_where_any(self, more: Self) -> Self {
        let sum = |held, more| if held == 0 { 0 } else { held + more };
        Self { mcpu: sum(self.mcpu, more.mcpu), memory_bytes: sum(self.memory_bytes, more.memory_bytes) }
    }
}

/// Which resources are short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) mcpu: bool,
    pub(crate) memory: bool,
}

impl Short {
    pub(crate) fn any(self) -> bool {
        self.mcpu || self.memory
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self { mcpu: self.mcpu || other.mcpu, memory: self.memory || other.memory }
    }
}

/// What runs on the machine, in sums.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) machine: Machine,
    pub(crate) held: Need,
    pub(crate) lc_running: u64,
    /// Of these, those that are served as BE.
    pub(crate) lc_demoted: u64,
    pub(crate) be_running: u64,
    /// Of these, those that hold no place.
    pub(crate) be_blocked: u64,
    /// What BE procs hold that can be killed for LC procs.
    pub(crate) evictable: Need,
    /// What BE procs hold that are being killed, and how many these are.
    pub(crate) evicting: Need,
    pub(crate) evicting_procs: u64,
}

impl Book {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            held: Need::default(),
            lc_running: 0,
            lc_demoted: 0,
            be_running: 0,
            be_blocked: 0,
            evictable: Need::default(),
            evicting: Need::default(),
            evicting_procs: 0,
        }
    }

    pub(crate) fn total(&self) -> Need {
        Need { mcpu: self.machine.mcpu(), memory_bytes: self.machine.proc_memory_bytes() }
    }

    pub(crate) fn free(&self) -> Need {
        self.total().left_of(self.held)
    }

    /// What is short for a proc to start now.
    pub(crate) fn short_for(&self, need: Need) -> Short {
        need.short_in(self.free())
    }

    /// Whether one more proc may run.
    pub(crate) fn has_place(&self) -> bool {
        self.has_places(1)
    }

    /// Whether so many more procs may run.
    pub(crate) fn has_places(&self, more: u64) -> bool {
        self.lc_running + self.be_running + more <= self.machine.procs
    }

    /// Places that BE procs hold.
    pub(crate) fn be_places(&self) -> u64 {
        self.be_running - self.be_blocked
    }

    pub(crate) fn take(&mut self, class: Class, need: Need) {
        debug_assert!(self.has_place() && !self.short_for(need).any(), "the book is never over-committed");
        self.held.add(need);
        if class.is_lc() {
            self.lc_running += 1;
        } else {
            self.be_running += 1;
            self.evictable.add(need);
        }
    }

    pub(crate) fn give_back(&mut self, class: Class, need: Need, run: &Run) {
        self.held.subtract(need);
        if class.is_lc() {
            self.lc_running -= 1;
            self.lc_demoted -= u64::from(run.usage.demoted);
            return;
        }
        self.be_running -= 1;
        self.be_blocked -= u64::from(run.blocked);
        if run.evicted {
            self.evicting.subtract(need);
            self.evicting_procs -= 1;
        } else {
            self.evictable.subtract(need);
        }
    }
}

/// Bytes as people read them.
pub(crate) struct Mib(pub(crate) u64);

impl std::fmt::Display for Mib {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}
