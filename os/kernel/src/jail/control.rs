//! The conversation with a jail.

use super::{Jail, Launcher, Unplaced, launch};
use crate::kernel::Kernel;
use crate::proc::End;
use crate::session;
use crate::supervise::Program;
use rustix::io::Errno;
use sigma_abi::frame::Frame;
use sigma_abi::limits::DEFAULT_MEMORY;
use sigma_abi::{Code, Error, Result, proto};
use sigmaos::wire::{Connection, Session};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// From the first death of a jail to its next start; doubled at each further one, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
const HEALTHY: Duration = Duration::from_secs(10);

pub(super) async fn supervise(kernel: Arc<Kernel>, jail: Arc<Jail>, program: Program) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let born = Instant::now();
        let reason = match live(&kernel, &jail, &program).await {
            Ok(reason) => reason,
            Err(error) => Error::new(Code::Internal, format!("the jail cannot be executed: {error}")),
        };
        tracing::warn!(realm = %jail.realm, %reason, "a jail has ended");
        jail.standing.send_if_modified(|standing| {
            let silent = standing.is_none();
            if silent {
                *standing = Some(Err(reason.message.clone()));
            }
            silent
        });
        jail.died(&kernel, &format!("the realm's jail ended: {}", reason.message));
        if born.elapsed() > HEALTHY {
            backoff = FIRST_BACKOFF;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// One life of the jail: why it ended.
async fn live(kernel: &Arc<Kernel>, jail: &Arc<Jail>, program: &Program) -> std::io::Result<Error> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs.into_std()?);
    rustix::io::ioctl_fionbio(&theirs, false)?;
    let mut child = program.execute(theirs)?;
    let place = Arc::new(OnceLock::<Connection>::new());
    let first = First { kernel: Arc::clone(kernel), jail: Arc::clone(jail), control: Arc::clone(&place) };
    let (control, driver) = Connection::new(ours, true, Box::new(move |frame| first.word(frame)));
    let _ = place.set(control);
    let reason = driver.await;
    // It ends by itself when its control socket has closed; if it should not, dropping the child kills it.
    drop(place);
    let _ = tokio::time::timeout(Duration::from_secs(2), child.wait()).await;
    Ok(reason)
}

/// Reads the jail's first word: it stands, or it does not.
struct First {
    kernel: Arc<Kernel>,
    jail: Arc<Jail>,
    control: Arc<OnceLock<Connection>>,
}

impl First {
    fn word(self, frame: &Frame) -> Result<Arc<dyn Session>> {
        if frame.method() == "Jail.Failed" {
            let failed: proto::JailFailed = frame.message().map_err(|error| protocol(error.to_string()))?;
            let reason = format!("the sandbox layer {:?} cannot be set up: {}", failed.layer, failed.message);
            self.jail.standing.send_replace(Some(Err(reason.clone())));
            // A jail that does not stand takes what waits for it along.
            self.jail.died(&self.kernel, &reason);
            return Err(Error::new(Code::Unsupported, reason));
        }
        if frame.method() != "Jail.Ready" {
            return Err(protocol(format!("a jail began with {:?}", frame.method())));
        }
        let ready: proto::JailReady = frame.message().map_err(|error| protocol(error.to_string()))?;
        self.jail.lock().control = self.control.get().cloned();
        self.jail.standing.send_replace(Some(Ok(ready.layers)));
        for class in [proto::Class::Be, proto::Class::Lc] {
            self.jail.refill(class);
        }
        Ok(Arc::new(Control { kernel: self.kernel, jail: self.jail }))
    }
}

/// What a jail tells.
struct Control {
    kernel: Arc<Kernel>,
    jail: Arc<Jail>,
}

impl Session for Control {
    fn call(&self, call: sigmaos::rpc::Call) -> sigmaos::rpc::Answer {
        sigmaos::rpc::unknown_method(&call)
    }

    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        match frame.method() {
            "Jail.Launcher" => {
                let ready: proto::LauncherReady =
                    frame.message().map_err(|error| protocol(error.to_string()))?;
                let fds = <[OwnedFd; 5]>::try_from(fds)
                    .map_err(|_| protocol("a launcher comes with five descriptors".into()))?;
                let life = self.jail.placing(ready.process);
                tokio::spawn(place(Arc::clone(&self.kernel), Arc::clone(&self.jail), life, ready, fds));
                Ok(())
            }
            "Jail.Exited" => {
                let exited: proto::LauncherExited =
                    frame.message().map_err(|error| protocol(error.to_string()))?;
                self.exited(&exited);
                Ok(())
            }
            other => Err(protocol(format!("a jail says {other:?}"))),
        }
    }
}

impl Control {
    fn exited(&self, exited: &proto::LauncherExited) {
        let proc = {
            let mut state = self.jail.lock();
            // A launcher that ended before it was needed leaves the pool.
            for pool in &mut state.pools {
                let gone = pool.ready.iter().position(|launcher| launcher.process == exited.process);
                if let Some(launcher) = gone.and_then(|at| pool.ready.remove(at)) {
                    launch::discard(&self.kernel, launcher);
                }
            }
            // One that is being placed is not used afterwards.
            if let Some(ended) = state.placing.get_mut(&exited.process) {
                *ended = true;
            }
            state.running.remove(&exited.process)
        };
        if let Some(proc) = proc {
            let end = match (exited.exit_code, exited.signal) {
                (Some(code), _) => End::ExitCode(code),
                (None, signal) => End::Signal(signal.unwrap_or(9)),
            };
            self.kernel.exited(&proc, end);
        }
    }
}

/// Puts a new launcher in its control group and its door to work; then it is ready.
async fn place(
    kernel: Arc<Kernel>,
    jail: Arc<Jail>,
    life: u64,
    ready: proto::LauncherReady,
    fds: [OwnedFd; 5],
) {
    let [door, pidfd, stdin, stdout, stderr] = fds;
    let class = ready.class();
    let grouped = tokio::task::spawn_blocking({
        let (cgroups, realm) = (Arc::clone(&kernel.cgroups), jail.realm.clone());
        move || match cgroups.on() {
            false => Ok(None),
            true => {
                let process = os_pid(&pidfd).ok_or(Unplaced::Ended)?;
                cgroups.make(&realm, class, process, DEFAULT_MEMORY).map_err(|error| unplaced(&error, &pidfd))
            }
        }
    });
    let made = match grouped.await {
        Ok(Ok(slot)) => {
            with_door(&kernel, ready.process, slot, [door, stdin, stdout, stderr]).map_err(Unplaced::Failed)
        }
        Ok(Err(why)) => Err(why),
        Err(error) => Err(Unplaced::Failed(format!("the control group of a launcher: {error}"))),
    };
    match made {
        Ok(launcher) => jail.ready(&kernel, life, class, launcher),
        Err(why) => jail.unplaced(&kernel, life, class, ready.process, why),
    }
}

/// Why a launcher could not be put into a group: one that has ended meanwhile cannot be put anywhere.
fn unplaced(error: &std::io::Error, pidfd: &OwnedFd) -> Unplaced {
    let gone = error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
    match gone || os_pid(pidfd).is_none() {
        true => Unplaced::Ended,
        false => Unplaced::Failed(format!("the sandbox layer \"cgroup\" cannot be set up: {error}")),
    }
}

fn with_door(
    kernel: &Arc<Kernel>,
    process: i32,
    slot: Option<crate::cgroup::Slot>,
    [door, stdin, stdout, stderr]: [OwnedFd; 4],
) -> std::result::Result<Launcher, String> {
    let door = std::os::unix::net::UnixStream::from(door);
    let door = door.set_nonblocking(true).and_then(|()| UnixStream::from_std(door));
    let (owner, driver) =
        session::door(kernel, door.map_err(|error| format!("the door of a launcher: {error}"))?);
    let driver = tokio::spawn(async move {
        driver.await;
    });
    Ok(Launcher { process, owner, slot, stdin, stdout, stderr, driver })
}

/// The process of a pidfd as this machine numbers it, pidfd_open(2).
/// `None` where it has ended.
fn os_pid(pidfd: &OwnedFd) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

fn protocol(text: String) -> Error {
    Error::new(Code::Protocol, text)
}
