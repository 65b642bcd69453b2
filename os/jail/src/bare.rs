//! `jail --bare`: procs with every layer of the sandbox, but without sigmad, wire and records.
//!
//! It is the peer that `sigma bench start --throughput` measures against: what is left is what the layers themselves cost.

use crate::error::Error;
use crate::namespaces::{self, Side};
use crate::options::Options;
use crate::seccomp::LAUNCHER;
use crate::seccomp::filter::Last;
use crate::sys::{check, retry};
use crate::{launcher, limits, shut_in};
use sigma_abi::proto::Launch;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::ptr;
use std::time::Instant;

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

/// Runs so many procs, one in each place at a time, and prints how many nanoseconds it took.
///
/// # Errors
/// Where a layer cannot be set up or a proc does not end with code 0.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<i32, Error> {
    let bare = Bare::parse(args)?;
    limits::raise_oom_score()?;
    match namespaces::split(&bare.options)? {
        Side::Outer(inner) => namespaces::wait(inner),
        Side::Inner => {
            let (_, mut last) = shut_in(&bare.options)?;
            let begun = Instant::now();
            bare.all(last.as_mut())?;
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
        Ok(Self {
            count: count.parse().map_err(|_| Error::new(USAGE.to_owned()))?,
            options: Options::parse(["--uid-base".to_owned(), base].into_iter())?,
            program: File::open(program).map_err(Error::plain("opening the program"))?.into(),
            places: args.map(place).collect::<Result<_, _>>()?,
        })
    }

    fn all(&self, mut last: Option<&mut Last>) -> Result<(), Error> {
        let mut free: Vec<usize> = (0..self.places.len()).collect();
        let mut live = HashMap::new();
        let mut left = self.count;
        while left > 0 || !live.is_empty() {
            while left > 0
                && let Some(place) = free.pop()
            {
                live.insert(self.one(place, last.as_deref_mut())?, place);
                left -= 1;
            }
            let mut status = 0;
            // SAFETY: `status` is a valid place; no usage is asked for.
            let ended = retry(|| unsafe { libc::wait4(-1, &mut status, 0, ptr::null_mut()) });
            let process = ended.map_err(Error::plain("waiting for a proc; are there places?"))? as i32;
            if namespaces::exit_code(status) != Ok(0) {
                return Err(Error::new(format!("a proc ended with wait status {status:#x}")));
            }
            free.extend(live.remove(&process));
        }
        Ok(())
    }

    fn one(&self, place: usize, last: Option<&mut Last>) -> Result<i32, Error> {
        let mut pidfd = -1;
        // SAFETY: as in `pool`: without CLONE_VM this is fork, and this process has one thread. The list of system calls
        // allows no clone but this one, so the descriptor comes along.
        let process = check(unsafe {
            libc::syscall(libc::SYS_clone, LAUNCHER as u64, 0usize, &raw mut pidfd, 0usize, 0usize)
        });
        let process = process.map_err(Error::plain("cloning a proc"))? as i32;
        if process == 0 {
            let launch = Launch { args: vec!["bare".to_owned()], idle: true, ..Launch::default() };
            launcher::at_once(&launch, &self.program, &self.places[place], last, &self.options);
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        unsafe { libc::close(pidfd) };
        Ok(process)
    }
}
