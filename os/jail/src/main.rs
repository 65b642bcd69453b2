//! `jail`: the container and the sandbox of one realm's procs on one machine.
//!
//! Usage: `jail --uid-base N|none [--without LAYER[,LAYER]]`, with descriptor 3 = a unix stream socket to sigmad.
//! `jail --bare` is a peer for benchmarks, see [`bare`].
//! `jail --landlock` prints the version of Landlock that the kernel speaks, 0 for none.
//! `jail --syscalls` prints the list of system calls that procs may use, with the reason for each.
//!
//! Principles:
//! - Single-threaded and static. Nothing here may start a thread: what a sandbox must do between clone and exec is
//!   sound only then.
//! - Whatever can be done once is done once, before the first launcher is cloned, and inherited; whatever can be done
//!   ahead of a launch is done ahead of it. Only the binary is waited for.
//! - It fails closed. A layer that cannot be set up ends the jail with `Jail.Failed`; a launcher that cannot be made
//!   safe ends with `Launcher.Failed`. Only `--without` takes a layer away, and `Jail.Ready` names those that are on.
//! - When sigmad goes, so does the jail, and every proc with it: end of file on the control socket ends pid 1 of the
//!   pid namespace.
//!
//! The way through: [`namespaces`] clones pid 1 of the container, [`root`], [`identity`], [`limits`] and [`seccomp`]
//! shut it in, [`serve`] answers sigmad, [`pool`] clones launchers and reaps them, [`launcher`] becomes a proc.

// Namespaces, descriptors, capabilities and seccomp are system calls that have no safe interface in libc; this is one
// of the two places where the workspace allows unsafe code, and every block says why it is sound.
#![allow(unsafe_code)]

mod bare;
mod control;
mod error;
mod identity;
mod landlock;
mod launcher;
mod limits;
mod namespaces;
mod options;
mod pool;
mod root;
mod seccomp;
mod serve;
mod signals;
mod sys;

use control::Control;
use error::Error;
use namespaces::Side;
use options::Options;
use seccomp::filter::Last;
use sigma_abi::layer::Layer;
use std::os::fd::OwnedFd;

fn main() {
    let code = match std::env::args().nth(1).as_deref() {
        Some("--syscalls") => {
            seccomp::print();
            0
        }
        Some("--landlock") => {
            println!("{}", landlock::version().unwrap_or(0));
            0
        }
        Some("--bare") => bare::run(std::env::args().skip(2)).unwrap_or_else(|error| {
            eprintln!("jail: {error}");
            1
        }),
        _ => {
            let mut control = Control::inherited();
            run(&mut control).unwrap_or_else(|error| {
                control.failed(&error);
                1
            })
        }
    };
    std::process::exit(code);
}

/// Runs both sides: the outer one waits, the inner one serves until the control socket closes.
fn run(control: &mut Control) -> Result<i32, Error> {
    let options = Options::parse(std::env::args().skip(1))?;
    control.check()?;
    if options.on(Layer::Rlimits) {
        limits::raise_oom_score()?;
    }
    match namespaces::split(&options)? {
        Side::Outer(inner) => {
            control.close();
            namespaces::wait(inner)
        }
        Side::Inner => {
            // The outer side keeps what sigmad left open: the lock of the state directory.
            sys::close_from(control::FD + 1).map_err(Error::plain("closing inherited descriptors"))?;
            let (ended, last) = shut_in(&options)?;
            serve::serve(control, &options, &ended, last)
        }
    }
}

/// Sets up every layer that launchers inherit. Returns the descriptor that tells of ended children, which the list of
/// system calls would refuse to make, and the filter that launchers end with, where that layer is on.
fn shut_in(options: &Options) -> Result<(OwnedFd, Option<Last>), Error> {
    signals::reset();
    identity::become_jail(options)?;
    namespaces::unshare(options)?;
    if options.on(Layer::Mount) {
        root::make_empty()?;
    }
    limits::make_room()?;
    if options.on(Layer::Rlimits) {
        limits::lower()?;
    }
    if options.on(Layer::Landlock) {
        landlock::probe()?;
    }
    if options.on(Layer::Capabilities) {
        identity::keep_few_capabilities()?;
    }
    identity::end_with_parent()?;
    let ended = signals::child_ended()?;
    let last = options.on(Layer::Seccomp).then(Last::new).transpose()?;
    if last.is_some() {
        seccomp::filter::install_once()?;
    }
    Ok((ended, last))
}
