//! Who the jail and its procs are: uids and gids inside and outside, and capabilities.
//!
//! With a uid base N the jail is uid 0 inside and N outside, procs 1 inside and N+1 outside, so that no proc may touch
//! the jail. Without one all of them are 0 inside and the caller outside. Procs hold no capability either way, and
//! nothing that they execute can regain one.

use crate::error::Error;
use crate::options::Options;
use crate::sys::check;
use sigma_abi::layer::Layer;
use std::{fs, io, ptr};

/// Uids (and gids) of a realm: the jail's and its procs'.
const RANGE: u32 = 2;

/// What the jail itself keeps: CAP_KILL (5), CAP_SETGID (6) and CAP_SETUID (7), all within its user namespace.
const JAIL_CAPABILITIES: u64 = 1 << 5 | 1 << 6 | 1 << 7;

/// Beyond the last capability that a kernel knows; prctl says where the known ones end.
const MAX_CAPABILITY: i32 = 64;

/// `_LINUX_CAPABILITY_VERSION_3` of capset(2): 64 bits in two halves.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Uid 0 is nothing special, a change of uid gives nothing back, and none of this can be undone.
const SECUREBITS: i32 = libc::SECBIT_NOROOT
    | libc::SECBIT_NOROOT_LOCKED
    | libc::SECBIT_NO_SETUID_FIXUP
    | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
    | libc::SECBIT_KEEP_CAPS_LOCKED
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

/// Writes the maps of the user namespace of `process`, from outside.
pub(crate) fn write_maps(process: i32, uid_base: Option<u32>) -> Result<(), Error> {
    // SAFETY: both calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let write = |file: &str, text: String, attempted| {
        fs::write(format!("/proc/{process}/{file}"), text).map_err(Error::layer(Layer::User, attempted))
    };
    match uid_base {
        Some(base) => {
            write("uid_map", format!("0 {base} {RANGE}\n"), "mapping the realm's uids (root only)")?;
            write("gid_map", format!("0 {base} {RANGE}\n"), "mapping the realm's gids (root only)")
        }
        None => {
            write("setgroups", "deny".into(), "denying setgroups")?;
            write("uid_map", format!("0 {uid} 1\n"), "mapping the caller's uid")?;
            write("gid_map", format!("0 {gid} 1\n"), "mapping the caller's gid")
        }
    }
}

/// Takes on the jail's own uid and gid inside, and leaves all other groups, where it has a range of its own.
pub(crate) fn become_jail(options: &Options) -> Result<(), Error> {
    if options.uid_base.is_none() || !options.on(Layer::User) {
        return Ok(());
    }
    // SAFETY: no group list is given, so none is read.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u8>()) })
        .map_err(Error::layer(Layer::User, "leaving all groups"))?;
    change(0).map_err(Error::layer(Layer::User, "taking on the jail's uid"))
}

/// Changes every uid and gid of this process to `id`.
fn change(id: u32) -> io::Result<()> {
    // SAFETY: the calls take numbers only. They are made directly, since libc's wrappers would visit other threads:
    // there are none.
    check(unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) }).map(drop)
}

/// Shuts the ways back to capabilities, for good and for all that is cloned, and keeps those that the jail needs.
pub(crate) fn keep_few_capabilities() -> Result<(), Error> {
    let fail = |attempted| Error::layer(Layer::Capabilities, attempted);
    control(libc::PR_SET_SECUREBITS, SECUREBITS as u64).map_err(fail("locking securebits"))?;
    control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64)
        .map_err(fail("clearing ambient capabilities"))?;
    for capability in 0..MAX_CAPABILITY {
        if control(libc::PR_CAPBSET_READ, capability as u64).is_err() {
            break;
        }
        control(libc::PR_CAPBSET_DROP, capability as u64).map_err(fail("emptying the bounding set"))?;
    }
    control(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(fail("setting no-new-privileges"))?;
    control(libc::PR_SET_DUMPABLE, 0).map_err(fail("hiding the jail's memory"))?;
    set_capabilities(JAIL_CAPABILITIES).map_err(fail("dropping capabilities"))
}

/// Makes this process a proc: its uid, and no capability.
pub(crate) fn become_proc(options: &Options) -> io::Result<()> {
    if let Some(uid) = options.proc_uid() {
        change(uid)?;
    }
    if options.on(Layer::Capabilities) { set_capabilities(0) } else { Ok(()) }
}

/// Has the kernel end this process when its parent ends. A change of uid would clear that, so it comes after.
pub(crate) fn end_with_parent() -> Result<(), Error> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
        .map_err(Error::plain("tying the jail to its parent"))
}

/// Sets effective and permitted capabilities, and no inheritable ones.
fn set_capabilities(set: u64) -> io::Result<()> {
    let (low, high) = (set as u32, (set >> 32) as u32);
    let header = [CAPABILITY_VERSION, 0];
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: the header is version and pid, and version 3 reads two structures of three words each.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

fn control(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: none of the options used here takes a pointer.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, value, 0u64, 0u64, 0u64) }).map(drop)
}
