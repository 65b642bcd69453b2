//! A client of one realm, with the verbs of the stories: each waits for its event, and not for ever.

use crate::within;
use sigmaos::rpc::Bytes;
use sigmaos::{Pid, ProcSpec, Realm, Result, Sigma, Status, proto};
use std::path::PathBuf;

/// A client of a realm, outside of any proc.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub sigma: Sigma,
    pub realm: Realm,
    /// Where the programs are that can be uploaded.
    programs: PathBuf,
}

impl Tenant {
    pub(crate) fn new(sigma: Sigma, realm: Realm, programs: PathBuf) -> Self {
        Self { sigma, realm, programs }
    }

    /// Uploads a program of the installation, where it is not there yet, and gives its path.
    pub async fn upload(&self, name: &str) -> String {
        let path = format!("/bin/{name}");
        if within("stat of a program", self.sigma.stat(&path)).await.is_err() {
            let contents = std::fs::read(self.programs.join(name)).expect("a program of the installation");
            within("an upload", self.sigma.put_file(&path, contents)).await.expect("the upload succeeds");
        }
        path
    }

    /// The spec of a command line: a program of the installation, and its arguments.
    pub async fn spec(&self, line: &str) -> ProcSpec {
        let mut words = line.split_whitespace();
        let path = self.upload(words.next().expect("a program")).await;
        ProcSpec::new(&path).expect("a right path").args(words)
    }

    /// Queues a BE proc.
    pub async fn spawn(&self, line: &str) -> Pid {
        let spec = self.spec(line).await;
        self.spawn_spec(spec).await
    }

    /// Queues an LC proc.
    pub async fn spawn_lc(&self, mcpu: u32, line: &str) -> Pid {
        let spec = self.spec(line).await.latency_critical(mcpu);
        self.spawn_spec(spec).await
    }

    pub async fn spawn_spec(&self, spec: ProcSpec) -> Pid {
        self.try_spawn(spec).await.expect("it can be spawned")
    }

    pub async fn try_spawn(&self, spec: ProcSpec) -> Result<Pid> {
        within("a spawn", self.sigma.spawn(spec)).await
    }

    /// Queues a proc whose output is followed, and that takes input.
    pub async fn spawn_followed(&self, line: &str) -> Pid {
        let spec = self.spec(line).await;
        let request = proto::SpawnRequest { spec: Some(spec.into()), follow: true, input: true };
        within("a spawn", self.sigma.spawn_with(request)).await.expect("it can be spawned")
    }

    /// Queues a proc and waits until it has started.
    pub async fn start(&self, line: &str) -> Pid {
        let pid = self.spawn(line).await;
        self.wait_start(pid).await.expect("it starts");
        pid
    }

    /// Runs a BE proc to its end.
    pub async fn run(&self, line: &str) -> Status {
        let pid = self.spawn(line).await;
        self.wait_exit(pid).await
    }

    pub async fn wait_start(&self, pid: Pid) -> Result<()> {
        within(&format!("the start of {pid}"), self.sigma.wait_start(pid)).await
    }

    pub async fn wait_exit(&self, pid: Pid) -> Status {
        within(&format!("the end of {pid}"), self.sigma.wait_exit(pid)).await.expect("its status is kept")
    }

    pub async fn kill(&self, pid: Pid) {
        within("a kill", self.sigma.kill(pid)).await.expect("the proc is known");
    }

    pub async fn info(&self, pid: Pid) -> proto::ProcInfo {
        within("the info of a proc", self.sigma.info(pid)).await.expect("the proc is known")
    }

    /// All that a proc wrote to its standard output, when it has ended.
    pub async fn stdout(&self, pid: Pid) -> String {
        self.stream(pid, false, |_, end| end).await
    }

    /// All that a proc wrote to its standard error, when it has ended.
    pub async fn stderr(&self, pid: Pid) -> String {
        self.stream(pid, true, |_, end| end).await
    }

    /// Waits until a proc has written `text` to its standard output.
    pub async fn said(&self, pid: Pid, text: &str) -> String {
        let said = self.stream(pid, false, |said, end| end || said.contains(text)).await;
        assert!(said.contains(text), "{pid} ended and said only {said:?}");
        said
    }

    /// Reads a stream until it is enough.
    async fn stream(&self, pid: Pid, stderr: bool, enough: impl Fn(&str, bool) -> bool) -> String {
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let output =
                within(&format!("the output of {pid}"), self.sigma.output(pid, stderr, offset)).await;
            let output = output.expect("the proc is known");
            offset = output.offset + output.bytes.len() as u64;
            all.extend_from_slice(&output.bytes);
            let said = String::from_utf8_lossy(&all);
            if enough(&said, output.end) {
                return said.into_owned();
            }
        }
    }

    /// Writes to the standard input of a proc, and ends it.
    pub async fn feed(&self, pid: Pid, input: impl Into<Bytes>) -> Result<()> {
        within("input", self.sigma.input(pid, input.into(), true)).await
    }
}
