//! What the kernel lays out: it stays where it is until the kernel moves it, and what is in its way is put aside.

use super::Tree;
use super::change::Caller;
use super::node::{Body, Id, Place};
use super::walk::Spot;
use sigma_abi::{Code, Error, Path, Result};

impl Tree {
    /// Whether a caller may take an entry from its place: of what the kernel laid out, the kernel alone.
    ///
    /// # Errors
    /// `Denied`.
    pub(super) fn may_move(&self, id: Id, by: &Caller, path: &Path) -> Result<()> {
        if !self.node(id).owner.is_kernel() || by.principal.is_kernel() {
            return Ok(());
        }
        Err(Error::new(Code::Denied, format!("{path} belongs to the kernel: it stays where it is")))
    }

    /// Frees a spot for an entry that the kernel lays out; one of its own of the same kind may stay.
    pub(super) fn make_way(&mut self, by: &Caller, now_ms: u64, spot: Spot, body: &Body) -> Spot {
        let Some(id) = spot.entry.filter(|id| *id != Id::ROOT && by.principal.is_kernel()) else {
            return spot;
        };
        let node = self.node(id);
        let own = node.owner.is_kernel() || matches!(body, Body::Directory(_));
        if own && std::mem::discriminant(&node.body) == std::mem::discriminant(body) {
            return spot;
        }
        // Nothing of a tenant's is lost. Its number makes a name that was hardly ever given.
        let names = &self.directory(spot.dir).names;
        let mut aside = (0..).map(|extra| format!("{}.{}{}", spot.name, id.0, ".0".repeat(extra)));
        let name = aside.find(|name| !names.contains_key(name.as_str()));
        let name = name.expect("a directory holds fewer names than there are").into();
        self.changes += 1;
        self.move_to(id, Place { dir: spot.dir, name }, now_ms);
        Spot { entry: None, ..spot }
    }

    /// Makes a directory that was there before the kernel's.
    pub(super) fn take_over(&mut self, by: &Caller, now_ms: u64, id: Id, perm: u32) {
        if !by.principal.is_kernel() || (self.node(id).owner == by.principal && self.node(id).perm == perm) {
            return;
        }
        let node = self.node_mut(id);
        (node.owner, node.perm) = (by.principal.clone(), perm);
        self.changes += 1;
        self.touch(id, now_ms);
    }
}
