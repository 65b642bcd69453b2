//! Servers that advertise themselves, for as long as they live.

use super::Tree;
use super::change::{Caller, Reply, exists};
use super::node::{Body, Id, Mount};
use super::walk::Last;
use sigma_abi::limits::MAX_NAME;
use sigma_abi::proto::Endpoint;
use sigma_abi::{Code, Error, Path, Pid, Result};

impl Tree {
    pub(super) fn mount(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        perm: u32,
        endpoint: Endpoint,
        pid: Pid,
    ) -> Result<Reply> {
        if endpoint.machine.len() > MAX_NAME || endpoint.pid.len() > MAX_NAME {
            let text = format!("mount {path}: a name in the endpoint has more than {MAX_NAME} bytes");
            return Err(Error::new(Code::TooLarge, text));
        }
        let spot = self.walk(path, by, Last::Entry)?;
        let body = Body::Mount(Mount { endpoint, pid });
        let Some(id) = spot.entry else {
            let reply = self.insert(by, now_ms, path, spot, perm, body)?;
            if let Reply::Entry { id, .. } = &reply {
                self.mounts.entry(pid).or_default().insert(*id);
            }
            return Ok(reply);
        };
        match &self.node(id).body {
            Body::Mount(before) if before.pid == pid => {
                self.node_mut(id).body = body;
                self.changes += 1;
                self.touch(id, now_ms);
                Ok(self.entry(id))
            }
            Body::Mount(before) => {
                let text = format!("mount {path}: {} serves it", before.pid);
                Err(Error::new(Code::Exists, text))
            }
            _ => Err(exists(path).context(format!("mount {path}"))),
        }
    }

    /// The procs that have mounts.
    pub fn holders(&self) -> impl Iterator<Item = Pid> {
        self.mounts.keys().copied()
    }

    /// Takes away every mount of a proc; nothing where it has none.
    pub(super) fn ended(&mut self, pid: Pid, now_ms: u64) {
        let Some(mounts) = self.mounts.remove(&pid) else { return };
        self.changes += 1;
        for id in mounts {
            self.unlink(id);
            if let Some(dir) = self.node(id).place.as_ref().map(|place| place.dir) {
                self.touch(dir, now_ms);
            }
            self.drop_if_unused(id);
        }
    }

    /// Forgets that a node that loses its place was a mount of somebody.
    pub(super) fn forget_mount(&mut self, id: Id) {
        let Body::Mount(mount) = &self.node(id).body else { return };
        let pid = mount.pid;
        if let Some(mounts) = self.mounts.get_mut(&pid) {
            mounts.remove(&id);
            if mounts.is_empty() {
                self.mounts.remove(&pid);
            }
        }
    }
}
