//! What goes into the policy and what comes out.

use sigma_abi::{Class, Error, Pid, Realm};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A proc was spawned. A pid that is already known is left as it is.
    Queued {
        pid: Pid,
        realm: Realm,
        class: Class,
        memory_bytes: u64,
    },
    /// A proc ended, was killed, or is no longer wanted, running or queued. An unknown pid is no news.
    Ended {
        pid: Pid,
    },
    /// A running BE proc waits for a child of its own, and holds no place until it does so no more.
    Blocked {
        pid: Pid,
    },
    Unblocked {
        pid: Pid,
    },
    /// What a realm may have from now on. It kills nothing: a realm that holds more starts no more until it holds less.
    Limits {
        realm: Realm,
        limits: RealmLimits,
    },
    /// Whether the machine itself is short of memory. While it is, no BE proc starts.
    MemoryShort {
        short: bool,
    },
    /// So much CPU was idle since the last measurement, in thousandths of a core. About every 100 ms.
    Idle {
        mcpu: u32,
    },
    /// What CPU was idle, in thousandths of a core, and what running LC procs used, in microseconds, over a span of time.
    Used {
        span_us: u64,
        idle_mcpu: u32,
        procs: Vec<(Pid, u64)>,
    },
}

/// What to do about it, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Start {
        pid: Pid,
    },
    /// The proc is not queued: `TooLarge` where it can never run here, `Quota` where its realm may not have it.
    Refuse {
        pid: Pid,
        reason: Error,
    },
    /// Kill a BE proc at once, since an LC proc needs its memory or its place.
    Evict {
        pid: Pid,
        for_pid: Pid,
    },
    /// Serve an LC proc as BE: it uses more than it reserved while others wait for a core.
    Demote {
        pid: Pid,
    },
    /// Serve it as LC again.
    Restore {
        pid: Pid,
    },
}

/// What a realm may have on this machine; `None`: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealmLimits {
    /// Procs, queued and running. One more is refused.
    pub procs: Option<u64>,
    /// Thousandths of cores that its running LC procs reserve. What asks for more alone is refused, what only goes beyond it
    /// together with what runs waits.
    pub mcpu: Option<u64>,
    /// The memory limits of its running procs in sum, in bytes, as `mcpu`.
    pub memory_bytes: Option<u64>,
}

/// What runs and what waits, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub lc_queued: usize,
    pub be_queued: usize,
    pub lc_running: u64,
    /// Of these, those that are served as BE.
    pub lc_demoted: u64,
    pub be_running: u64,
    /// Of these, those that wait for a child of theirs.
    pub be_blocked: u64,
    /// Thousandths of cores that LC procs have reserved.
    pub reserved_mcpu: u64,
    /// Memory of all running procs, LC and BE.
    pub memory_bytes: u64,
}
