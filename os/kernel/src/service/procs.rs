//! `/proc`: a directory for each proc of the realm that lives or is kept, with what is known of it as JSON, and its output.

use super::tree::{Entry, Files, json, missing, page};
use crate::kernel::Kernel;
use crate::output::shelf::Which;
use crate::realm::Tenant;
use serde_json::{Value, json};
use sigma_abi::{Code, Error, Path, Pid, Result, Status, proto};
use sigmaos::rpc::Bytes;
use std::sync::{Arc, Weak};

/// The files of each proc, in the order of their names.
const FILES: [&str; 5] = ["spec", "status", "stderr", "stdout", "timing"];

/// The procs of one realm.
#[derive(Clone)]
pub(crate) struct ProcFiles {
    pub(crate) kernel: Arc<Kernel>,
    /// A session must not keep a realm that is removed.
    pub(crate) realm: Weak<Tenant>,
}

/// A path in the tree.
enum Place<'a> {
    Top,
    Proc(Pid),
    File(Pid, &'a str),
}

impl ProcFiles {
    fn realm(&self) -> Result<Arc<Tenant>> {
        self.realm.upgrade().ok_or_else(|| Error::new(Code::NotFound, "the realm was removed"))
    }

    fn place<'a>(&self, path: &'a Path) -> Result<Place<'a>> {
        let mut names = path.names();
        let Some(pid) = names.next() else { return Ok(Place::Top) };
        // What is no pid is nobody's name.
        let pid: Pid = pid.parse().map_err(|_| missing(path))?;
        match (names.next(), names.next()) {
            (None, _) => Ok(Place::Proc(pid)),
            (Some(file), None) if FILES.contains(&file) => Ok(Place::File(pid, file)),
            _ => Err(missing(path)),
        }
    }

    fn info(&self, pid: Pid) -> Result<proto::ProcInfo> {
        self.kernel.info(&self.realm()?.name, pid)
    }
}

impl Files for ProcFiles {
    fn entry(&self, path: &Path) -> Result<Entry> {
        match self.place(path)? {
            Place::Top => Ok(Entry::Directory),
            Place::Proc(pid) => self.info(pid).map(|_| Entry::Directory),
            Place::File(pid, file) => self.info(pid).map(|_| file_entry(file)),
        }
    }

    fn list(&self, path: &Path, after: &str, limit: usize) -> Result<(Vec<(String, Entry)>, bool)> {
        match self.place(path)? {
            Place::Top => {
                let after = if after.is_empty() { None } else { Some(after.parse()?) };
                let (pids, more) = self.realm()?.records.pids(after, limit);
                Ok((pids.into_iter().map(|pid| (pid.to_string(), Entry::Directory)).collect(), more))
            }
            _ => Ok(page(&FILES, after, limit, file_entry)),
        }
    }

    fn read(&self, path: &Path) -> Result<Bytes> {
        let Place::File(pid, file) = self.place(path)? else { return Err(missing(path)) };
        let info = self.info(pid)?;
        let output = |which: Which| {
            let kept = self.realm()?.records.shelf.whole(pid, which);
            kept.map(Bytes::from).map_err(|error| Error::new(Code::Internal, format!("{path}: {error}")))
        };
        match file {
            "stdout" => output(Which::Stdout),
            "stderr" => output(Which::Stderr),
            "spec" => Ok(json(&spec(&info))),
            "timing" => Ok(json(&timing(&info))),
            _ => Ok(json(&status(info))),
        }
    }
}

fn file_entry(_: &str) -> Entry {
    // What is written as it is read has no size before.
    Entry::File { size: 0 }
}

fn status(info: proto::ProcInfo) -> Value {
    let state = match info.state() {
        proto::State::Queued => "queued",
        proto::State::Starting => "starting",
        proto::State::Running => "running",
        proto::State::Exited => "exited",
    };
    let status = info.status.and_then(|status| Status::try_from(status).ok());
    json!({
        "pid": info.pid,
        "state": state,
        "status": status.as_ref().map(Status::word),
        "why": status.as_ref().map(ToString::to_string),
        "waiting_for": info.waiting_for,
        "restarts": info.restarts,
    })
}

fn spec(info: &proto::ProcInfo) -> Value {
    let spec = info.spec.clone().unwrap_or_default();
    let restart = spec.restart.unwrap_or_default();
    let when = match restart.when() {
        proto::restart::When::Never => "never",
        proto::restart::When::OnFailure => "on-failure",
        proto::restart::When::Always => "always",
    };
    json!({
        "binary": spec.binary,
        "digest": info.digest,
        "args": spec.args,
        "env": spec.env,
        "class": if spec.class() == proto::Class::Lc { "LC" } else { "BE" },
        "mcpu": spec.mcpu,
        "memory_bytes": spec.memory_bytes,
        "grace_ms": spec.grace_ms,
        "principal": info.principal,
        "parent": info.parent,
        "restart": { "when": when, "limit": restart.limit },
    })
}

fn timing(info: &proto::ProcInfo) -> Value {
    let timing = info.timing.unwrap_or_default();
    timing.steps().map(|(step, at)| (step.to_owned(), Value::from(at))).into_iter().collect()
}
