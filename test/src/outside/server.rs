//! A server as a child process: it starts, answers, is killed or stopped, and starts again on the same data.

use super::ORDINARY_USER;
use crate::{eventually, host};
use rustix::process::getuid;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Lines of what it said that a failure shows.
const LOG_LINES: usize = 30;

/// A server that runs for as long as this lives, unless it is killed before.
///
/// It also ends with the thread that started it, so keep it in the test that made it.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    port: u16,
    folder: TempDir,
    /// The program and its arguments.
    words: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A folder and a port for a server that does not run yet.
    pub fn new(name: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("sigma-outside-").tempdir().expect("a folder");
        if getuid().is_root() {
            chown(folder.path(), Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("root gives it away");
        }
        Self { name, port: free_port(), folder, words: Vec::new(), child: None }
    }

    /// Where its data may lie. It belongs to the user who runs the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in its folder, as text.
    pub fn place(&self, name: &str) -> String {
        self.folder().join(name).to_str().expect("a temporary path is text").to_owned()
    }

    /// A file in its folder that nobody but the user who runs the server may read.
    pub(super) fn keep(&self, name: &str, contents: &str) -> String {
        let place = self.place(name);
        fs::write(&place, contents).expect("a file of our own");
        if getuid().is_root() {
            chown(&place, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("root gives it away");
        }
        fs::set_permissions(&place, Permissions::from_mode(0o600)).expect("its rights");
        place
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a program to its end as the user who runs the server: what prepares its data.
    pub fn prepare(&self, words: &[String]) {
        let output =
            self.command(words).stdin(Stdio::null()).output().expect("setpriv is part of util-linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {words:?}: {}: {said}", self.name, output.status);
    }

    /// Starts the server, and returns when it answers.
    pub async fn start(&mut self, words: Vec<String>, answers: impl AsyncFn(&Self) -> bool) {
        self.words = words;
        self.start_again(answers).await;
    }

    /// Starts it as it was started before, on the same data and port.
    pub async fn start_again(&mut self, answers: impl AsyncFn(&Self) -> bool) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let errors = log.try_clone().expect("a log twice");
        let mut command = self.command(&self.words);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().expect("setpriv is part of util-linux"));
        let what = format!("{} answers", self.name);
        eventually(&what, async || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "{} ended at its start: {ended:?}", self.name);
            answers(self).await.then_some(())
        })
        .await;
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it and all that it has started, as `kill -9` does, and waits for their end.
    pub fn kill_9(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let below = host::descendants(child.id());
        let _ = child.kill();
        below.iter().copied().for_each(host::kill);
        let _ = child.wait();
        // They hold the port and the data until they are gone; a drop cannot wait for an event with a deadline.
        while below.iter().any(|pid| host::is_alive(*pid)) {
            std::thread::yield_now();
        }
    }

    /// Stops it and all that it has started, so that it answers nothing and closes nothing, until [`Server::thaw`].
    pub fn freeze(&self) {
        let pid = self.pid().expect("it runs");
        // The first one first: it starts the others.
        host::stop(pid);
        host::descendants(pid).into_iter().for_each(host::stop);
    }

    pub fn thaw(&self) {
        let pid = self.pid().expect("it runs");
        host::descendants(pid).into_iter().chain([pid]).for_each(host::go_on);
    }

    /// A command of the user who runs the server; what it starts ends with this thread.
    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if getuid().is_root() {
            let user = ORDINARY_USER;
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        }
        command.args(words).current_dir(self.folder());
        // Two servers of a kind would meet in the temporary files of the system.
        command.env("HOME", self.folder()).env("TMPDIR", self.folder());
        command
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of what {} said:\n{}\n", self.name, self.log_tail());
        }
        self.kill_9();
    }
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    listener.local_addr().expect("it is bound").port()
}
