//! The table is what SECURITY.md says of it.

use super::filter;
use super::table::{Args, Phase, TABLE};
use std::collections::HashSet;

/// Lines that procs may use, at most.
const MAX_PROC_LINES: usize = 67;

#[test]
fn the_list_is_short() {
    let lines = TABLE.iter().filter(|line| line.phase == Phase::Proc).count();
    assert!(lines <= MAX_PROC_LINES, "{lines} lines for procs: the limit is {MAX_PROC_LINES}");
}

#[test]
fn every_line_is_there_once_with_a_reason() {
    let mut seen = HashSet::new();
    for line in TABLE {
        assert!(seen.insert((line.number, format!("{:?}", line.phase))), "{} is there twice", line.name);
        assert!(line.reason.len() >= 5, "{} has no reason", line.name);
        assert!(line.name.starts_with("SYS_"));
    }
}

/// A launcher's last filter refuses what a `Launch` line allows; that must not be what a `Proc` line allows too.
#[test]
fn a_call_of_both_phases_tells_them_apart_by_its_arguments() {
    for line in TABLE.iter().filter(|line| line.phase == Phase::Launch) {
        for other in TABLE.iter().filter(|other| other.phase == Phase::Proc && other.number == line.number) {
            assert!(matches!((&line.args, &other.args), (Args::When(_), Args::When(_))), "{}", line.name);
        }
    }
}

#[test]
fn what_must_be_refused_is_absent() {
    let refused = [
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_creat,
        libc::SYS_memfd_create,
        libc::SYS_memfd_secret,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_sendmmsg,
        libc::SYS_execve,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_clone3,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_chroot,
        libc::SYS_pivot_root,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_setuid,
        libc::SYS_setrlimit,
        libc::SYS_personality,
        libc::SYS_modify_ldt,
    ];
    for number in refused {
        assert!(TABLE.iter().all(|line| line.number != number), "system call {number} is in the list");
    }
    for number in [libc::SYS_kill, libc::SYS_seccomp, libc::SYS_capset, libc::SYS_setresuid, libc::SYS_wait4]
    {
        assert!(TABLE.iter().all(|line| line.number != number || line.phase == Phase::Launch), "{number}");
    }
}

#[test]
fn the_last_filter_is_made_ahead_but_for_the_pid() {
    let mut ahead = filter::Last::new().unwrap();
    for pid in [2, 4321, 4_194_304] {
        assert_eq!(*ahead.of(pid), filter::last(pid).unwrap(), "pid {pid}");
    }
}

#[test]
fn the_filters_fit_the_kernel() {
    let (list, last) = (filter::list().unwrap().len(), filter::last(2).unwrap().len());
    assert!(list < 1000 && last < 150, "{list} and {last} instructions");
}
