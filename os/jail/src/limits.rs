//! Limits that the kernel counts per process, and the order in which it kills when memory runs out.

use crate::error::Error;
use crate::sys::check;
use sigma_abi::layer::Layer;
use std::{fs, io, ptr};

/// Descriptors that a proc may have: its numbers are 0 to 999.
pub(crate) const PROC_FDS: u64 = 1000;

/// The binary of a proc, while it is executed. No proc can ever have a descriptor of this number, so that the one
/// `execveat` that the filter allows happens once.
pub(crate) const EXEC_FD: i32 = PROC_FDS as i32;

/// The pipe that exec closes, where sigmad asked for one.
pub(crate) const NOTIFY_FD: i32 = EXEC_FD + 1;

/// Threads of all procs of one jail together: a bound where control groups are not to be had.
const REALM_THREADS: u64 = 4096;

/// Procs are killed for memory long before sigmad (0) and named. From -1000 to 1000.
const OOM_SCORE_ADJ: &str = "500";

/// Makes this process and all that it clones likely victims when memory runs out.
pub(crate) fn raise_oom_score() -> Result<(), Error> {
    fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ)
        .map_err(Error::layer(Layer::Rlimits, "raising oom_score_adj"))
}

/// Raises the jail's own limit of descriptors as far as it goes: it hands out five per launcher.
pub(crate) fn make_room() -> Result<(), Error> {
    let (_, hard) =
        get(libc::RLIMIT_NOFILE.into()).map_err(Error::plain("reading the limit of open files"))?;
    if hard <= NOTIFY_FD as u64 {
        let message = format!(
            "the hard limit of open files is {hard}: a jail needs {}; raise it (ulimit -Hn)",
            NOTIFY_FD + 1
        );
        return Err(Error::new(message));
    }
    set(libc::RLIMIT_NOFILE.into(), hard, hard).map_err(Error::plain("raising the limit of open files"))
}

/// Lowers, for this process and all that it clones, the limits that launchers need no room in.
pub(crate) fn lower() -> Result<(), Error> {
    let limits = [
        (libc::RLIMIT_CORE.into(), 0, "allowing no core files"),
        (libc::RLIMIT_MEMLOCK.into(), 0, "allowing no locked memory"),
        (libc::RLIMIT_MSGQUEUE.into(), 0, "allowing no message queues"),
        (libc::RLIMIT_NICE.into(), 0, "allowing no nice values below 0"),
        (libc::RLIMIT_RTPRIO.into(), 0, "allowing no realtime priority"),
        (libc::RLIMIT_NPROC.into(), REALM_THREADS, "limiting threads"),
    ];
    for (resource, limit, attempted) in limits {
        let fail = Error::layer(Layer::Rlimits, attempted);
        let (_, hard) = get(resource).map_err(Error::layer(Layer::Rlimits, "reading limits"))?;
        set(resource, limit.min(hard), limit.min(hard)).map_err(fail)?;
    }
    Ok(())
}

/// Holds the descriptors of what becomes a proc below [`EXEC_FD`].
pub(crate) fn limit_descriptors() -> io::Result<()> {
    set(libc::RLIMIT_NOFILE.into(), PROC_FDS, PROC_FDS)
}

/// The soft and the hard limit.
fn get(resource: i64) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: rlimit64 is what the kernel writes; no new limit is given.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<u8>(), &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn set(resource: i64, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: rlimit64 is what the kernel reads; the old limit is not asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &limit, ptr::null::<u8>()) }).map(drop)
}
