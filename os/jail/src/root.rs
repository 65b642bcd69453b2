//! The root of the container: an empty tmpfs, read-only, in place of the host's tree, which is detached.

use crate::error::Error;
use crate::sys::check;
use sigma_abi::layer::Layer;
use std::ffi::CStr;
use std::io;
use std::ptr;

/// No memory, one inode (the root itself), and nobody may write even where read-only failed.
const OPTIONS: &CStr = c"size=4k,nr_inodes=1,mode=0555";

/// Any directory serves as the place of the new root for a moment; this one is there wherever /proc is.
const PLACE: &CStr = c"/proc";

/// Replaces the root of this mount namespace.
///
/// # Errors
/// [`Layer::Mount`].
pub(crate) fn make_empty() -> Result<(), Error> {
    // Nothing that happens here may show in the host's namespace, nor the other way round.
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)
        .map_err(fail("making the mount namespace private"))?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(Some(c"jail"), PLACE, Some(c"tmpfs"), flags, Some(OPTIONS))
        .map_err(fail("mounting an empty root"))?;
    enter(PLACE).map_err(fail("entering the empty root"))?;
    // With both arguments ".", the old root ends up on top of the new one and is detached from there, so that the
    // empty root needs no directory for it (pivot_root(2), NOTES).
    // SAFETY: both paths are constant C strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
        .map_err(fail("making the empty root the root (pivot_root)"))?;
    // SAFETY: the path is a constant C string.
    check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })
        .map_err(fail("detaching the host's tree"))?;
    enter(c"/").map_err(fail("entering the new root"))
}

fn fail(attempted: &'static str) -> impl FnOnce(io::Error) -> Error {
    Error::layer(Layer::Mount, attempted)
}

fn enter(path: &CStr) -> io::Result<()> {
    // SAFETY: `path` is a C string.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null where mount(2) allows that, or a C string that outlives the call.
    check(unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(data).cast())
    })
    .map(drop)
}
