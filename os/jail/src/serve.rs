//! The loop of pid 1: what sigmad asks for, what has ended, and launchers that are still owed.

use crate::control::Control;
use crate::error::Error;
use crate::options::Options;
use crate::pool::Pool;
use crate::seccomp::filter::Last;
use crate::signals;
use crate::sys::retry;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto::{Class, JailReady, KillLauncher, LauncherReady, MakeLauncher};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Launchers that may be owed at a time; more than sigmad ever asks for.
const MAX_OWED: usize = 1024;

/// Pause after a launcher could not be cloned, as where the limit of processes is reached.
const RETRY_MS: i32 = 20;

/// Exit code where sigmad closed the control socket.
const DONE: i32 = 0;

/// Serves until the control socket closes, and returns the exit code.
///
/// # Errors
/// Where sigmad sends what is no frame, or cannot be told.
pub(crate) fn serve(
    control: &mut Control,
    options: &Options,
    ended: &OwnedFd,
    last: Option<Last>,
) -> Result<i32, Error> {
    let mut pool = Pool::new(last);
    let stop = serve_until_stopped(control, options, ended, &mut pool);
    // In a pid namespace the end of pid 1 does this; where the operator took that layer away, nothing else does.
    pool.kill_all();
    match stop {
        Ok(never) => match never {},
        Err(Stop::Closed) => Ok(DONE),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// A launcher that sigmad asked for.
struct Owed {
    class: Class,
    /// The files by which it joins its control groups.
    groups: Vec<File>,
}

/// Why the loop ends.
enum Stop {
    /// sigmad closed the control socket, or is gone.
    Closed,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Failed(Error::new(format!("the control socket to sigmad is lost: {source}"))),
        }
    }
}

fn serve_until_stopped(
    control: &mut Control,
    options: &Options,
    ended: &OwnedFd,
    pool: &mut Pool,
) -> Result<Infallible, Stop> {
    let mut owed = VecDeque::new();
    let mut pause_ms = 0;
    control.notify("Jail.Ready", &JailReady { layers: options.layers() }, &[])?;
    loop {
        let timeout_ms = if owed.is_empty() { -1 } else { pause_ms };
        let (asked, reap) = wait(control, ended, timeout_ms)?;
        if asked && !control.receive()? {
            return Err(Stop::Closed);
        }
        while let Some((frame, fds)) = control.next()? {
            if (frame.kind, frame.method()) == (Kind::Call, "Link.Ping") {
                control.answer(frame.tag)?;
            } else {
                obey(&frame, fds, pool, &mut owed)?;
            }
        }
        if reap {
            signals::drain(ended);
            while let Some(exited) = pool.reap() {
                control.notify("Jail.Exited", &exited, &[])?;
            }
        }
        // One at a time, so that a kill never waits for a batch.
        if let Some(first) = owed.front() {
            pause_ms = if make(control, options, pool, first)? { 0 } else { RETRY_MS };
            if pause_ms == 0 {
                owed.pop_front();
            }
        }
    }
}

fn obey(frame: &Frame, fds: Vec<OwnedFd>, pool: &Pool, owed: &mut VecDeque<Owed>) -> Result<(), Error> {
    let malformed = |error| Error::new(format!("{}: {error}", frame.method()));
    match (frame.kind, frame.method()) {
        (Kind::Notice, "Jail.Make") => {
            let make: MakeLauncher = frame.message().map_err(malformed)?;
            if owed.len() == MAX_OWED {
                return Err(Error::new(format!("sigmad asks for more than {MAX_OWED} launchers at once")));
            }
            owed.push_back(Owed { class: make.class(), groups: fds.into_iter().map(File::from).collect() });
        }
        (Kind::Notice, "Jail.Kill") => {
            let kill: KillLauncher = frame.message().map_err(malformed)?;
            pool.kill(kill.process, kill.signal);
        }
        (kind, method) => return Err(Error::new(format!("{kind:?} {method:?} is nothing that a jail does"))),
    }
    Ok(())
}

/// Makes one launcher and hands it over. False: not now.
fn make(control: &Control, options: &Options, pool: &mut Pool, owed: &Owed) -> Result<bool, Stop> {
    let made = match pool.make(options, &owed.groups) {
        Ok(made) => made,
        Err(error) => {
            eprintln!("jail: cloning a launcher: {error}; trying again in {RETRY_MS} ms");
            return Ok(false);
        }
    };
    let ready = LauncherReady { process: made.process, class: owed.class.into() };
    let fds = [&made.door, &made.pidfd, &made.input, &made.output, &made.errors].map(AsRawFd::as_raw_fd);
    control.notify("Jail.Launcher", &ready, &fds)?;
    Ok(true)
}

/// Waits until sigmad says something, a child has ended or the time is over.
fn wait(control: &Control, ended: &OwnedFd, timeout_ms: i32) -> Result<(bool, bool), Error> {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polled = [entry(control.raw()), entry(ended.as_raw_fd())];
    // SAFETY: pointer and length are those of the array.
    retry(|| unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) })
        .map_err(Error::plain("waiting for sigmad"))?;
    Ok((polled[0].revents != 0, polled[1].revents != 0))
}
