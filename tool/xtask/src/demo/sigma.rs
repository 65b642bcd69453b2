//! The command line `sigma`, as the demo uses it: one kernel, which does not outlive this value.

use super::interrupt::Interrupt;
use anyhow::{Context, Result, ensure};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a command that was interrupted may take to end before it is killed. The kernel's `down` ends whatever
/// such a command left running.
const GRACE: Duration = Duration::from_secs(5);

/// How often a waiting loop looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(20);

pub(super) struct Sigma {
    program: PathBuf,
    state: PathBuf,
    interrupt: Interrupt,
    /// Whether there may be something to shut down.
    up: Cell<bool>,
    /// What the kernel reads from: it ends when this does, which is when this process is gone, however that comes.
    lifeline: Cell<Option<PipeWriter>>,
}

impl Sigma {
    pub(super) fn new(program: PathBuf, state: PathBuf, interrupt: &Interrupt) -> Self {
        Self { program, state, interrupt: interrupt.clone(), up: Cell::default(), lifeline: Cell::default() }
    }

    /// Boots a kernel that ends with this process, unless it is to be left running. Ctrl-C does not stop it half-way: it may
    /// finish, within [`GRACE`], and is then shut down.
    pub(super) fn up(&self, keep: bool) -> Result<()> {
        self.interrupt.check()?;
        self.up.set(true);
        if keep {
            self.undisturbed(&["up"], Stdio::null(), &self.interrupt)?;
        } else {
            let (input, lifeline) = std::io::pipe().context("making a pipe")?;
            self.lifeline.set(Some(lifeline));
            self.undisturbed(&["up", "--ends-with-input"], input.into(), &self.interrupt)?;
        }
        self.interrupt.check()
    }

    /// Shuts down; does nothing if it has been done.
    pub(super) fn down(&self) -> Result<()> {
        if !self.up.replace(false) {
            return Ok(());
        }
        // Whatever happens now, this is what has to be done about it.
        self.undisturbed(&["down"], Stdio::null(), &Interrupt::default())
    }

    /// Leaves it running, and says how it is ended.
    pub(super) fn leave(&self) -> Result<()> {
        self.up.set(false);
        eprintln!(
            "The kernel runs on; end it with: {} --state {} down",
            self.program.display(),
            self.state.display()
        );
        Ok(())
    }

    /// Runs a command, which writes to our own output. Ctrl-C reaches it, too, since it is of our process group; it
    /// gets some time to end by itself.
    pub(super) fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
        self.interrupt.check()?;
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::null()).spawn();
        let status = self.wait(child, &self.interrupt)?;
        self.interrupt.check()?;
        let first = arguments.first().map(|name| name.as_ref().display().to_string()).unwrap_or_default();
        ensure!(status.success(), "sigma {first} failed ({status}): its message is above");
        Ok(())
    }

    /// Runs a command that Ctrl-C does not reach, since it is not of our process group.
    fn undisturbed(&self, arguments: &[&str], input: Stdio, interrupt: &Interrupt) -> Result<()> {
        let mut command = self.command(arguments);
        command.process_group(0).stdin(input).stdout(Stdio::null());
        let status = self.wait(command.spawn(), interrupt)?;
        ensure!(status.success(), "sigma {} failed ({status}): its message is above", arguments.join(" "));
        Ok(())
    }

    /// Waits for a command, which gets [`GRACE`] to end once it is interrupted.
    fn wait(&self, child: std::io::Result<Child>, interrupt: &Interrupt) -> Result<ExitStatus> {
        let mut child = child.with_context(|| format!("starting {}", self.program.display()))?;
        while child.try_wait().context("waiting for sigma")?.is_none() {
            if interrupt.is_asked() {
                end(&mut child)?;
                break;
            }
            std::thread::sleep(POLL);
        }
        child.wait().context("waiting for sigma")
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
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
        let script = "#!/bin/sh\nshift\necho \"$@\" >> \"$1.log\"\nshift\n[ \"$1\" != bad ]\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// The first word of each command.
    fn asked(folder: &std::path::Path) -> Vec<String> {
        let log = fs::read_to_string(folder.join("state.log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn what_was_booted_is_shut_down_once_also_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let sigma = Sigma::new(pretend(folder.path()), folder.path().join("state"), &Interrupt::default());
        sigma.up(false).unwrap();
        sigma.run(&["ls"]).unwrap();
        let error = sigma.run(&["bad"]).unwrap_err();
        assert!(error.to_string().starts_with("sigma bad failed"), "{error}");
        drop(sigma);
        assert_eq!(asked(folder.path()), ["up", "ls", "bad", "down"]);
    }

    #[test]
    fn a_kernel_that_is_to_stay_does_not_end_with_its_input() {
        for (keep, words) in [(true, "up"), (false, "up --ends-with-input")] {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let sigma = Sigma::new(pretend(folder.path()), state.clone(), &Interrupt::default());
            sigma.up(keep).unwrap();
            let log = fs::read_to_string(folder.path().join("state.log")).unwrap();
            assert_eq!(log, format!("{} {words}\n", state.display()));
        }
    }

    #[test]
    fn what_was_never_booted_is_not_shut_down() {
        let folder = tempfile::tempdir().unwrap();
        drop(Sigma::new(pretend(folder.path()), folder.path().join("state"), &Interrupt::default()));
        assert_eq!(asked(folder.path()), [""; 0]);
    }
}
