//! A machine: an installation, a state directory of its own, and the kernel that runs on it.

use crate::{Tenant, host, within};
use serde_json::Value;
use sigmaos::stub::AdminClient;
use sigmaos::{Code, Realm, Sigma, proto};
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a machine may take to end.
const DOWN_DEADLINE: Duration = Duration::from_secs(20);

/// Lines of the kernel's log that a failure shows.
const LOG_LINES: usize = 40;

/// A machine with a kernel. Dropping it ends the kernel, and checks that nothing is left.
#[derive(Debug)]
pub struct Machine {
    dist: PathBuf,
    state: TempDir,
    /// Options of `sigma up`.
    options: Vec<String>,
    /// The machine's id, once it has booted.
    id: String,
    /// The kernel ends with this: also where the story is killed.
    lifeline: Option<PipeWriter>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    /// Boots a kernel on a new state directory.
    pub async fn boot(options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        let state = tempfile::Builder::new().prefix("sigma-story-").tempdir().expect("a state directory");
        let mut machine = Self { dist: dist(), state, options, id: String::new(), lifeline: None };
        machine.boot_again().await;
        machine
    }

    /// Boots a kernel on the same state.
    pub async fn boot_again(&mut self) {
        let mut args = vec!["up", "--ends-with-input"];
        args.extend(self.options.iter().map(String::as_str));
        let (input, lifeline) = std::io::pipe().expect("a pipe");
        let up = self.sigma(&args).stdin(input).output();
        let output = within("sigma up", up).await.expect("sigma can be executed");
        assert!(output.status.success(), "sigma up: {}", String::from_utf8_lossy(&output.stderr));
        self.lifeline = Some(lifeline);
        self.id = text(&self.status().await["machine"]);
    }

    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The file of a program of the installation.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dist.join("proc").join(name)
    }

    /// A command line of `sigma` on this machine.
    pub fn sigma(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dist.join("bin/sigma"));
        command.args(args).env("SIGMA_STATE", self.state()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `sigma`, without any input.
    pub async fn cli(&self, args: &[&str]) -> Said {
        self.cli_with(args, b"").await
    }

    /// Runs `sigma` with input.
    pub async fn cli_with(&self, args: &[&str], input: &[u8]) -> Said {
        let mut child = self.sigma(args).stdin(Stdio::piped()).spawn().expect("sigma can be executed");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        let feed = async move {
            // A command that reads nothing closes its input; then there is nothing to feed.
            let _ = stdin.write_all(input).await;
        };
        let done = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = within(&format!("sigma {}", args.join(" ")), done).await.expect("sigma runs");
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `sigma`, which must succeed; gives its standard output.
    pub async fn ok(&self, args: &[&str]) -> String {
        let said = self.cli(args).await;
        assert_eq!(said.code, 0, "sigma {}: {}", args.join(" "), said.stderr);
        said.stdout
    }

    /// Sets what the operator has in a file, as a secret.
    pub async fn set_from_file(&self, realm: &str, key: &str, value: &str) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), value).expect("a file of our own");
        self.ok(&["realm", "set", realm, &format!("{key}=@{}", file.path().display())]).await;
    }

    /// Runs `sigma`, which must fail with this exit code and one sentence that holds each of these words.
    pub async fn fails(&self, args: &[&str], code: i32, words: &[&str]) -> String {
        let said = self.cli(args).await;
        said.failed(code, words);
        said.stderr
    }

    pub async fn status(&self) -> Value {
        json(&self.ok(&["status", "--json"]).await)
    }

    /// The kernel, for the operator's calls.
    pub fn operator(&self) -> AdminClient {
        AdminClient(Sigma::connect(self.state(), None).expect("the kernel listens").kernel().clone())
    }

    /// A client of a realm, which is made where it is missing.
    pub async fn realm(&self, name: &str) -> Tenant {
        let operator = self.operator();
        let create = operator.realm_create(proto::RealmRequest { name: name.into() });
        if let Err(error) = within("a realm", create).await {
            assert_eq!(error.code, Code::Exists, "{error}");
        }
        let realm = Realm::parse(name).expect("a realm's name");
        let sigma = Sigma::connect(self.state(), Some(&realm)).expect("the kernel listens");
        Tenant::new(sigma, realm, self.dist.join("proc"))
    }

    /// One more client of a realm that exists: a tool of its own.
    pub fn client(&self, realm: &str) -> Sigma {
        let realm = Realm::parse(realm).expect("a realm's name");
        Sigma::connect(self.state(), Some(&realm)).expect("the kernel listens")
    }

    /// The process of the kernel, as the host numbers it.
    pub async fn sigmad(&self) -> u32 {
        self.status().await["os_pid"].as_u64().expect("a process") as u32
    }

    /// The processes of the machine: all that hold its lock.
    pub fn processes(&self) -> Vec<u32> {
        host::holders(&self.state().join("lock"))
    }

    /// Whether this machine's procs are in control groups.
    pub async fn has_cgroups(&self) -> bool {
        self.layer("cgroup").await.0
    }

    /// Whether a layer of the sandbox is on, and what is noted of it.
    pub async fn layer(&self, name: &str) -> (bool, String) {
        let status = self.status().await;
        let layers = status["layers"].as_array().expect("layers");
        let layer = layers.iter().find(|layer| layer["name"] == name).expect("this layer");
        (layer["on"] == true, text(&layer["note"]))
    }

    /// Lets go of the kernel, as the end of this process would.
    pub fn let_go(&mut self) {
        self.lifeline = None;
    }

    pub async fn kill_9_sigmad(&self) {
        host::kill(self.sigmad().await);
    }

    /// Kills the kernel process of this name, which the kernel has started.
    pub async fn kill_9(&self, name: &str) -> u32 {
        let sigmad = self.sigmad().await;
        let child = host::children(sigmad).into_iter().find(|pid| host::name(*pid) == name);
        let pid = child.unwrap_or_else(|| panic!("sigmad has no child {name}"));
        host::kill(pid);
        pid
    }

    /// The last lines of the kernel's log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.state().join("sigmad.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Ends the kernel by `sigma down`, or by force where that does not do.
    fn end(&self) -> Result<(), String> {
        let mut down = std::process::Command::new(self.dist.join("bin/sigma"));
        down.arg("down").env("SIGMA_STATE", self.state()).stderr(Stdio::null());
        let mut child = down.spawn().map_err(|error| error.to_string())?;
        let deadline = Instant::now() + DOWN_DEADLINE;
        while child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                self.processes().into_iter().for_each(host::kill);
                return Err(format!("'sigma down' takes longer than {DOWN_DEADLINE:?}"));
            }
            // A drop cannot wait for an event with a deadline.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// What a machine that has ended left behind.
    fn leftovers(&self) -> Vec<String> {
        let processes =
            self.processes().into_iter().map(|pid| format!("process {pid}: {}", host::command(pid)));
        let tops = [format!("sigmaos-{}", self.id), format!("sigmaos-{}-be", self.id)];
        let groups = tops
            .iter()
            .flat_map(|top| host::cgroups(top))
            .map(|group| format!("control group {}", group.display()));
        let mounts = host::mounts_below(self.state()).into_iter().map(|mount| format!("mount {mount}"));
        processes.chain(groups).chain(mounts).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the kernel's log:\n{}\n", self.log_tail());
        }
        let ended = self.end();
        let left = self.leftovers();
        if std::thread::panicking() {
            eprintln!("at the end: {ended:?}, left behind: {left:?}");
            return;
        }
        assert_eq!(ended, Ok(()), "{}", self.log_tail());
        assert_eq!(left, [""; 0], "left behind\n{}", self.log_tail());
    }
}

impl Said {
    /// Asserts that the command failed with this code, in one sentence that holds each of these words.
    pub fn failed(&self, code: i32, words: &[&str]) {
        let stderr = self.stderr.trim_end();
        assert_eq!(self.code, code, "{stderr}");
        assert!(!stderr.contains('\n') && !stderr.contains("panicked"), "not one sentence: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{stderr:?} does not say {word:?}");
        }
    }
}

/// The installation that stories run.
pub(crate) fn dist() -> PathBuf {
    let dist =
        std::env::var_os("SIGMA_DIST").map(PathBuf::from).filter(|dist| dist.join("bin/sigma").exists());
    dist.expect("SIGMA_DIST must name an installation: 'cargo xtask build' makes target/dist")
}

/// What `--json` prints.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?} is no JSON: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
