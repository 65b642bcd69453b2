//! A plain proc that tries everything that a proc must not do, one thing at a time.
//!
//! It prints `name: refused (EPERM)` or `name: ALLOWED (…)` for each and exits with the number of those allowed. An
//! error other than EPERM (or the ENOSYS that clone3 answers with, or the EMFILE/EBADF of a limit) means that the call
//! reached the kernel, and counts as allowed. With the argument `socket` it first takes a connected socket from its
//! door, as if the kernel had dialled for it, and tries to make another connection of it.
//!
//! It runs as a proc alone, and what it tries would harm nothing where it were allowed: it names no file that exists, but
//! to read it.

// Every attempt is a bare system call: that is the point.
#![allow(unsafe_code)]

use libc::*;

struct Attempts {
    allowed: i32,
}

impl Attempts {
    /// Reports the attempt of a call that returned `result`.
    fn tried(&mut self, name: &str, result: c_long) {
        self.tried_but(name, result, EPERM);
    }

    /// As [`Self::tried`], where being refused shows as `errno`.
    fn tried_but(&mut self, name: &str, result: c_long, errno: c_int) {
        let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if result == -1 && error == errno {
            let text = match errno {
                EPERM => "EPERM".to_owned(),
                ENOSYS => "ENOSYS".to_owned(),
                other => format!("errno {other}"),
            };
            println!("{name}: refused ({text})");
        } else {
            self.allowed += 1;
            let text = if result == -1 { format!("errno {error}") } else { format!("returned {result}") };
            println!("{name}: ALLOWED ({text})");
        }
    }
}

/// `try_calls!(attempts; "name" => SYS_x(args…); …)`
macro_rules! try_calls {
    ($attempts:expr; $($name:literal => $number:ident($($arg:expr),*);)*) => {
        $(
            // SAFETY: the call is refused; were it allowed, its arguments are numbers, null, or valid for its duration.
            let result = unsafe { syscall($number $(, $arg)*) };
            $attempts.tried($name, result);
        )*
    };
}

const NULL: usize = 0;
const SELF_PIDFD: c_long = -1;

fn main() {
    if !has_a_door() {
        eprintln!("hostile tries to break out of its sandbox: run it as a proc, with 'sigma run hostile'");
        std::process::exit(125);
    }
    let mut attempts = Attempts { allowed: 0 };
    let socket = if std::env::args().nth(1).as_deref() == Some("socket") { take_socket() } else { 3 };
    files(&mut attempts);
    sockets(&mut attempts, socket);
    processes(&mut attempts);
    privileges(&mut attempts);
    kernel(&mut attempts);
    arguments(&mut attempts, socket);
    smuggle(&mut attempts);
    std::process::exit(attempts.allowed);
}

/// Whether descriptor 3 is a socket, as in every proc.
fn has_a_door() -> bool {
    let (mut kind, mut length) = (0i32, 4 as socklen_t);
    // SAFETY: both are valid places, and the length is that of an int.
    unsafe { syscall(SYS_getsockopt, 3, SOL_SOCKET, SO_TYPE, &raw mut kind, &raw mut length) == 0 }
}

fn files(attempts: &mut Attempts) {
    let (passwd, memory) = (c"/etc/passwd".as_ptr(), c"/proc/self/mem".as_ptr());
    let nowhere = c"/nowhere/x".as_ptr();
    try_calls! { attempts;
        "open /etc/passwd" => SYS_open(passwd, O_RDONLY);
        "openat /etc/passwd" => SYS_openat(AT_FDCWD, passwd, O_RDONLY);
        "openat /proc/self/mem" => SYS_openat(AT_FDCWD, memory, O_RDWR);
        "openat2" => SYS_openat2(AT_FDCWD, passwd, NULL, NULL);
        "creat" => SYS_creat(nowhere, 0o600);
        "mkdir" => SYS_mkdir(nowhere, 0o700);
        "symlink" => SYS_symlink(passwd, nowhere);
        "unlink" => SYS_unlink(nowhere);
        "chmod" => SYS_chmod(nowhere, 0o777);
        "mknod" => SYS_mknod(nowhere, S_IFCHR | 0o600, 0x103);
        "memfd_create" => SYS_memfd_create(c"x".as_ptr(), 0);
        "memfd_secret" => SYS_memfd_secret(0);
        "name_to_handle_at" => SYS_name_to_handle_at(AT_FDCWD, c"/".as_ptr(), NULL, NULL, 0);
        "open_by_handle_at" => SYS_open_by_handle_at(AT_FDCWD, NULL, O_RDONLY);
        "inotify_init1" => SYS_inotify_init1(0);
        "fanotify_init" => SYS_fanotify_init(0, 0);
    }
}

fn sockets(attempts: &mut Attempts, socket: c_int) {
    // An address of family AF_UNSPEC: connecting to it would take a connected socket apart.
    let unspec = [0u8; 16];
    let mut name = [0u8; 128];
    let mut length = 128 as socklen_t;
    try_calls! { attempts;
        "socket inet" => SYS_socket(AF_INET, SOCK_STREAM, 0);
        "socket unix" => SYS_socket(AF_UNIX, SOCK_STREAM, 0);
        "socket netlink" => SYS_socket(AF_NETLINK, SOCK_RAW, 0);
        "socket vsock" => SYS_socket(AF_VSOCK, SOCK_STREAM, 0);
        "socket alg" => SYS_socket(AF_ALG, SOCK_SEQPACKET, 0);
        "connect AF_UNSPEC" => SYS_connect(socket, unspec.as_ptr(), 16);
        "bind" => SYS_bind(socket, unspec.as_ptr(), 16);
        "listen" => SYS_listen(socket, 1);
        "accept" => SYS_accept(socket, NULL, NULL);
        "accept4" => SYS_accept4(socket, NULL, NULL, 0);
        "getsockname" => SYS_getsockname(socket, name.as_mut_ptr(), &raw mut length);
        "getpeername" => SYS_getpeername(socket, name.as_mut_ptr(), &raw mut length);
        "sendto with an address" => SYS_sendto(socket, c"x".as_ptr(), 0, 0, unspec.as_ptr(), 16);
        "sendto MSG_FASTOPEN" => SYS_sendto(socket, c"x".as_ptr(), 0, MSG_FASTOPEN, NULL, 0);
        "sendmsg MSG_FASTOPEN" => SYS_sendmsg(socket, NULL, MSG_FASTOPEN);
        "sendmmsg" => SYS_sendmmsg(socket, NULL, 0, 0);
        "recvmmsg" => SYS_recvmmsg(socket, NULL, 0, 0, NULL);
        "socketpair datagram" => SYS_socketpair(AF_UNIX, SOCK_DGRAM, 0, name.as_mut_ptr());
        "socketpair inet" => SYS_socketpair(AF_INET, SOCK_STREAM, 0, name.as_mut_ptr());
    }
}

fn processes(attempts: &mut Attempts) {
    let empty = c"".as_ptr();
    // SAFETY: takes nothing.
    let me = c_long::from(unsafe { getpid() });
    let mut clone_args = [0u64; 11];
    clone_args[4] = SIGCHLD as u64;
    try_calls! { attempts;
        "ptrace traceme" => SYS_ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        "ptrace attach" => SYS_ptrace(PTRACE_SEIZE, 1, NULL, NULL);
        "process_vm_readv" => SYS_process_vm_readv(1, NULL, 0, NULL, 0, 0);
        "process_vm_writev" => SYS_process_vm_writev(1, NULL, 0, NULL, 0, 0);
        "process_madvise" => SYS_process_madvise(SELF_PIDFD, NULL, 0, 0, 0);
        "kill everybody" => SYS_kill(-1, 0);
        "kill 1" => SYS_kill(1, 0);
        "kill itself" => SYS_kill(me, 0);
        "tgkill another" => SYS_tgkill(1, 1, 0);
        "tkill another" => SYS_tkill(1, 0);
        "rt_sigqueueinfo" => SYS_rt_sigqueueinfo(1, 0, NULL);
        "rt_tgsigqueueinfo" => SYS_rt_tgsigqueueinfo(1, 1, 0, NULL);
        "pidfd_open" => SYS_pidfd_open(1, 0);
        "pidfd_getfd" => SYS_pidfd_getfd(SELF_PIDFD, 0, 0);
        "pidfd_send_signal" => SYS_pidfd_send_signal(SELF_PIDFD, 0, NULL, 0);
        "kcmp" => SYS_kcmp(1, 1, 0, 0, 0);
        "wait4" => SYS_wait4(-1, NULL, WNOHANG, NULL);
        "execve" => SYS_execve(c"/nowhere/sh".as_ptr(), NULL, NULL);
        "execveat of standard input" => SYS_execveat(0, empty, NULL, NULL, AT_EMPTY_PATH);
        "execveat of a path" => SYS_execveat(AT_FDCWD, c"/nowhere/sh".as_ptr(), NULL, NULL, 0);
    }
    // Siblings have the numbers that follow the jail's.
    for sibling in (2..40).filter(|sibling| *sibling != me) {
        try_calls! { attempts;
            "tgkill a sibling" => SYS_tgkill(sibling, sibling, 0);
            "ptrace a sibling" => SYS_ptrace(PTRACE_SEIZE, sibling, NULL, NULL);
            "process_vm_readv of a sibling" => SYS_process_vm_readv(sibling, NULL, 0, NULL, 0, 0);
            "pidfd_open of a sibling" => SYS_pidfd_open(sibling, 0);
        }
    }
    // The one number that the filter lets through is closed by exec and beyond the limit of descriptors.
    // SAFETY: as in try_calls.
    let again = unsafe { syscall(SYS_execveat, 1000, empty, NULL, NULL, AT_EMPTY_PATH) };
    attempts.tried_but("execveat again", again, EBADF);
    // SAFETY: duplicates a descriptor; nothing is replaced that anybody uses.
    let above = unsafe { syscall(SYS_dup2, 0, 1000) };
    attempts.tried_but("dup2 to the number that may be executed", above, EBADF);
    // SAFETY: as above.
    let above = unsafe { syscall(SYS_fcntl, 0, F_DUPFD, 1000) };
    attempts.tried_but("fcntl to the number that may be executed", above, EINVAL);
    fork_with(attempts, "fork", || {
        // SAFETY: the child, if there is one, exits at once.
        unsafe { syscall(SYS_fork) }
    });
    fork_with(attempts, "clone as a process", || {
        // SAFETY: as above.
        unsafe { syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) }
    });
    fork_with(attempts, "clone as the jail does", || {
        let mut pidfd = 0i32;
        // SAFETY: as above.
        unsafe { syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &raw mut pidfd, NULL, NULL) }
    });
    fork_with(attempts, "clone in a user namespace", || {
        // SAFETY: as above.
        unsafe { syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) }
    });
    // vfork would share this stack with its child, so it is tried as the clone that it is.
    fork_with(attempts, "clone as vfork", || {
        // SAFETY: as above; without CLONE_VM nothing is shared.
        unsafe { syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) }
    });
    // SAFETY: the structure is as long as said; a child exits at once.
    let result = unsafe { syscall(SYS_clone3, clone_args.as_ptr(), size_of_val(&clone_args)) };
    exit_child(result);
    attempts.tried_but("clone3 as a process", result, ENOSYS);
}

fn fork_with(attempts: &mut Attempts, name: &str, call: impl FnOnce() -> c_long) {
    let result = call();
    exit_child(result);
    attempts.tried(name, result);
}

fn exit_child(result: c_long) {
    if result == 0 {
        // SAFETY: ends the child.
        unsafe { _exit(0) }
    }
}

fn privileges(attempts: &mut Attempts) {
    let mut header = [0x2008_0522u32, 0];
    let sets = [u32::MAX; 6];
    let limit = [4096u64, 4096];
    let priority = 0i32;
    try_calls! { attempts;
        "setuid 0" => SYS_setuid(0);
        "setgid 0" => SYS_setgid(0);
        "setresuid 0" => SYS_setresuid(0, 0, 0);
        "setresgid 0" => SYS_setresgid(0, 0, 0);
        "setgroups" => SYS_setgroups(0, NULL);
        "setfsuid" => SYS_setfsuid(0);
        "capset" => SYS_capset(header.as_mut_ptr(), sets.as_ptr());
        "prctl keepcaps" => SYS_prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
        "prctl ambient" => SYS_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0);
        "prctl dumpable" => SYS_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        "prctl ptracer" => SYS_prctl(PR_SET_PTRACER, 1, 0, 0, 0);
        "prctl subreaper" => SYS_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        "prctl mm" => SYS_prctl(PR_SET_MM, 1, 0, 0, 0);
        "seccomp" => SYS_seccomp(SECCOMP_SET_MODE_FILTER, 0, NULL);
        "landlock_create_ruleset" => SYS_landlock_create_ruleset(NULL, 0, 1);
        "prlimit raising descriptors" => SYS_prlimit64(0, RLIMIT_NOFILE, limit.as_ptr(), NULL);
        "prlimit of another" => SYS_prlimit64(1, RLIMIT_NOFILE, NULL, NULL);
        "setrlimit" => SYS_setrlimit(RLIMIT_NOFILE, limit.as_ptr());
        "landlock_create_ruleset again" => SYS_landlock_create_ruleset(&raw const priority, 8, 0);
        "sched_setscheduler" => SYS_sched_setscheduler(0, SCHED_OTHER, &raw const priority);
        "sched_setattr" => SYS_sched_setattr(0, NULL, 0);
        "sched_setaffinity" => SYS_sched_setaffinity(0, 8, &raw const priority);
        "setpriority" => SYS_setpriority(PRIO_PROCESS, 0, -10);
        "ioprio_set" => SYS_ioprio_set(1, 0, 0);
        "setsid" => SYS_setsid();
        "setpgid" => SYS_setpgid(0, 0);
    }
}

fn kernel(attempts: &mut Attempts) {
    let root = c"/".as_ptr();
    let nowhere = c"/nowhere".as_ptr();
    try_calls! { attempts;
        "mount" => SYS_mount(c"x".as_ptr(), root, c"tmpfs".as_ptr(), 0, NULL);
        "umount" => SYS_umount2(root, MNT_DETACH);
        "move_mount" => SYS_move_mount(AT_FDCWD, root, AT_FDCWD, root, 0);
        "open_tree" => SYS_open_tree(AT_FDCWD, root, 0);
        "fsopen" => SYS_fsopen(c"tmpfs".as_ptr(), 0);
        "unshare user" => SYS_unshare(CLONE_NEWUSER);
        "unshare files" => SYS_unshare(CLONE_FILES);
        "setns" => SYS_setns(0, 0);
        "chroot" => SYS_chroot(root);
        "pivot_root" => SYS_pivot_root(root, root);
        "keyctl" => SYS_keyctl(0, 0, 0, 0, 0);
        "add_key" => SYS_add_key(c"user".as_ptr(), c"x".as_ptr(), NULL, 0, 0);
        "request_key" => SYS_request_key(c"user".as_ptr(), c"x".as_ptr(), NULL, 0);
        "bpf" => SYS_bpf(0, NULL, 0);
        "io_uring_setup" => SYS_io_uring_setup(1, NULL);
        "io_uring_enter" => SYS_io_uring_enter(-1, 0, 0, 0, NULL, 0);
        "userfaultfd" => SYS_userfaultfd(0);
        "perf_event_open" => SYS_perf_event_open(NULL, 0, -1, -1, 0);
        "init_module" => SYS_init_module(NULL, 0, c"".as_ptr());
        "finit_module" => SYS_finit_module(-1, c"".as_ptr(), 0);
        "delete_module" => SYS_delete_module(c"nothing".as_ptr(), 0);
        "kexec_load" => SYS_kexec_load(0, 0, NULL, 0);
        "quotactl" => SYS_quotactl(0, NULL, 0, NULL);
        "swapon" => SYS_swapon(nowhere, 0);
        "swapoff" => SYS_swapoff(nowhere);
        "acct" => SYS_acct(nowhere);
        // Wrong magic numbers, in case that this is ever allowed.
        "reboot" => SYS_reboot(0, 0, 0, NULL);
        "sethostname" => SYS_sethostname(c"x".as_ptr(), 1);
        "settimeofday" => SYS_settimeofday(NULL, NULL);
        "clock_settime" => SYS_clock_settime(CLOCK_REALTIME, NULL);
        "adjtimex" => SYS_adjtimex(NULL);
        "iopl" => SYS_iopl(3);
        "ioperm" => SYS_ioperm(0, 1, 1);
        "personality" => SYS_personality(0xffff_ffff_u32);
        "modify_ldt" => SYS_modify_ldt(0, NULL, 0);
        "syslog" => SYS_syslog(0, NULL, 0);
        "vhangup" => SYS_vhangup();
        "mq_open" => SYS_mq_open(c"/x".as_ptr(), O_RDONLY, 0, NULL);
        "shmget" => SYS_shmget(0, 4096, 0o1600);
        "semget" => SYS_semget(0, 1, 0o1600);
        "msgget" => SYS_msgget(0, 0o1600);
        "mlock" => SYS_mlock(NULL, 0);
        "migrate_pages" => SYS_migrate_pages(0, 0, NULL, NULL);
        "move_pages" => SYS_move_pages(0, 0, NULL, NULL, NULL, 0);
        "vmsplice" => SYS_vmsplice(1, NULL, 0, 0);
        "splice" => SYS_splice(0, NULL, 1, NULL, 0, 0);
        "a number that does not exist" => NO_SUCH_CALL();
        "a call of the x32 interface" => X32_GETPID();
    }
}

const NO_SUCH_CALL: c_long = 999;
const X32_GETPID: c_long = 0x4000_0000 + 39;

/// Calls that are allowed for some arguments.
fn arguments(attempts: &mut Attempts, socket: c_int) {
    let one = 1i32;
    let value = &raw const one;
    let mut taken = [0u8; 128];
    let mut length = 128 as socklen_t;
    const SO_PEERNAME: c_int = 28;
    const SO_PEERPIDFD: c_int = 77;
    const SO_PASSRIGHTS: c_int = 83;
    try_calls! { attempts;
        "ioctl TIOCSTI" => SYS_ioctl(0, TIOCSTI, value);
        "ioctl SIOCGIFCONF" => SYS_ioctl(socket, SIOCGIFCONF, NULL);
        "fcntl F_SETOWN" => SYS_fcntl(socket, F_SETOWN, 1);
        "fcntl F_SETPIPE_SZ" => SYS_fcntl(1, F_SETPIPE_SZ, 1 << 20);
        "fcntl F_NOTIFY" => SYS_fcntl(socket, F_NOTIFY, 0);
        "setsockopt SO_MARK" => SYS_setsockopt(socket, SOL_SOCKET, SO_MARK, value, 4);
        "setsockopt SO_BINDTODEVICE" => SYS_setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, value, 4);
        "setsockopt SO_PASSCRED" => SYS_setsockopt(socket, SOL_SOCKET, SO_PASSCRED, value, 4);
        "setsockopt SO_PASSRIGHTS" => SYS_setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, value, 4);
        "setsockopt SO_ATTACH_FILTER" => SYS_setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, value, 4);
        "setsockopt TCP_ULP" => SYS_setsockopt(socket, IPPROTO_TCP, TCP_ULP, c"tls".as_ptr(), 3);
        "setsockopt TCP_FASTOPEN" => SYS_setsockopt(socket, IPPROTO_TCP, TCP_FASTOPEN, value, 4);
        "setsockopt TCP_FASTOPEN_CONNECT" => SYS_setsockopt(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, value, 4);
        "setsockopt TCP_DEFER_ACCEPT" => SYS_setsockopt(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, value, 4);
        "setsockopt TCP_REPAIR" => SYS_setsockopt(socket, IPPROTO_TCP, TCP_REPAIR, value, 4);
        "setsockopt IP_TRANSPARENT" => SYS_setsockopt(socket, IPPROTO_IP, IP_TRANSPARENT, value, 4);
        "getsockopt SO_PEERNAME" => SYS_getsockopt(socket, SOL_SOCKET, SO_PEERNAME, taken.as_mut_ptr(), &raw mut length);
        "getsockopt SO_PEERPIDFD" => SYS_getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, taken.as_mut_ptr(), &raw mut length);
        "getsockopt SO_PEERCRED" => SYS_getsockopt(socket, SOL_SOCKET, SO_PEERCRED, taken.as_mut_ptr(), &raw mut length);
        "arch_prctl ARCH_SET_GS" => SYS_arch_prctl(0x1001, NULL);
    }
}

/// Sends descriptor 0 over the door.
fn smuggle(attempts: &mut Attempts) {
    let mut byte = [0u8; 1];
    let mut part = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    #[repr(C, align(8))]
    struct Space([u8; 24]);
    let mut space = Space([0; 24]);
    // SAFETY: the space is that of a control message with one descriptor; everything outlives the call.
    let result = unsafe {
        let mut header: msghdr = std::mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.0.as_mut_ptr().cast();
        header.msg_controllen = CMSG_SPACE(4) as _;
        let control = CMSG_FIRSTHDR(&header);
        (*control).cmsg_level = SOL_SOCKET;
        (*control).cmsg_type = SCM_RIGHTS;
        (*control).cmsg_len = CMSG_LEN(4) as _;
        CMSG_DATA(control).cast::<c_int>().write_unaligned(0);
        syscall(SYS_sendmsg, 3, &raw const header, MSG_NOSIGNAL)
    };
    attempts.tried("a descriptor over the door", result);
}

/// Waits on the door for a socket that the kernel hands over.
fn take_socket() -> c_int {
    let mut byte = [0u8; 1];
    let mut part = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    #[repr(C, align(8))]
    struct Space([u8; 24]);
    let mut space = Space([0; 24]);
    // SAFETY: as in `smuggle`; the control message is read only where there is one.
    unsafe {
        let mut header: msghdr = std::mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.0.as_mut_ptr().cast();
        header.msg_controllen = space.0.len() as _;
        recvmsg(3, &mut header, 0);
        let control = CMSG_FIRSTHDR(&header);
        if control.is_null() { 3 } else { CMSG_DATA(control).cast::<c_int>().read_unaligned() }
    }
}
