//! What a benchmark measures the system beside: processes of the program `peer`.

use crate::measured::Measured;
use crate::pin;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// How much a peer, or a proc beside it, does.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Operations that are measured.
    pub count: usize,
    /// Operations before them that are not.
    pub warm_up: usize,
    /// Operations at a time; each is timed where it is one.
    pub in_flight: usize,
    /// Bytes of each.
    pub bytes: usize,
}

impl Load {
    fn args(&self) -> Vec<String> {
        let Self { count, warm_up, in_flight, bytes } = self;
        vec![
            format!("--count={count}"),
            format!("--warm-up={warm_up}"),
            format!("--in-flight={in_flight}"),
            format!("--bytes={bytes}"),
        ]
    }
}

/// A process of `peer` that is ready. It ends with this.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a server.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn serve(program: &Path, mode: &str, socket: &Path) -> Result<Self> {
        Self::start(Command::new(program).arg(mode).arg(socket))
    }

    /// Starts what measures at `place`: a socket or a file.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn measure(program: &Path, mode: &str, place: &Path, load: &Load) -> Result<Self> {
        Self::start(Command::new(program).arg(mode).args(load.args()).arg(place))
    }

    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", command.get_program().to_string_lossy()))?;
        let out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut peer = Self { child, out };
        let mut line = String::new();
        peer.out.read_line(&mut line)?;
        ensure!(line == "ready\n", "{command:?} did not come up: it said {line:?}");
        Ok(peer)
    }

    /// Pins it.
    ///
    /// # Errors
    /// As [`pin::process`].
    pub fn pin(&self, core: usize) -> Result<()> {
        pin::process(self.child.id(), core)
    }

    /// Lets it begin, and reads what it measured.
    ///
    /// # Errors
    /// Where it fails.
    pub fn finish(mut self) -> Result<Measured> {
        self.child.stdin.take().context("its input is a pipe")?.write_all(b"go\n")?;
        let mut text = String::new();
        self.out.read_to_string(&mut text)?;
        Measured::parse(&text)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
