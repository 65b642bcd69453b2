//! `jail --bare`: procs with every layer of the sandbox, but without sigmad and records.
//!
//! It is the peer that `sigma bench start --throughput` measures against: what is left is what the layers cost, and the
//! program. So that the program is the same and does the same, it has a door, behind which all is answered at once and
//! nothing is done.

use crate::control::{self, Control};
use crate::error::Error;
use crate::namespaces::{self, Side};
use crate::options::Options;
use crate::pool::{self, Cloned, Made};
use crate::seccomp::filter::Last;
use crate::sys::{check, retry};
use crate::{launcher, limits, shut_in, signals, sys};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::{DOOR_FD, PROTOCOL_VERSION};
use sigma_abi::proto::{Empty, Hello, Launch};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;
use std::{io, ptr};

const USAGE: &str = "usage: jail --bare COUNT UID_BASE|none PROGRAM PLACE…: a place is the files of processes of control \
groups, with commas between them, or -";

/// What to run.
struct Bare {
    count: usize,
    options: Options,
    program: OwnedFd,
    /// Procs that run at a time: the files by which each joins its control groups.
    places: Vec<Vec<File>>,
}

/// One that runs.
struct Proc {
    place: usize,
    /// `None` once it has closed.
    door: Option<Control>,
    /// The pipes of its standard streams, and what else a jail would hand over.
    _ends: [OwnedFd; 4],
}

/// Runs so many procs, one in each place at a time, and prints how many nanoseconds it took.
///
/// # Errors
/// Where a layer cannot be set up or a proc does not end with code 0.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<i32, Error> {
    // From here on nothing that is opened gets the number that is the door's in every proc.
    sys::duplicate(&io::stderr(), DOOR_FD).map_err(Error::plain("keeping a number free"))?;
    let bare = Bare::parse(args)?;
    limits::raise_oom_score()?;
    match namespaces::split(&bare.options)? {
        Side::Outer(inner) => namespaces::wait(inner),
        Side::Inner => {
            let (ended, mut last) = shut_in(&bare.options)?;
            let begun = Instant::now();
            bare.all(&ended, last.as_mut())?;
            println!("{}", begun.elapsed().as_nanos());
            Ok(0)
        }
    }
}

impl Bare {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut next = || args.next().ok_or_else(|| Error::new(USAGE.to_owned()));
        let (count, base, program) = (next()?, next()?, next()?);
        let open =
            |file: &str| File::options().write(true).open(file).map_err(Error::plain("opening a group"));
        let place = |files: String| files.split(',').filter(|file| *file != "-").map(open).collect();
        let places: Vec<_> = args.map(place).collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(Error::new(USAGE.to_owned()));
        }
        Ok(Self {
            count: count.parse().map_err(|_| Error::new(USAGE.to_owned()))?,
            options: Options::parse(["--uid-base".to_owned(), base].into_iter())?,
            program: File::open(program).map_err(Error::plain("opening the program"))?.into(),
            places,
        })
    }

    fn all(&self, ended: &OwnedFd, mut last: Option<&mut Last>) -> Result<(), Error> {
        let mut free: Vec<usize> = (0..self.places.len()).collect();
        let mut live = HashMap::new();
        let mut left = self.count;
        while left > 0 || !live.is_empty() {
            while left > 0
                && let Some(place) = free.pop()
            {
                let (process, proc) = self.one(place, last.as_deref_mut())?;
                live.insert(process, proc);
                left -= 1;
            }
            if !attend(ended, &mut live)? {
                continue;
            }
            signals::drain(ended);
            while let Some((process, status)) = reap() {
                if namespaces::exit_code(status) != Ok(0) {
                    return Err(Error::new(format!("a proc ended with wait status {status:#x}")));
                }
                free.extend(live.remove(&process).map(|proc| proc.place));
            }
        }
        Ok(())
    }

    fn one(&self, place: usize, last: Option<&mut Last>) -> Result<(i32, Proc), Error> {
        let launch = Launch { args: vec!["bare".to_owned()], idle: true, ..Launch::default() };
        let groups = &self.places[place];
        let made = match pool::clone().map_err(Error::plain("cloning a proc"))? {
            Cloned::Child(ends) => {
                launcher::at_once(&launch, &self.program, ends, groups, last, &self.options)
            }
            Cloned::Jail(made) => made,
        };
        let Made { process, door, pidfd, input, output, errors } = made;
        let door = Some(Control::over(door));
        Ok((process, Proc { place, door, _ends: [pidfd, input, output, errors] }))
    }
}

/// Waits until procs say something, which is answered, or some have ended, which is told.
fn attend(ended: &OwnedFd, live: &mut HashMap<i32, Proc>) -> Result<bool, Error> {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut doors: Vec<_> = live.values_mut().map(|proc| &mut proc.door).collect();
    // The system skips what is no descriptor.
    let raw = |door: &Option<Control>| door.as_ref().map_or(-1, Control::raw);
    let mut polled: Vec<_> = doors.iter().map(|door| entry(raw(door))).collect();
    polled.push(entry(ended.as_raw_fd()));
    // SAFETY: pointer and length are those of the vector.
    retry(|| unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) })
        .map_err(Error::plain("waiting for procs"))?;
    for (door, _) in doors.iter_mut().zip(&polled).filter(|(_, polled)| polled.revents != 0) {
        if let Some(open) = door
            && !answer(open)?
        {
            **door = None;
        }
    }
    Ok(polled.last().is_some_and(|ended| ended.revents != 0))
}

/// Answers what a proc says: each call with nothing. False where its door has closed.
fn answer(door: &mut Control) -> Result<bool, Error> {
    let open = door.receive().map_err(Error::plain("hearing a proc"))?;
    while let Some((frame, _)) = door.next()? {
        let hello = Hello { version: PROTOCOL_VERSION, ..Hello::default() };
        let reply = match frame.kind {
            Kind::Hello => Frame::new(Kind::Hello, 0, "", &hello),
            Kind::Call => Frame::new(Kind::Reply, frame.tag, "", &Empty {}),
            _ => continue,
        };
        control::send_frame(door.raw(), reply, &[]).map_err(Error::plain("answering a proc"))?;
    }
    Ok(open)
}

/// Takes one child that has ended, with its wait status, if there is one.
fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place; no usage is asked for.
    let ended = check(unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, ptr::null_mut()) });
    // No child at all is an error, none that has ended is 0.
    ended.ok().filter(|process| *process > 0).map(|process| (process as i32, status))
}
