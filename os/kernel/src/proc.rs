//! One proc, from its queue to its end.
//!
//! ```text
//!   Queued ──admit──▶ Starting ──started()/exec of a plain binary──▶ Running ──▶ Exited{Ok|Err|Killed|Crashed}
//!    ▲ └───────────────kill, cannot ever fit, machine lost─────────────┼───────────▲
//!    └──────────────────restart policy, after a pause──────────────────┘
//! ```
//!
//! Guarantees: within a life a phase never goes back; the first word on how a life ends counts; every exit has a cause; a
//! proc that has exited stays so.

pub(crate) mod life;
pub(crate) mod restart;
pub(crate) mod table;

use crate::binary::Binary;
use crate::cgroup::Slot;
use crate::elf::Program;
use crate::output::Stream;
use crate::output::shelf::{Shelf, Which};
use sigma_abi::{Cause, Pid, Principal, ProcSpec, Realm, Status, proto};
use sigmaos::wire::Connection;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::net::unix::pipe::Sender;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Where a proc is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    Queued,
    Starting,
    Running,
    Exited(Status),
}

/// A proc of a realm.
#[derive(Debug)]
pub(crate) struct Proc {
    pub(crate) pid: Pid,
    pub(crate) realm: Realm,
    pub(crate) parent: Option<Pid>,
    pub(crate) spec: ProcSpec,
    pub(crate) principal: Principal,
    /// What kind of program it is.
    pub(crate) program: Program,
    digest: String,
    pub(crate) wants_input: bool,
    pub(crate) phase: watch::Sender<Phase>,
    /// Somebody asked for its end.
    pub(crate) kill: watch::Sender<bool>,
    pub(crate) stdout: Arc<Stream>,
    pub(crate) stderr: Arc<Stream>,
    /// Where its output is kept.
    pub(crate) shelf: Arc<Shelf>,
    /// Held until the last output of a life has arrived that is not the last one.
    pub(crate) draining: Arc<tokio::sync::Mutex<()>>,
    /// How often it was started again: which life this is.
    pub(crate) restarts: AtomicU32,
    /// It has talked to named, which may hold mounts of it.
    pub(crate) known_to_named: AtomicBool,
    /// Its calls that wait for a child.
    pub(crate) waits: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) timing: Timing,
    /// How it says that it ends.
    pub(crate) said: Option<Status>,
    /// Why it could not be launched.
    pub(crate) not_started: Option<String>,
    /// It is killed for an LC proc: the cause.
    pub(crate) evicted: Option<Cause>,
    pub(crate) running: Option<Running>,
    /// Its program, held open until it has ended.
    pub(crate) binary: Option<Binary>,
    /// Kills when the grace period is over.
    pub(crate) killer: Option<AbortHandle>,
    /// Copies its output.
    pub(crate) tasks: JoinSet<()>,
    /// It has started in this life or one before.
    pub(crate) has_started: bool,
    /// Its input has ended; a later life gets none.
    pub(crate) input_ended: bool,
    /// Restarts in a row that have failed.
    pub(crate) row: u32,
    /// Between two lives: what it waits for.
    pub(crate) pause: Option<String>,
}

/// The process of a proc.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its id in the jail.
    pub(crate) process: i32,
    /// As the machine numbers it.
    pub(crate) os_pid: u32,
    pub(crate) door: Option<Connection>,
    pub(crate) slot: Option<Slot>,
    pub(crate) stdin: Option<Arc<tokio::sync::Mutex<Option<Sender>>>>,
    /// Closes when all is heard that was said on its door.
    pub(crate) heard: watch::Receiver<()>,
}

/// When each step of a start was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    spawned: Instant,
    spawned_ms: u64,
    pub(crate) admitted: Option<Instant>,
    pub(crate) binary: Option<Instant>,
    pub(crate) jail: Option<Instant>,
    pub(crate) launched: Option<Instant>,
    pub(crate) started: Option<Instant>,
    pub(crate) exited: Option<Instant>,
}

impl Default for Timing {
    fn default() -> Self {
        let spawned_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self {
            spawned: Instant::now(),
            spawned_ms,
            admitted: None,
            binary: None,
            jail: None,
            launched: None,
            started: None,
            exited: None,
        }
    }
}

impl Timing {
    /// The stamps of a proc that is to be started again.
    fn again(self) -> Self {
        Self { spawned: self.spawned, spawned_ms: self.spawned_ms, ..Self::default() }
    }

    fn to_proto(self) -> proto::Timing {
        let since = |at: Option<Instant>| at.map_or(0, |at| (at - self.spawned).as_micros().max(1) as u64);
        proto::Timing {
            spawned_ms: self.spawned_ms,
            admitted_us: since(self.admitted),
            binary_us: since(self.binary),
            jail_us: since(self.jail),
            launched_us: since(self.launched),
            started_us: since(self.started),
            exited_us: since(self.exited),
        }
    }
}

/// What is known of a proc when it is spawned.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) pid: Pid,
    pub(crate) realm: Realm,
    pub(crate) parent: Option<Pid>,
    pub(crate) spec: ProcSpec,
    pub(crate) principal: Principal,
    pub(crate) binary: Binary,
    /// The client that follows its output from the first byte on.
    pub(crate) follower: Option<u64>,
    pub(crate) input: bool,
    /// Where its output is kept.
    pub(crate) shelf: Arc<Shelf>,
    /// When the call came in.
    pub(crate) timing: Timing,
}

impl Proc {
    pub(crate) fn new(birth: Birth) -> Self {
        let Birth { pid, realm, parent, spec, principal, binary, follower, input, shelf, timing } = birth;
        let stream = |which| Arc::new(Stream::new(&shelf, pid, which, follower));
        Self {
            pid,
            realm,
            parent,
            spec,
            principal,
            program: binary.program,
            digest: binary.digest.clone(),
            wants_input: input,
            phase: watch::Sender::new(Phase::Queued),
            kill: watch::Sender::new(false),
            stdout: stream(Which::Stdout),
            stderr: stream(Which::Stderr),
            shelf,
            draining: Arc::default(),
            restarts: AtomicU32::new(0),
            known_to_named: AtomicBool::new(false),
            waits: AtomicUsize::new(0),
            inner: Mutex::new(Inner { timing, binary: Some(binary), ..Inner::default() }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to a later phase; false where it is already there or past it.
    pub(crate) fn advance(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let forward = rank(&to) > rank(phase);
            if forward {
                *phase = to;
            }
            forward
        })
    }

    /// It has started. Word of it that comes when its life has ended is too late: another may be about to begin.
    pub(crate) fn started(&self) {
        let starting = self.phase.send_if_modified(|phase| {
            let starting = matches!(phase, Phase::Starting);
            if starting {
                *phase = Phase::Running;
            }
            starting
        });
        if starting {
            let mut inner = self.lock();
            inner.timing.started = Some(Instant::now());
            inner.has_started = true;
        }
    }

    /// What is to become of it after a life that ended like this.
    pub(crate) fn judge(&self, status: Status) -> restart::Verdict {
        if *self.kill.borrow() {
            return restart::Verdict::End(status);
        }
        let inner = self.lock();
        let lasted = inner.timing.started.map(|started| started.elapsed());
        let life = restart::Life { status, lasted, row: inner.row, restarts: self.restarts() };
        restart::judge(self.spec.restart, life)
    }

    /// A life has ended, and another is to come: it waits for it, and has the stamps of its spawn alone.
    pub(crate) fn lay_down(&self, row: u32, pause: String) {
        {
            let mut inner = self.lock();
            inner.timing = inner.timing.again();
            (inner.row, inner.pause) = (row, Some(pause));
        }
        self.phase.send_if_modified(|phase| {
            let lives = !matches!(phase, Phase::Exited(_));
            if lives {
                *phase = Phase::Queued;
            }
            lives
        });
    }

    /// The pause is over; false where it has exited meanwhile.
    pub(crate) fn rise(&self) -> bool {
        self.lock().pause = None;
        let rises = !self.has_exited();
        if rises {
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
        rises
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether there is a process, or may be one at any moment.
    pub(crate) fn is_active(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Starting | Phase::Running)
    }

    pub(crate) fn streams(&self) -> [&Arc<Stream>; 2] {
        [&self.stdout, &self.stderr]
    }

    pub(crate) fn stream(&self, which: Which) -> &Arc<Stream> {
        match which {
            Which::Stdout => &self.stdout,
            Which::Stderr => &self.stderr,
        }
    }

    /// Its door, while it lives.
    pub(crate) fn door(&self) -> Option<Connection> {
        let door = self.lock().running.as_ref().and_then(|running| running.door.clone());
        door.filter(|door| door.closed().is_none())
    }

    /// Whether it holds what it reserved: it has left the queue, and has not ended.
    pub(crate) fn is_admitted(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Starting | Phase::Running)
    }

    pub(crate) fn has_exited(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Exited(_))
    }

    /// How it ended, from what it said, what it was told, and how its process ended.
    pub(crate) fn verdict(&self, end: End) -> Status {
        let mut inner = self.lock();
        let not_started = inner.not_started.take();
        let said = inner.said.take();
        let evicted = inner.evicted.take();
        drop(inner);
        let killed = *self.kill.borrow();
        match (not_started, said, end) {
            (Some(reason), ..) => Status::crashed(Cause::NotStarted(reason)),
            (_, _, End::OutOfMemory { limit_bytes, peak_bytes }) => {
                Status::crashed(Cause::OutOfMemory { limit_bytes, peak_bytes })
            }
            (_, Some(status), _) => status,
            (_, _, End::Signal(_)) if evicted.is_some() => {
                Status::Crashed { cause: evicted.unwrap_or(Cause::Signal(9)), message: String::new() }
            }
            (_, _, End::Lost(message)) => Status::Crashed { cause: Cause::Signal(9), message },
            (_, _, End::Signal(signal)) if killed => {
                Status::killed(format!("on request, by signal {signal}"))
            }
            (_, _, End::ExitCode(code)) if killed => {
                Status::killed(format!("on request, with exit code {code}"))
            }
            (_, _, End::ExitCode(0)) if !self.program.sdk => Status::ok(),
            (_, _, End::ExitCode(code)) => Status::crashed(Cause::ExitCode(code)),
            (_, _, End::Signal(signal)) => Status::crashed(Cause::Signal(signal)),
        }
    }

    pub(crate) fn info(&self, mut waiting_for: String) -> proto::ProcInfo {
        let (timing, has_started, os_pid) = {
            let inner = self.lock();
            if let Some(pause) = &inner.pause {
                waiting_for.clone_from(pause);
            }
            let os_pid = inner.running.as_ref().map_or(0, |running| running.os_pid);
            (inner.timing.to_proto(), inner.has_started, os_pid)
        };
        let (state, status) = match &*self.phase.borrow() {
            Phase::Queued => (proto::State::Queued, None),
            Phase::Starting => (proto::State::Starting, None),
            Phase::Running => (proto::State::Running, None),
            Phase::Exited(status) => (proto::State::Exited, Some(status.clone().into())),
        };
        proto::ProcInfo {
            pid: self.pid.to_string(),
            spec: Some(self.spec.clone().into()),
            state: state.into(),
            status,
            timing: Some(timing),
            parent: self.parent.map(|pid| pid.to_string()).unwrap_or_default(),
            waiting_for,
            served: String::new(),
            principal: self.principal.to_string(),
            restarts: self.restarts(),
            digest: self.digest.clone(),
            has_started,
            os_pid,
        }
    }

    /// How it ended, for its record, which has its spec already.
    pub(crate) fn end_info(&self, status: &Status) -> proto::ProcInfo {
        let ended = proto::ProcInfo {
            state: proto::State::Exited.into(),
            status: Some(status.clone().into()),
            ..self.info(String::new())
        };
        proto::ProcInfo { spec: None, parent: String::new(), ..ended }
    }

    pub(crate) fn caller(&self, machine: String) -> proto::Caller {
        proto::Caller {
            realm: self.realm.to_string(),
            principal: self.principal.to_string(),
            pid: self.pid.to_string(),
            class: self.spec.class.to_proto().into(),
            machine,
            kernel: false,
            generation: self.restarts().into(),
        }
    }

    pub(crate) fn meets_named(&self) {
        self.known_to_named.store(true, Ordering::Relaxed);
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    ExitCode(i32),
    Signal(i32),
    OutOfMemory {
        limit_bytes: u64,
        peak_bytes: u64,
    },
    /// Its jail ended, and it with it.
    Lost(String),
}

fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Queued => 0,
        Phase::Starting => 1,
        Phase::Running => 2,
        Phase::Exited(_) => 3,
    }
}
