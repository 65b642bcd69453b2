//! Kernel processes: started, watched, and restarted with back-off.
//!
//! ```text
//!   Down ──execute──▶ Starting ──started()──▶ Up ──its end──▶ Down, for a back-off that grows while it keeps dying
//!                         └──────────── no answer for so long ──▶ killed
//! ```
//!
//! A process that hangs without ending is as good as dead, so each is asked now and then, and one that does not answer is killed
//! and started again like any other that ended.

use crate::backoff::Backoff;
use crate::rank::Ranks;
use crate::realm::proxies::Desk;
use crate::session;
use command_fds::{CommandFdExt, FdMapping};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::DOOR_FD;
use sigma_abi::{Code, Error, Realm, Result, proto};
use sigmaos::wire::Connection;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// From the first death to the next start; doubled at each further death, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A process that lived so long is healthy again.
const HEALTHY: Duration = Duration::from_secs(10);

/// How long a kernel process may take to say that it serves, and others wait for it.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(10);

/// How often a kernel process is asked whether it still answers.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A process that has not answered for so long hangs: longer than any disk that works keeps one waiting, and so short that who has called it
/// is answered by the next one, before its own deadline ([`DEFAULT_DEADLINE`](sigma_abi::limits::DEFAULT_DEADLINE)) is over.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// How long a kernel process may take to end when its door closes.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// The descriptor by which a kernel process holds the lock of the state directory.
const LOCK_FD: i32 = 4;

/// The descriptor from which a proxy reads what the operator set for it.
const SETTINGS_FD: i32 = 5;

/// What to execute.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) lock: OwnedFd,
    /// Where its standard error goes.
    pub(crate) log: File,
    /// The realm that its CPU counts towards, and who sees to that.
    pub(crate) serves: Option<(Realm, Arc<Ranks>)>,
    /// What a proxy may ask the kernel for.
    pub(crate) desk: Option<Desk>,
    /// What it reads from its descriptor 5.
    pub(crate) passed: Option<Passed>,
}

/// A text that a process gets by a pipe. It may be secret, so it is shown nowhere.
pub(crate) struct Passed(pub(crate) String);

impl std::fmt::Debug for Passed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Passed")
    }
}

impl Passed {
    /// A pipe from which it is read.
    fn pipe(&self) -> std::io::Result<OwnedFd> {
        let (read, mut write) = std::io::pipe()?;
        let text = self.0.clone();
        // What a pipe holds is less than what a text may have, and a process that dies never reads.
        drop(tokio::task::spawn_blocking(move || write.write_all(text.as_bytes())));
        Ok(read.into())
    }
}

impl Program {
    /// Executes it with `door` as its descriptor 3.
    pub(crate) fn execute(&self, door: OwnedFd) -> std::io::Result<Child> {
        let mut command = std::process::Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log.try_clone()?);
        // Nothing of the operator's environment is a kernel process' business, but for how much to log.
        command.env_clear().envs(std::env::var("RUST_LOG").map(|level| ("RUST_LOG", level)));
        let mut mappings = vec![
            FdMapping { parent_fd: door, child_fd: DOOR_FD },
            FdMapping { parent_fd: self.lock.try_clone()?, child_fd: LOCK_FD },
        ];
        if let Some(passed) = &self.passed {
            mappings.push(FdMapping { parent_fd: passed.pipe()?, child_fd: SETTINGS_FD });
        }
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        self.count(child.id());
        Ok(child)
    }

    /// Counts it towards the realm that it serves. It can serve all the same where that fails.
    fn count(&self, os_pid: Option<u32>) {
        let (Some((realm, ranks)), Some(os_pid)) = (self.serves.clone(), os_pid) else { return };
        // Moving a process may take milliseconds.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = ranks.take_in(&realm, os_pid) {
                tracing::warn!(%realm, os_pid, %error, "a kernel process does not count towards its realm");
            }
        }));
    }
}

/// A kernel process that serves. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    door: watch::Receiver<Life>,
    /// It shall end for good.
    ending: watch::Sender<bool>,
    task: AbortHandle,
}

/// Where a kernel process is in its life.
#[derive(Clone, Debug, Default)]
pub(crate) enum Life {
    /// Not up, or not yet again.
    #[default]
    Down,
    /// It said why it cannot serve, and is tried again after a while.
    Failing(Error),
    /// It serves; this is its door.
    Up(Connection),
}

impl Life {
    pub(crate) fn door(&self) -> Option<&Connection> {
        match self {
            Self::Up(door) if door.closed().is_none() => Some(door),
            _ => None,
        }
    }
}

impl Server {
    /// Starts it, and again whenever it ends.
    pub(crate) fn start(program: Program) -> Self {
        let (up, door) = watch::channel(Life::Down);
        let (ending, end) = watch::channel(false);
        let name = program.name.clone();
        let task = tokio::spawn(supervise(program, up, end)).abort_handle();
        Self { name, door, ending, task }
    }

    /// The door of the process, once it serves.
    ///
    /// # Errors
    /// What the process says it fails by; `Unreachable` after [`START_DEADLINE`].
    pub(crate) async fn door(&self) -> Result<Connection> {
        let mut door = self.door.clone();
        let decided = |life: &Life| life.door().is_some() || matches!(life, Life::Failing(_));
        let waited = tokio::time::timeout(START_DEADLINE, door.wait_for(decided)).await;
        match waited.ok().and_then(|life| life.ok().map(|life| life.clone())) {
            Some(Life::Up(door)) => Ok(door),
            Some(Life::Failing(why)) => Err(why.context(format!("{} cannot serve", self.name))),
            _ => {
                let text = format!("{} does not start; the kernel's log says why", self.name);
                Err(Error::new(Code::Unreachable, text))
            }
        }
    }

    /// Tells it to end for good.
    pub(crate) fn stop(&self) {
        self.ending.send_replace(true);
    }

    /// Waits until a process that was told to end is gone, which is soon: one that does not end is killed.
    pub(crate) async fn gone(&self) {
        // Its supervisor lets go of this when it has reaped the process.
        self.ending.closed().await;
    }

    /// Tells each life of the process.
    pub(crate) fn doors(&self) -> watch::Receiver<Life> {
        self.door.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn supervise(program: Program, up: watch::Sender<Life>, mut end: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF, HEALTHY);
    loop {
        let born = Instant::now();
        match live(&program, &up, &mut end).await {
            Ok(status) if *end.borrow() => {
                tracing::debug!(program = program.name, %status, "a kernel process was ended");
            }
            Ok(status) => tracing::warn!(program = program.name, %status, "a kernel process has ended"),
            Err(error) => {
                tracing::error!(program = program.name, %error, "a kernel process cannot be started")
            }
        }
        up.send_if_modified(|life| {
            let was_up = matches!(life, Life::Up(_));
            if was_up {
                *life = Life::Down;
            }
            was_up
        });
        tokio::select! {
            () = told(&mut end) => return,
            () = tokio::time::sleep(backoff.after(born.elapsed())) => {}
        }
    }
}

/// Waits until it shall end for good.
async fn told(end: &mut watch::Receiver<bool>) {
    // Where nobody can tell any more, the task is aborted.
    let _ = end.wait_for(|end| *end).await;
}

/// One life of the process.
async fn live(
    program: &Program,
    up: &watch::Sender<Life>,
    end: &mut watch::Receiver<bool>,
) -> std::io::Result<std::process::ExitStatus> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = program.execute(theirs.into())?;
    let served = session::kernel_process(ours.into(), up.clone(), program.desk.clone());
    let (connection, driver) = served.map_err(std::io::Error::other)?;
    let mut driver = std::pin::pin!(driver);
    tokio::select! {
        status = child.wait() => {
            // What it said last is still to be read, and then the end of its door.
            if let Ok(reason) = tokio::time::timeout(END_DEADLINE, &mut driver).await {
                failed(up, reason);
            }
            return status;
        }
        reason = &mut driver => {
            tracing::warn!(program = program.name, %reason, "a kernel process closed its door");
            failed(up, reason);
        }
        () = told(end) => {
            if let Some(door) = connection.get() {
                door.close(Error::new(Code::Closed, "the kernel ends this process"));
            }
        }
        () = hangs(&connection, HUNG_AFTER) => {
            tracing::error!(program = program.name, "a kernel process hangs: it has not answered for {HUNG_AFTER:?}, and is killed");
            child.kill().await?;
        }
    };
    drop(connection);
    match tokio::time::timeout(END_DEADLINE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.kill().await?;
            child.wait().await
        }
    }
}

/// Returns when the process has not answered for so long. What it answers does not matter.
pub(crate) async fn hangs(door: &OnceLock<Connection>, after: Duration) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let Some(door) = door.get() else { continue };
        let ask = Frame::new(Kind::Call, 0, "Link.Ping", &proto::Empty {});
        if tokio::time::timeout(after, door.call(ask)).await.is_err() {
            return;
        }
    }
}

/// Keeps why a process could not serve. One that ends without a word crashed, and is soon up again.
fn failed(up: &watch::Sender<Life>, reason: Error) {
    up.send_modify(|life| {
        let silent = matches!(reason.code, Code::Unreachable | Code::Closed);
        if !silent && !matches!(life, Life::Up(_)) {
            *life = Life::Failing(reason);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sleep` says nothing on its door, as a process does that hangs.
    fn silent(lock: OwnedFd) -> Program {
        let log = File::open("/dev/null").unwrap();
        let args = vec!["1000".to_owned()];
        Program {
            name: "silent".to_owned(),
            path: "/bin/sleep".into(),
            args,
            lock,
            log,
            serves: None,
            desk: None,
            passed: None,
        }
    }

    fn running(server: &Server) -> bool {
        !server.ending.is_closed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_answer_is_killed() {
        let (up, _life) = watch::channel(Life::Down);
        let (_ending, mut end) = watch::channel(false);
        let began = tokio::time::Instant::now();
        let status = live(&silent(File::open("/dev/null").unwrap().into()), &up, &mut end).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(began.elapsed() >= HUNG_AFTER, "after {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_process_that_was_told_to_end_is_gone_though_it_does_not_listen() {
        let server = Server::start(silent(File::open("/dev/null").unwrap().into()));
        assert!(running(&server));
        server.stop();
        tokio::time::timeout(END_DEADLINE * 3, server.gone()).await.expect("it is killed");
        assert!(!running(&server));
    }
}
