//! A launcher: a process that is ready to become a proc, but for the binary.
//!
//! ```text
//!  cloned ──prepare──▶ waiting on its door ──Launcher.Launch──▶ bound to its binary ──execveat──▶ a proc
//!     └────failed─────────────┬──door closed───▶ exit(0)                └──failed───┐
//!                             └────────────────▶ Launcher.Failed, exit(126) ◀───────┘
//! ```
//!
//! Everything from the frame to exec is part of each warm start, so that all else is done while waiting, and what will
//! be done then is rehearsed: its pages are touched once.

use crate::control::{self, receive_frame};
use crate::limits::{self, EXEC_FD, NOTIFY_FD};
use crate::options::Options;
use crate::seccomp::filter::{self, Last};
use crate::sys::{self, check};
use crate::{identity, landlock, signals};
use ::landlock::RulesetCreated;
use bytes::BytesMut;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::layer::Layer;
use sigma_abi::limits::DOOR_FD;
use sigma_abi::proto::{Launch, LaunchFailed};
use std::convert::Infallible;
use std::ffi::{CString, c_char};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::ptr;

/// Exit code of a launcher that could not become a proc, as of a shell that cannot execute a file.
const CANNOT_LAUNCH: i32 = 126;

/// The launcher's ends of what connects it to sigmad.
pub(crate) struct Ends {
    pub(crate) door: OwnedFd,
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

/// A step that failed; the proc does not run.
struct Failed {
    step: &'static str,
    error: io::Error,
}

/// What is left to do with the launch.
struct Prepared {
    /// The rule set to add the binary to; `None` where that layer is off.
    rules: Option<RulesetCreated>,
    /// Whether descriptors are to be limited.
    limited: bool,
}

/// The life of a launcher, from just after its clone.
pub(crate) fn run(ends: Ends, groups: &[File], last: Option<&mut Last>, options: &Options) -> ! {
    let prepared = arrange(ends, groups).and_then(|()| {
        rehearse();
        prepare(options, last)
    });
    let result = prepared.and_then(|prepared| match wait()? {
        Some((launch, binary, notify)) => {
            let failed = launch_it(&launch, &binary, notify.as_ref(), prepared);
            if let Some(notify) = notify {
                // The pipe closes with this process, as it does when a program is executed: the byte tells them apart.
                let _ = File::from(notify).write(b"0");
            }
            failed.map(Some)
        }
        None => Ok(None),
    });
    let code = match result {
        Ok(_) => 0,
        Err(Failed { step, error }) => {
            let failed = LaunchFailed { step: step.into(), message: error.to_string() };
            // Where sigmad is gone there is nobody to tell, and the end of this process says it too.
            let _ = control::send(DOOR_FD, "Launcher.Failed", &failed, &[]);
            CANNOT_LAUNCH
        }
    };
    // SAFETY: ends this process without running what the jail, of which it is a copy, has registered for exit.
    unsafe { libc::_exit(code) }
}

/// Becomes a proc at once, of what is known already, and tells standard error where it cannot.
pub(crate) fn at_once(
    launch: &Launch,
    binary: &OwnedFd,
    ends: Ends,
    groups: &[File],
    last: Option<&mut Last>,
    options: &Options,
) -> ! {
    let prepared = connect(&ends, groups).and_then(|()| prepare(options, last));
    let Err(Failed { step, error }) = prepared.and_then(|prepared| launch_it(launch, binary, None, prepared));
    eprintln!("jail: {step}: {error}");
    // SAFETY: as above.
    unsafe { libc::_exit(CANNOT_LAUNCH) }
}

fn step<T>(step: &'static str, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| Failed { step, error })
}

/// Connects this process, and closes all that the jail had open.
fn arrange(ends: Ends, groups: &[File]) -> Result<(), Failed> {
    connect(&ends, groups)?;
    // The numbers are closed below, all at once.
    std::mem::forget(ends);
    step("closing descriptors", sys::close_from(DOOR_FD + 1))
}

/// Puts the door at 3 and the pipes at 0 to 2, and joins the control groups.
fn connect(ends: &Ends, groups: &[File]) -> Result<(), Failed> {
    // The door comes first, so that whatever fails next can be told.
    step("door", sys::duplicate(&ends.door, DOOR_FD))?;
    join(groups)?;
    for (number, end) in [&ends.input, &ends.output, &ends.errors].into_iter().enumerate() {
        step("standard streams", sys::duplicate(end, number as i32))?;
    }
    Ok(())
}

/// Joins control groups by their files of processes. One that moves itself, which "0" says, holds up nobody; moving another
/// stops every fork and exit of the machine.
fn join(groups: &[File]) -> Result<(), Failed> {
    groups.iter().try_for_each(|mut group| step("cgroup", group.write_all(b"0")))
}

fn prepare(options: &Options, last: Option<&mut Last>) -> Result<Prepared, Failed> {
    step("signals", signals::block_none())?;
    step("identity", identity::become_proc(options))?;
    let rules =
        if options.on(Layer::Landlock) { Some(step("landlock", landlock::refuse_all())?) } else { None };
    if let Some(last) = last {
        // SAFETY: takes nothing. Not std::process::id, since libc may remember the jail's.
        let pid = unsafe { libc::syscall(libc::SYS_getpid) } as i32;
        step("seccomp", filter::install(last.of(pid)))?;
    }
    Ok(Prepared { rules, limited: options.on(Layer::Rlimits) })
}

/// Decodes a launch like the one to come, so that its code and memory are mapped when that comes.
fn rehearse() {
    let text = |prefix: &str| (0..16).map(|index| format!("{prefix}{index}={:64}", ' ')).collect();
    let launch = Launch { args: text("a"), env: text("e"), idle: true, notify: true };
    let mut wire: BytesMut = Frame::new(Kind::Notice, 0, "Launcher.Launch", &launch).encode();
    if let Ok(Some(frame)) = Frame::decode(&mut wire)
        && let Ok(launch) = frame.message::<Launch>()
    {
        let strings = (c_strings(&launch.args), c_strings(&launch.env));
        std::hint::black_box(&strings);
        // exec lets go of all at once, which is cheaper than page by page.
        std::mem::forget((launch, strings));
    }
    std::mem::forget(wire);
}

/// Waits for the launch. `None`: sigmad no longer wants this launcher.
fn wait() -> Result<Option<(Launch, OwnedFd, Option<OwnedFd>)>, Failed> {
    let Some((frame, fds)) = step("receiving", receive_frame(DOOR_FD))? else { return Ok(None) };
    let invalid = |text: String| Failed { step: "receiving", error: io::Error::other(text) };
    if frame.kind != Kind::Notice || frame.method() != "Launcher.Launch" {
        return Err(invalid(format!("{:?} {:?} is not Launcher.Launch", frame.kind, frame.method())));
    }
    let launch: Launch = frame.message().map_err(|error| invalid(error.to_string()))?;
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(binary), notify, None) if notify.is_some() == launch.notify => {
            Ok(Some((launch, binary, notify)))
        }
        _ => Err(invalid("the frame does not carry the binary, and the pipe where notify is set".into())),
    }
}

/// Becomes the proc.
fn launch_it(
    launch: &Launch,
    binary: &OwnedFd,
    notify: Option<&OwnedFd>,
    prepared: Prepared,
) -> Result<Infallible, Failed> {
    let args = step("args", c_strings(&launch.args))?;
    let env = step("env", c_strings(&launch.env))?;
    let (argv, envp) = (pointers(&args), pointers(&env));
    step("binary", sys::duplicate_free(binary, EXEC_FD))?;
    if let Some(notify) = notify {
        step("notify", sys::duplicate_free(notify, NOTIFY_FD))?;
    }
    if let Some(rules) = prepared.rules {
        step("landlock", landlock::restrict(rules, binary))?;
    }
    if prepared.limited {
        step("rlimits", limits::limit_descriptors())?;
    }
    // Last, so that an idle process holds no lock of the kernel that others wait for.
    if launch.idle {
        step("idle", become_idle())?;
    }
    // SAFETY: the path is a C string; argv and envp are arrays of pointers to C strings that outlive the call, each
    // ended by a null pointer. Only on failure does it return.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            EXEC_FD,
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    match check(result) {
        Err(error) => Err(Failed { step: "exec", error }),
        Ok(_) => Err(Failed { step: "exec", error: io::ErrorKind::InvalidData.into() }),
    }
}

/// Runs from now on only where nobody else wants the CPU. One way for an ordinary user.
fn become_idle() -> io::Result<()> {
    let priority = libc::c_int::default();
    // SAFETY: the kernel's sched_param is one int. Called directly, since musl's wrapper refuses.
    check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &priority) }).map(drop)
}

fn c_strings(texts: &[String]) -> io::Result<Vec<CString>> {
    let convert = |text: &String| CString::new(text.as_bytes()).map_err(io::Error::from);
    texts.iter().map(convert).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
