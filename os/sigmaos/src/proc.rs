//! The proc API (thesis, Figure A.1).

use crate::rpc::Bytes;
use crate::sigma::Sigma;
use crate::{Pid, ProcSpec, Result, Status, proto};

/// A piece of a proc's standard output or error.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where it begins in the stream; past the asked offset where the middle was not kept.
    pub offset: u64,
    pub bytes: Bytes,
    /// Nothing follows.
    pub end: bool,
}

impl Sigma {
    /// Queues a proc and returns its pid.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/plain")?.args(["exit:0"])).await?;
    /// assert!(sigma.wait_exit(pid).await?.is_ok());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the binary; `Invalid` naming the field; `Quota` past the realm's limits.
    pub async fn spawn(&self, spec: ProcSpec) -> Result<Pid> {
        self.spawn_with(proto::SpawnRequest { spec: Some(spec.into()), follow: false, input: false }).await
    }

    /// As [`Sigma::spawn`], for a caller that follows the output or feeds the input.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::SpawnRequest;
    /// let spec = sigmaos::ProcSpec::new("/bin/plain")?.args(["copy-input"]);
    /// let pid = sigma.spawn_with(SpawnRequest { spec: Some(spec.into()), follow: true, input: true }).await?;
    /// sigma.input(pid, "hello".into(), true).await?;
    /// assert!(sigma.wait_exit(pid).await?.is_ok());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::spawn`].
    pub async fn spawn_with(&self, request: proto::SpawnRequest) -> Result<Pid> {
        self.inner.proc.spawn(request).await?.pid.parse()
    }

    /// Waits until a proc has started, in its first life or a later one: it called `started`, or, for a plain binary, was
    /// executed.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["start", "wait-kill"])).await?;
    /// sigma.wait_start(pid).await?;
    /// sigma.kill(pid).await?;
    /// // One that ends before it has started says how.
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["fail:no work"])).await?;
    /// let error = sigma.wait_start(pid).await.unwrap_err();
    /// assert_eq!(error.code, sigmaos::Code::Ended);
    /// assert!(error.message.contains("no work"));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Ended`, telling the status, where it ended before; `NotFound` for an unknown pid.
    pub async fn wait_start(&self, pid: Pid) -> Result<()> {
        self.inner.proc.wait_start(request(pid)).await.map(drop)
    }

    /// Waits until a proc has ended; one that is restarted, until its last end. Any proc of the realm may ask, any number of
    /// times, also after the kernel was restarted.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::{Cause, Status};
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/plain")?.args(["exit:3"])).await?;
    /// let Status::Crashed { cause, .. } = sigma.wait_exit(pid).await? else { panic!("3 is no success") };
    /// assert_eq!(cause, Cause::ExitCode(3));
    /// // It is kept for others who ask.
    /// assert!(!sigma.wait_exit(pid).await?.is_ok());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` for an unknown pid, or one whose status is no longer kept.
    pub async fn wait_exit(&self, pid: Pid) -> Result<Status> {
        self.inner.proc.wait_exit(request(pid)).await?.try_into()
    }

    /// Waits until somebody asks this proc to end. It then has its grace period to do so.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// // This proc says that it is ready, and calls `wait_kill`.
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["start", "wait-kill", "ok:in order"])).await?;
    /// sigma.wait_start(pid).await?;
    /// sigma.kill(pid).await?;
    /// assert!(sigma.wait_exit(pid).await?.is_ok());
    /// // A tool outside is no proc.
    /// assert_eq!(sigma.wait_kill().await.unwrap_err().code, sigmaos::Code::Invalid);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Unreachable` where the kernel has gone; the proc is about to be killed.
    pub async fn wait_kill(&self) -> Result<()> {
        self.inner.proc.wait_kill(proto::Empty {}).await.map(drop)
    }

    /// Says that this proc is ready for its work.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// // This proc calls `started`; only then does `wait_start` return.
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["start", "wait-kill"])).await?;
    /// sigma.wait_start(pid).await?;
    /// assert_eq!(sigma.started().await.unwrap_err().code, sigmaos::Code::Invalid, "a tool is no proc");
    /// sigma.kill(pid).await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Unreachable` where the kernel has gone.
    pub async fn started(&self) -> Result<()> {
        self.inner.proc.started(proto::Empty {}).await.map(drop)
    }

    /// Says how this proc ends; it should then end. What counts is what it said first.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::Status;
    /// // This proc calls `exited` with a message and data for whoever waits for its end.
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["ok:done,42"])).await?;
    /// let Status::Ok { message, data } = sigma.wait_exit(pid).await? else { panic!("it ends well") };
    /// assert_eq!((message.as_str(), &data[..]), ("done", &b"42"[..]));
    /// assert_eq!(sigma.exited(Status::ok()).await.unwrap_err().code, sigmaos::Code::Invalid, "a tool is no proc");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `TooLarge` for too much data.
    pub async fn exited(&self, status: Status) -> Result<()> {
        self.inner.proc.exited(status.into()).await.map(drop)
    }

    /// Asks a proc to end; after its grace period the kernel kills it. Asking one that has ended changes nothing.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/actor")?.args(["start", "wait-kill"])).await?;
    /// sigma.kill(pid).await?;
    /// sigma.wait_exit(pid).await?;
    /// sigma.kill(pid).await?;
    /// let nobody = sigmaos::Pid { number: 999_999, ..pid };
    /// assert_eq!(sigma.kill(nobody).await.unwrap_err().code, sigmaos::Code::NotFound);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` for an unknown pid.
    pub async fn kill(&self, pid: Pid) -> Result<()> {
        self.inner.proc.kill(request(pid)).await.map(drop)
    }

    /// What the kernel knows of a proc: state, timing, what it waits for.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/plain")?.args(["exit:0"])).await?;
    /// sigma.wait_exit(pid).await?;
    /// let info = sigma.info(pid).await?;
    /// assert_eq!(info.pid, pid.to_string());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` for an unknown pid.
    pub async fn info(&self, pid: Pid) -> Result<proto::ProcInfo> {
        self.inner.proc.info(request(pid)).await
    }

    /// The procs of the realm, in the order of their spawn; with `all` also those that have ended and are still kept.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/plain")?.args(["exit:0"])).await?;
    /// sigma.wait_exit(pid).await?;
    /// assert_eq!((sigma.procs(false).await?.len(), sigma.procs(true).await?.len()), (0, 1));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn procs(&self, all: bool) -> Result<Vec<proto::ProcInfo>> {
        let mut pages = Vec::new();
        let mut before = String::new();
        loop {
            let page = self.inner.proc.list(proto::ListRequest { all, before }).await?;
            before = page.procs.first().map(|proc| proc.pid.clone()).unwrap_or_default();
            let more = page.more && !before.is_empty();
            pages.push(page.procs);
            if !more {
                return Ok(pages.into_iter().rev().flatten().collect());
            }
        }
    }

    /// Waits for output of a proc past `offset`, or for its end. Of what nobody follows head and tail are kept, also when the
    /// proc has ended.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let pid = sigma.spawn(sigmaos::ProcSpec::new("/bin/plain")?.args(["say:hello", "exit:0"])).await?;
    /// let output = sigma.output(pid, false, 0).await?;
    /// assert_eq!(output.bytes, "hello\n");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` for an unknown pid.
    pub async fn output(&self, pid: Pid, stderr: bool, offset: u64) -> Result<Output> {
        self.read_output(pid, stderr, offset, false).await
    }

    /// As [`Sigma::output`], and from here on nothing is dropped before this client has read it: a proc that writes faster
    /// waits. A proc that is spawned with `follow` is followed from its first byte on.
    ///
    /// # Errors
    /// As [`Sigma::output`].
    pub async fn follow(&self, pid: Pid, stderr: bool, offset: u64) -> Result<Output> {
        self.read_output(pid, stderr, offset, true).await
    }

    async fn read_output(&self, pid: Pid, stderr: bool, offset: u64, follow: bool) -> Result<Output> {
        let request = proto::OutputRequest { pid: pid.to_string(), stderr, offset, follow };
        let reply = self.inner.proc.output_with(request, Bytes::new()).await?;
        Ok(Output { offset: reply.message.offset, bytes: reply.payload, end: reply.message.end })
    }

    /// Writes to the standard input of a proc that was spawned with `input`; `end` closes it.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::SpawnRequest;
    /// let spec = sigmaos::ProcSpec::new("/bin/actor")?.args(["start", "copy-input"]);
    /// let pid = sigma.spawn_with(SpawnRequest { spec: Some(spec.into()), follow: false, input: true }).await?;
    /// sigma.input(pid, "hello".into(), true).await?;
    /// sigma.wait_exit(pid).await?;
    /// assert_eq!(sigma.output(pid, false, 0).await?.bytes, "hello");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Closed` where the proc reads no more; `NotFound`.
    pub async fn input(&self, pid: Pid, bytes: Bytes, end: bool) -> Result<()> {
        self.inner.proc.input_with(proto::InputRequest { pid: pid.to_string(), end }, bytes).await.map(drop)
    }
}

fn request(pid: Pid) -> proto::PidRequest {
    proto::PidRequest { pid: pid.to_string() }
}
