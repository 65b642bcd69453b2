//! Entries that end with their procs: mounts, and what was made ephemeral.

use super::Tree;
use super::change::{Caller, Reply, exists};
use super::node::{Body, Id};
use super::walk::Last;
use sigma_abi::limits::MAX_NAME;
use sigma_abi::proto::Endpoint;
use sigma_abi::{Code, Error, Path, Pid, Result};
use std::collections::BTreeSet;

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
        let body = Body::Mount(endpoint);
        let spot = self.make_way(by, now_ms, spot, &body);
        let Some(id) = spot.entry else {
            self.may_change(spot.dir, by, path)?;
            let reply = self.insert(by, now_ms, path, spot, perm, body)?;
            let Reply::Entry { id, .. } = reply else { return Ok(reply) };
            self.lease(id, pid);
            return Ok(self.entry(id));
        };
        match (&self.node(id).body, self.node(id).lease) {
            (Body::Mount(_), Some(before)) if before == pid => {
                self.quota.resize(path, self.node(id).body.bytes(), body.bytes())?;
                self.node_mut(id).body = body;
                self.changes += 1;
                self.touch(id, now_ms);
                Ok(self.entry(id))
            }
            (Body::Mount(_), Some(before)) => {
                Err(Error::new(Code::Exists, format!("mount {path}: {before} serves it")))
            }
            _ => Err(exists(path).context(format!("mount {path}"))),
        }
    }

    /// Makes an entry end with a proc.
    pub(super) fn lease(&mut self, id: Id, pid: Pid) {
        self.node_mut(id).lease = Some(pid);
        self.leases.entry(pid).or_default().insert(id);
        self.log.nodes.insert(id);
    }

    /// Takes away all that a proc holds; nothing where it holds nothing.
    pub(super) fn ended(&mut self, pid: Pid, now_ms: u64) {
        for id in self.leases.remove(&pid).unwrap_or_default() {
            self.changes += 1;
            self.take_away(id, now_ms);
        }
    }

    /// The procs of a machine that hold something, and are not among those that live.
    pub(super) fn dead_holders(&self, machine: &str, alive: &BTreeSet<Pid>) -> Vec<Pid> {
        let holders = self.leases.keys().filter(|pid| !alive.contains(pid));
        holders.filter(|pid| pid.home.to_string() == machine).copied().collect()
    }

    /// Forgets that a node that loses its place was held by somebody.
    pub(super) fn end_lease(&mut self, id: Id) {
        let Some(pid) = self.node_mut(id).lease.take() else { return };
        if let Some(held) = self.leases.get_mut(&pid) {
            held.remove(&id);
            if held.is_empty() {
                self.leases.remove(&pid);
            }
        }
    }
}
