//! The conversation with a jail.

use super::{Jail, Launcher, launch};
use crate::backoff::Backoff;
use crate::cgroup::Slot;
use crate::kernel::Kernel;
use crate::proc::{End, Proc};
use crate::session;
use crate::supervise::{Program, hangs};
use sigma_abi::frame::Frame;
use sigma_abi::{Code, Error, Result, proto};
use sigmaos::wire::{Connection, Session};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// From the first death of a jail to its next start; doubled at each further one, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
const HEALTHY: Duration = Duration::from_secs(10);

/// How long a jail may take to end when its control socket closes: it waits for its procs, which it has killed.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// A jail that has not answered for so long hangs: it waits for no disk, and for nobody but its kernel. What ends in it is not told
/// meanwhile, and nothing can be ended.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// How long the end of a proc waits for the end of its door, which the system has closed before.
const HEAR_DEADLINE: Duration = Duration::from_secs(1);

pub(super) async fn supervise(
    kernel: Arc<Kernel>,
    jail: Arc<Jail>,
    program: Program,
    mut end: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF, HEALTHY);
    loop {
        let born = Instant::now();
        let reason = match live(&kernel, &jail, &program, &mut end).await {
            Ok(reason) => reason,
            Err(error) => Error::new(Code::Internal, format!("the jail cannot be executed: {error}")),
        };
        if *end.borrow() {
            return;
        }
        tracing::warn!(realm = %jail.realm, %reason, "a jail has ended");
        jail.standing.send_if_modified(|standing| {
            let silent = standing.is_none();
            if silent {
                *standing = Some(Err(reason.message.clone()));
            }
            silent
        });
        jail.died(&kernel, &format!("the realm's jail ended: {}", reason.message));
        tokio::select! {
            // One that shall end is not started again.
            _ = end.wait_for(|end| *end) => return,
            () = tokio::time::sleep(backoff.after(born.elapsed())) => {}
        }
    }
}

/// One life of the jail: why it ended.
async fn live(
    kernel: &Arc<Kernel>,
    jail: &Arc<Jail>,
    program: &Program,
    end: &mut watch::Receiver<bool>,
) -> std::io::Result<Error> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = program.execute(theirs.into())?;
    let place = Arc::new(OnceLock::<Connection>::new());
    let first = First { kernel: Arc::clone(kernel), jail: Arc::clone(jail), control: Arc::clone(&place) };
    let (control, driver) = Connection::new(ours, true, Box::new(move |frame| first.word(frame)))
        .map_err(std::io::Error::other)?;
    let _ = place.set(control);
    let reason = tokio::select! {
        reason = driver => reason,
        _ = end.wait_for(|end| *end) => Error::new(Code::Closed, "the kernel ends this jail"),
        () = hangs(&place, HUNG_AFTER) => {
            Error::new(Code::Unreachable, format!("it hangs: it has not answered for {HUNG_AFTER:?}"))
        }
    };
    // It ends by itself when its control socket has closed; if it should not, dropping the child kills it.
    drop(place);
    if tokio::time::timeout(END_DEADLINE, child.wait()).await.is_err() {
        child.kill().await?;
    }
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
            self.jail.refill(&self.kernel, class);
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
                let slot = self.jail.made(ready.class());
                let launcher = with_door(&self.kernel, ready.process, slot, fds).map_err(|error| {
                    Error::new(Code::Internal, format!("the door of a launcher: {error}"))
                })?;
                self.jail.ready(&self.kernel, ready.class(), launcher);
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

    /// A launcher that cannot be reached ends by itself, since its door is closed. It is one that ended before it was used.
    fn bereft(&self, frame: Frame) -> Result<()> {
        let ready: proto::LauncherReady = frame.message().map_err(|error| protocol(error.to_string()))?;
        tracing::error!(realm = %self.jail.realm, "sigmad has no descriptors left for a launcher");
        if let Some(slot) = self.jail.made(ready.class()) {
            self.kernel.remove_slot(slot);
        }
        self.jail.stillborn(&self.kernel, ready.class());
        Ok(())
    }
}

impl Control {
    fn exited(&self, exited: &proto::LauncherExited) {
        let (proc, stillborn) = {
            let mut state = self.jail.lock();
            // A launcher that ended before it was needed leaves the pool.
            let stillborn = state.pools.iter_mut().enumerate().find_map(|(class, pool)| {
                let at = pool.ready.iter().position(|launcher| launcher.process == exited.process)?;
                Some((class, pool.ready.remove(at)?))
            });
            (state.running.remove(&exited.process), stillborn)
        };
        if let Some((class, launcher)) = stillborn {
            launch::discard(&self.kernel, launcher);
            let class = if class == proto::Class::Lc as usize { proto::Class::Lc } else { proto::Class::Be };
            self.jail.stillborn(&self.kernel, class);
        }
        if let Some(proc) = proc {
            let end = match (exited.exit_code, exited.signal) {
                (Some(code), _) => End::ExitCode(code),
                (None, signal) => End::Signal(signal.unwrap_or(9)),
            };
            hear_out(&self.kernel, &proc, end);
        }
    }
}

/// Ends a proc when all is heard that it, or the launcher in its place, said on its door: that came before its end, but by
/// another socket.
fn hear_out(kernel: &Arc<Kernel>, proc: &Arc<Proc>, end: End) {
    let mut inner = proc.lock();
    let heard = inner.running.as_ref().map(|running| running.heard.clone());
    match heard.filter(|heard| heard.has_changed().is_ok()) {
        None => {
            drop(inner);
            kernel.exited(proc, end);
        }
        Some(mut heard) => {
            let (kernel, proc) = (Arc::clone(kernel), Arc::clone(proc));
            inner.tasks.spawn(async move {
                if tokio::time::timeout(HEAR_DEADLINE, heard.changed()).await.is_err() {
                    tracing::warn!(pid = %proc.pid, "the door of a proc that has ended stays open");
                }
                kernel.exited(&proc, end);
            });
        }
    }
}

/// Puts the door of a new launcher to work.
fn with_door(
    kernel: &Arc<Kernel>,
    process: i32,
    slot: Option<Slot>,
    [door, pidfd, stdin, stdout, stderr]: [OwnedFd; 5],
) -> std::io::Result<Launcher> {
    let (owner, driver) = session::door(kernel, door).map_err(std::io::Error::other)?;
    let (open, heard) = watch::channel(());
    let driver = tokio::spawn(async move {
        let _open = open;
        driver.await;
    });
    // One that has ended meanwhile has no number.
    let os_pid = os_pid(&pidfd).unwrap_or(0);
    Ok(Launcher { process, os_pid, owner, slot, stdin, stdout, stderr, driver, heard })
}

/// A launcher's process as the machine numbers it.
fn os_pid(pidfd: &OwnedFd) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

fn protocol(text: String) -> Error {
    Error::new(Code::Protocol, text)
}
