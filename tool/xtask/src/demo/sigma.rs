//! The command line `sigma`, as the demo uses it: one kernel, which does not outlive this value.

use super::interrupt::Interrupt;
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a command that was interrupted may take to end before it is killed. The kernel's `down` ends whatever
/// such a command left running.
const GRACE: Duration = Duration::from_secs(5);

/// How often a waiting loop looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(20);

/// The most lines that wait to be shown.
const LINES: usize = 256;

pub(super) struct Sigma {
    program: PathBuf,
    state: PathBuf,
    interrupt: Interrupt,
    /// Whether there may be something to shut down.
    up: Cell<bool>,
}

impl Sigma {
    pub(super) fn new(program: PathBuf, state: PathBuf, interrupt: &Interrupt) -> Self {
        Self { program, state, interrupt: interrupt.clone(), up: Cell::new(false) }
    }

    /// Boots. Ctrl-C does not stop it half-way: it may finish, within [`GRACE`], and is then shut down.
    pub(super) fn up(&self) -> Result<()> {
        self.interrupt.check()?;
        self.up.set(true);
        self.undisturbed("up", &self.interrupt)?;
        self.interrupt.check()
    }

    /// Shuts down; does nothing if it has been done.
    pub(super) fn down(&self) -> Result<()> {
        if !self.up.replace(false) {
            return Ok(());
        }
        // Whatever happens now, this is what has to be done about it.
        self.undisturbed("down", &Interrupt::default())
    }

    /// Runs a command and returns what it wrote.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String> {
        let mut lines = Vec::new();
        self.lines(arguments, |line| lines.push(line.to_owned()))?;
        Ok(lines.join("\n"))
    }

    /// Runs a command and shows each line that it writes as it comes. Ctrl-C reaches the command, too, since it is
    /// of our process group; it gets some time to end by itself.
    pub(super) fn lines(&self, arguments: &[&str], mut show: impl FnMut(&str)) -> Result<()> {
        self.interrupt.check()?;
        let mut child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let lines = read_lines(child.stdout.take().context("its output was piped")?);
        loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => show(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.interrupt.is_asked() => {
                    end(&mut child)?;
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let status = child.wait().context("waiting for sigma")?;
        self.interrupt.check()?;
        if !status.success() {
            bail!("sigma {} failed ({status}): its message is above", arguments.join(" "));
        }
        Ok(())
    }

    /// Runs a command that Ctrl-C does not reach, since it is not of our process group.
    fn undisturbed(&self, name: &str, interrupt: &Interrupt) -> Result<()> {
        let mut command = self.command(&[name]);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        while child.try_wait().context("waiting for sigma")?.is_none() {
            if interrupt.is_asked() {
                end(&mut child)?;
                break;
            }
            std::thread::sleep(POLL);
        }
        let status = child.wait().context("waiting for sigma")?;
        if !status.success() {
            bail!("sigma {name} failed ({status}): its message is above");
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(&self.state).args(arguments);
        command
    }
}

impl Drop for Sigma {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!(
                "{error:#}; if a kernel still runs: {} --state {} down",
                self.program.display(),
                self.state.display()
            );
        }
    }
}

/// Reads in a thread of its own, which ends with the stream or with the receiver.
fn read_lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(LINES);
    std::thread::spawn(move || {
        let lines = BufReader::new(stream).lines().map_while(|line| line.ok());
        for line in lines {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a child that is about to end, and kills it when its time is over.
fn end(child: &mut Child) -> Result<()> {
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait().context("waiting for sigma")?.is_some() {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    child.kill().context("killing sigma")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A `sigma` that writes down what it was asked for, and fails for `bad`.
    fn pretend(folder: &std::path::Path) -> PathBuf {
        let program = folder.join("sigma");
        let script = "#!/bin/sh\nshift\necho \"$@\" >> \"$1.log\"\nshift\necho \"one $1\"\necho two\n[ \"$1\" != bad ]\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn asked(folder: &std::path::Path) -> Vec<String> {
        let log = fs::read_to_string(folder.join("state.log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn what_was_booted_is_shut_down_once_also_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let sigma = Sigma::new(pretend(folder.path()), folder.path().join("state"), &Interrupt::default());
        sigma.up().unwrap();
        assert_eq!(sigma.output(&["ls"]).unwrap(), "one ls\ntwo");
        let error = sigma.output(&["bad"]).unwrap_err();
        assert!(error.to_string().starts_with("sigma bad failed"), "{error}");
        drop(sigma);
        assert_eq!(asked(folder.path()), ["up", "ls", "bad", "down"]);
    }

    #[test]
    fn what_was_never_booted_is_not_shut_down() {
        let folder = tempfile::tempdir().unwrap();
        drop(Sigma::new(pretend(folder.path()), folder.path().join("state"), &Interrupt::default()));
        assert_eq!(asked(folder.path()), [""; 0]);
    }
}
