//! The list: one line and one reason per system call. (A table; exempt from the limit on lines.)
//!
//! A call that is not here is EPERM. A line with conditions allows the call where one of its alternatives holds, and an
//! alternative holds where all its conditions do. Arguments that are pointers to structures cannot be looked into.

use crate::limits::EXEC_FD;
use seccompiler::{SeccompCmpArgLen as Width, SeccompCmpOp as Op};

/// Who may use a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Procs, and with them the jail and launchers.
    Proc,
    /// The jail, and launchers while they get ready: given up before a launcher waits for its launch.
    Launch,
}

/// One allowed system call.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: i64,
    /// As `SYS_read`.
    pub(crate) name: &'static str,
    pub(crate) args: Args,
    pub(crate) phase: Phase,
    pub(crate) reason: &'static str,
}

/// What the arguments must be.
#[derive(Debug)]
pub(crate) enum Args {
    Any,
    /// One of these alternatives, each with all of its conditions.
    When(&'static [&'static [Arg]]),
    /// The first argument is the caller's own pid. Known only in a launcher: its last filter checks it.
    OwnPid,
}

/// A condition on one argument.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) index: u8,
    pub(crate) width: Width,
    pub(crate) op: Op,
    pub(crate) value: u64,
}

/// An int, of which the kernel looks at 32 bits only.
const fn int(index: u8, value: i32) -> Arg {
    Arg { index, width: Width::Dword, op: Op::Eq, value: value as u32 as u64 }
}

/// The request of an ioctl, whose type differs between C libraries.
const fn request(number: i64) -> Arg {
    int(1, number as i32)
}

/// An int whose bits outside `free` are `value`.
const fn int_but(index: u8, free: i32, value: i32) -> Arg {
    Arg { index, width: Width::Dword, op: Op::MaskedEq(!free as u32 as u64), value: value as u32 as u64 }
}

/// An int in which none of `bits` is set.
const fn clear(index: u8, bits: i32) -> Arg {
    Arg { index, width: Width::Dword, op: Op::MaskedEq(bits as u32 as u64), value: 0 }
}

/// A word whose bits outside `free` are `value`.
const fn word_but(index: u8, free: i32, value: i32) -> Arg {
    Arg { index, width: Width::Qword, op: Op::MaskedEq(!(free as u32 as u64)), value: value as u32 as u64 }
}

const fn null(index: u8) -> Arg {
    Arg { index, width: Width::Qword, op: Op::Eq, value: 0 }
}

/// What every thread library asks of clone.
const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

/// What some of them add.
const THREAD_EXTRA: i32 = libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID
    | libc::CLONE_CHILD_SETTID
    | libc::CLONE_DETACHED;

/// How the jail clones a launcher.
pub(crate) const LAUNCHER: i32 = libc::CLONE_PIDFD | libc::SIGCHLD;

/// arch_prctl(2): set the base of thread-local storage.
const ARCH_SET_FS: i32 = 0x1002;

/// prctl(2): name a mapping.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Linux 6.16: whether a unix socket takes descriptors that its peer sends.
pub(crate) const SO_PASSRIGHTS: i32 = 83;

/// The timeouts of sockets under their 64-bit numbers, which C libraries use on x86-64.
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;

#[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
const NOFILE: i32 = libc::RLIMIT_NOFILE as i32;

const STREAM_FLAGS: i32 = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
const SOCKET: i32 = libc::SOL_SOCKET;
const TCP: i32 = libc::IPPROTO_TCP;

macro_rules! line {
    ($phase:ident, $name:ident, $reason:literal) => {
        line!(@ $phase, $name, Args::Any, $reason)
    };
    ($phase:ident, $name:ident (own_pid), $reason:literal) => {
        line!(@ $phase, $name, Args::OwnPid, $reason)
    };
    ($phase:ident, $name:ident $([$($arg:expr),+])+, $reason:literal) => {
        line!(@ $phase, $name, Args::When(&[$(&[$($arg),+]),+]), $reason)
    };
    (@ $phase:ident, $name:ident, $args:expr, $reason:literal) => {
        Line { number: libc::$name, name: stringify!($name), args: $args, phase: Phase::$phase, reason: $reason }
    };
}

#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    // Memory.
    line!(Proc, SYS_mmap, "allocators and stacks; procs have no file to map, and memfd_create is refused"),
    line!(Proc, SYS_munmap, "allocators give memory back"),
    line!(Proc, SYS_mremap, "realloc of large blocks"),
    line!(Proc, SYS_mprotect, "guard pages, relocation read-only"),
    line!(Proc, SYS_madvise, "allocators give pages back"),
    line!(Proc, SYS_brk, "the heap of musl and of glibc"),

    // Threads.
    line!(Proc, SYS_clone [word_but(0, THREAD_EXTRA, THREAD)], "threads; a process would escape accounting"),
    line!(Proc, SYS_futex, "every lock"),
    line!(Proc, SYS_set_tid_address, "start-up of a thread"),
    line!(Proc, SYS_rseq, "start-up of a thread in glibc; set_robust_list is refused, which it takes well"),
    line!(Proc, SYS_arch_prctl [int(0, ARCH_SET_FS)], "thread-local storage"),
    line!(Proc, SYS_sched_yield, "spinning locks, Go"),
    line!(Proc, SYS_sched_getaffinity, "how many threads to start"),
    line!(Proc, SYS_prctl [int(0, libc::PR_SET_NAME)] [int(0, PR_SET_VMA)], "names of threads and mappings"),
    line!(Proc, SYS_gettid, "locks that know their owner, logs"),
    line!(Proc, SYS_exit, "the end of a thread"),
    line!(Proc, SYS_exit_group, "the end of a proc"),

    // Signals, to oneself only: siblings share the uid and the pid namespace.
    line!(Proc, SYS_rt_sigaction, "handling SIGTERM; what runtimes install"),
    line!(Proc, SYS_rt_sigprocmask, "masks around thread creation"),
    line!(Proc, SYS_rt_sigreturn, "the end of a handler"),
    line!(Proc, SYS_rt_sigtimedwait, "sigwait in a thread of its own"),
    line!(Proc, SYS_sigaltstack, "stack overflow handlers"),
    line!(Proc, SYS_restart_syscall, "the kernel's own, after a stop"),
    line!(Proc, SYS_tgkill (own_pid), "abort in glibc, preemption in Go"),
    line!(Proc, SYS_tkill (own_pid), "abort in musl; names a thread, so only the first one of its own"),

    // Time.
    line!(Proc, SYS_clock_gettime, "where the clock is not mapped"),
    line!(Proc, SYS_clock_nanosleep, "sleep"),
    line!(Proc, SYS_nanosleep, "sleep"),

    // Who and where am I.
    line!(Proc, SYS_getpid, "logs, seeds, tgkill to oneself"),
    line!(Proc, SYS_getuid, "start-up of C libraries without auxv"),
    line!(Proc, SYS_geteuid, "as getuid"),
    line!(Proc, SYS_uname, "start-up of glibc; shows the container's name"),
    line!(Proc, SYS_getrandom, "hash maps, keys"),
    line!(Proc, SYS_prlimit64 [int(0, 0), null(2)] [int(0, 0), int(1, NOFILE)],
        "reading one's own limits; a launcher lowers this one, and nobody can raise it again"),

    // Descriptors that a proc has: pipes, its door, and sockets that the kernel handed over.
    line!(Proc, SYS_read, "input"),
    line!(Proc, SYS_write, "output"),
    line!(Proc, SYS_readv, "input in parts"),
    line!(Proc, SYS_writev, "output in parts; printf of musl"),
    line!(Proc, SYS_close, "giving a descriptor back"),
    line!(Proc, SYS_fstat, "how stdio buffers"),
    line!(Proc, SYS_newfstatat, "fstat of newer glibc; the root is empty"),
    line!(Proc, SYS_lseek, "stdio tries it; pipes answer ESPIPE"),
    line!(Proc, SYS_dup, "duplicates"),
    line!(Proc, SYS_dup2, "redirecting standard output"),
    line!(Proc, SYS_fcntl [int(1, libc::F_GETFD)] [int(1, libc::F_SETFD)] [int(1, libc::F_GETFL)]
        [int(1, libc::F_SETFL)] [int(1, libc::F_DUPFD)] [int(1, libc::F_DUPFD_CLOEXEC)],
        "flags and duplicates; no owners, leases, seals or pipe sizes"),
    line!(Proc, SYS_ioctl [request(libc::FIONBIO as i64)] [request(libc::FIONREAD as i64)]
        [request(libc::TCGETS as i64)] [request(libc::TIOCGWINSZ as i64)],
        "non-blocking sockets; is this a terminal?"),
    line!(Proc, SYS_pipe2, "wakers, self-pipes"),
    line!(Proc, SYS_eventfd2, "wakers"),
    line!(Proc, SYS_poll, "waiting, and start-up of Rust"),
    line!(Proc, SYS_ppoll, "waiting"),
    line!(Proc, SYS_pselect6, "select in glibc"),
    line!(Proc, SYS_epoll_create1, "event loops"),
    line!(Proc, SYS_epoll_ctl, "event loops"),
    line!(Proc, SYS_epoll_wait, "event loops in glibc"),
    line!(Proc, SYS_epoll_pwait, "event loops in musl and Go"),

    // Sockets: none can be made that leads anywhere. A TCP socket that was handed over must not become another one,
    // so connect, bind, listen, accept and the names of both ends are absent.
    line!(Proc, SYS_socketpair [int(0, libc::AF_UNIX), int_but(1, STREAM_FLAGS, libc::SOCK_STREAM)],
        "wakers; datagram sockets could be sent to a name"),
    line!(Proc, SYS_sendto [clear(3, libc::MSG_FASTOPEN), null(4)], "send, to where the socket is connected"),
    line!(Proc, SYS_recvfrom, "receiving"),
    line!(Proc, SYS_sendmsg [clear(2, libc::MSG_FASTOPEN)], "sending in parts; stream sockets ignore or refuse names"),
    line!(Proc, SYS_recvmsg, "receiving descriptors that the kernel dialled"),
    line!(Proc, SYS_shutdown, "the end of one direction"),
    line!(Proc, SYS_setsockopt [int(1, TCP), int(2, libc::TCP_NODELAY)] [int(1, SOCKET), int(2, libc::SO_KEEPALIVE)]
        [int(1, SOCKET), int(2, libc::SO_LINGER)] [int(1, SOCKET), int(2, SO_RCVTIMEO)]
        [int(1, SOCKET), int(2, SO_SNDTIMEO)],
        "latency and timeouts; other options reach into routing, buffers and other protocols"),
    line!(Proc, SYS_getsockopt [int(1, TCP), int(2, libc::TCP_NODELAY)] [int(1, SOCKET), int(2, libc::SO_ERROR)]
        [int(1, SOCKET), int(2, libc::SO_TYPE)] [int(1, SOCKET), int(2, libc::SO_DOMAIN)],
        "errors and kinds; SO_PEERNAME would be getpeername, SO_PEERPIDFD a handle on the kernel"),

    // From a launch to exec: left open so that the last filter can be installed ahead of the launch, since it costs more
    // than all of these together. None is of use to a proc.
    line!(Proc, SYS_landlock_add_rule, "a launcher allows its binary; a proc has no rule set"),
    line!(Proc, SYS_landlock_restrict_self, "a launcher binds itself; it could only take away more"),
    line!(Proc, SYS_sched_setscheduler [int(0, 0), int(1, libc::SCHED_IDLE)], "a launcher becomes idle; one way"),
    line!(Proc, SYS_execveat [int(0, EXEC_FD), int(4, libc::AT_EMPTY_PATH)],
        "a launcher becomes a proc; the number is above what a proc's descriptors can have, so it works once"),

    // The jail and its launchers.
    line!(Launch, SYS_clone [word_but(0, 0, LAUNCHER)], "the jail clones launchers"),
    line!(Launch, SYS_setsockopt [int(1, SOCKET), int(2, SO_PASSRIGHTS)], "doors take no descriptors from procs"),
    line!(Launch, SYS_wait4, "the jail reaps, with usage"),
    line!(Launch, SYS_kill, "the jail ends procs"),
    line!(Launch, SYS_dup3, "a launcher arranges its descriptors"),
    line!(Launch, SYS_close_range, "a launcher drops the jail's descriptors"),
    line!(Launch, SYS_setresuid, "a launcher takes on the uid of procs"),
    line!(Launch, SYS_setresgid, "a launcher takes on the gid of procs"),
    line!(Launch, SYS_capset, "a launcher drops what the jail kept"),
    line!(Launch, SYS_landlock_create_ruleset, "a launcher's rule set"),
    line!(Launch, SYS_seccomp, "the clone3 filter and the last filter"),
];
