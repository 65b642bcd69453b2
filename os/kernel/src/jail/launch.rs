//! From a launcher to a proc.

use super::Launcher;
use crate::kernel::Kernel;
use crate::machine;
use crate::output::Stream;
use crate::proc::{Proc, Running};
use rustix::pipe::{PipeFlags, pipe_with};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Mutex;

/// Tells a launcher what to become. What goes wrong here or there is the proc's end, with its reason.
pub(super) fn launch(kernel: &Arc<Kernel>, proc: &Arc<Proc>, mut launcher: Launcher) {
    proc.lock().timing.jail = Some(Instant::now());
    let limited = match &mut launcher.slot {
        Some(slot) => kernel.cgroups.limit(slot, proc.spec.class, proc.spec.memory_bytes),
        None => Ok(()),
    };
    // The place is free: a launcher launches once.
    let _ = launcher.owner.proc.set(Arc::clone(proc));
    let told = limited.map_err(|error| format!("its limits: {error}")).and_then(|()| {
        let (frame, fds, executed) =
            order(kernel, proc).map_err(|error| format!("its descriptors: {error}"))?;
        let door = launcher.owner.connection.get().ok_or("its door has gone")?;
        door.send(frame, fds).map_err(|error| error.to_string())?;
        Ok(executed)
    });
    proc.lock().timing.launched = Some(Instant::now());
    match told {
        Ok(executed) => run(proc, launcher, executed),
        Err(reason) => {
            // The process ends with its door; the jail tells its end, which is the proc's.
            proc.lock().not_started = Some(reason);
            launcher.driver.abort();
            if let Some(slot) = launcher.slot {
                proc.lock().running = Some(Running {
                    process: launcher.process,
                    os_pid: launcher.os_pid,
                    door: launcher.owner.connection.get().cloned(),
                    slot: Some(slot),
                    stdin: None,
                    heard: launcher.heard,
                });
            }
        }
    }
}

/// The frame that launches, its descriptors, and the pipe by which a plain binary's execution is seen.
fn order(kernel: &Kernel, proc: &Proc) -> std::io::Result<(Frame, Vec<OwnedFd>, Option<OwnedFd>)> {
    let name = proc.spec.binary.name().unwrap_or("proc").to_owned();
    let plain = !proc.program.sdk;
    let message = proto::Launch {
        args: std::iter::once(name).chain(proc.spec.args.iter().cloned()).collect(),
        env: proc.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        idle: !proc.spec.class.is_lc() && kernel.sched_idle,
        notify: plain,
    };
    let binary = proc.lock().binary.clone().ok_or_else(|| std::io::Error::other("it has ended already"))?;
    let mut fds = vec![OwnedFd::from(binary.file.try_clone()?)];
    let mut executed = None;
    if plain {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fds.push(writer);
        executed = Some(reader);
    }
    Ok((Frame::new(Kind::Notice, 0, "Launcher.Launch", &message), fds, executed))
}

/// Follows what the new proc does.
fn run(proc: &Arc<Proc>, launcher: Launcher, executed: Option<OwnedFd>) {
    let mut inner = proc.lock();
    // An input that nobody asked for is at its end.
    let wanted = proc.wants_input && !inner.input_ended;
    let stdin = wanted.then(|| Sender::from_owned_fd(nonblocking(launcher.stdin)).ok());
    inner.running = Some(Running {
        process: launcher.process,
        os_pid: launcher.os_pid,
        door: launcher.owner.connection.get().cloned(),
        slot: launcher.slot,
        stdin: stdin.flatten().map(|sender| Arc::new(Mutex::new(Some(sender)))),
        heard: launcher.heard,
    });
    for (pipe, stream) in [(launcher.stdout, &proc.stdout), (launcher.stderr, &proc.stderr)] {
        copy(&mut inner.tasks, pipe, stream);
    }
    let driver = launcher.driver;
    inner.tasks.spawn(async move {
        // The door's task ends with the process; its panic would be a bug of ours, not the proc's.
        let _ = driver.await;
    });
    if let Some(executed) = executed {
        let (proc, os_pid) = (Arc::clone(proc), launcher.os_pid);
        inner.tasks.spawn(async move {
            // It closes when the program is executed, or the launcher killed; one that has failed writes a byte before.
            if let Ok(mut pipe) = Receiver::from_owned_fd(executed)
                && let Ok(0) = pipe.read(&mut [0; 1]).await
                && machine::has_executed(os_pid)
            {
                proc.started();
            }
        });
    }
    drop(inner);
    // Whoever waits to feed its input looks again.
    proc.phase.send_modify(|_| {});
}

fn copy(tasks: &mut tokio::task::JoinSet<()>, pipe: OwnedFd, stream: &Arc<Stream>) {
    let stream = Arc::clone(stream);
    // The jail has made it, so that what it is need not be asked.
    match Receiver::from_owned_fd_unchecked(nonblocking(pipe)) {
        Ok(pipe) => drop(tasks.spawn(async move { stream.pump(pipe).await })),
        Err(error) => tracing::error!(%error, "a pipe of a proc cannot be read"),
    }
}

fn nonblocking(pipe: OwnedFd) -> OwnedFd {
    // A pipe takes this flag; if it did not, the conversion that follows would say so.
    let _ = rustix::io::ioctl_fionbio(&pipe, true);
    pipe
}

/// Lets go of a launcher that is not needed: it ends with its door.
pub(super) fn discard(kernel: &Arc<Kernel>, launcher: Launcher) {
    launcher.driver.abort();
    if let Some(slot) = launcher.slot {
        kernel.remove_slot(slot);
    }
}
