//! Entries that somebody holds open, by their numbers.

use super::Tree;
use super::change::{Access, Caller};
use super::node::{Body, Id, Node};
use super::permission::{READ, WRITE};
use bytes::Bytes;
use sigma_abi::proto::Stat;
use sigma_abi::{Code, Error, Path, Result};

impl Tree {
    /// Bytes of an open file from `offset`, at most `length`; empty at its end.
    ///
    /// # Errors
    /// `Closed` where there is no such entry any more; `IsDir`.
    pub fn read(&self, id: Id, offset: u64, length: usize) -> Result<Bytes> {
        let contents = self.file(id)?;
        self.see(id);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        let end = start.saturating_add(length).min(contents.len());
        Ok(contents.slice(start..end))
    }

    /// What an open entry is. One that was removed keeps the name that it had last.
    ///
    /// # Errors
    /// `Closed` where there is no such entry any more.
    pub fn stat_open(&self, id: Id) -> Result<Stat> {
        self.opened(id)?;
        self.see(id);
        Ok(self.stat_of(id))
    }

    /// Keeps an entry readable by its number until as many [`Tree::unpin`]s, also when it is removed. Open entries are not
    /// durable: whoever restores a tree starts without any.
    ///
    /// # Errors
    /// `Closed` where there is no such entry any more.
    pub fn pin(&mut self, id: Id) -> Result<()> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| closed(id))?;
        node.pins += 1;
        Ok(())
    }

    /// Lets go of an entry. What was removed meanwhile is gone with its last pin; too many unpins do nothing.
    pub fn unpin(&mut self, id: Id) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.pins = node.pins.saturating_sub(1);
        self.drop_if_unused(id);
    }

    fn opened(&self, id: Id) -> Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| closed(id))
    }

    /// Whether a caller may open an entry.
    ///
    /// # Errors
    /// `Denied`; `IsDir` and `Invalid` where it is nothing that can be held open.
    pub fn may_open(&self, id: Id, by: &Caller, access: Access, path: &Path) -> Result<()> {
        match &self.opened(id)?.body {
            Body::File(_) | Body::Pipe => {}
            Body::Directory(_) => {
                return Err(Error::new(Code::IsDir, format!("{path} is a directory: list it")));
            }
            other => return Err(Error::new(Code::Invalid, format!("{path} is {}", other.noun()))),
        }
        for (wanted, bit) in [(access.read, READ), (access.write, WRITE)] {
            if wanted {
                self.may(id, by, bit, path)?;
            }
        }
        Ok(())
    }

    /// The path of an open entry, where it still has one.
    ///
    /// # Errors
    /// `Closed` where there is no such entry any more.
    pub fn path_of_open(&self, id: Id) -> Result<Path> {
        self.opened(id)?;
        Path::parse(&self.path_of(id))
    }

    /// What is open, and how often.
    pub fn pins(&self) -> impl Iterator<Item = (Id, u64)> {
        self.nodes.iter().filter(|(_, node)| node.pins > 0).map(|(id, node)| (*id, node.pins))
    }

    pub(super) fn file(&self, id: Id) -> Result<&Bytes> {
        match &self.opened(id)?.body {
            Body::File(contents) => Ok(contents),
            other => Err(Error::new(Code::IsDir, format!("open entry {id} is {}, not a file", other.noun()))),
        }
    }

    /// Forgets a node that has neither a place nor anybody who holds it open.
    pub(super) fn drop_if_unused(&mut self, id: Id) {
        let node = self.node(id);
        if node.linked || node.pins > 0 {
            return;
        }
        let bytes = node.body.bytes();
        self.quota.release(1, bytes);
        self.nodes.remove(&id);
    }
}

pub(super) fn closed(id: Id) -> Error {
    Error::new(Code::Closed, format!("open entry {id} is gone"))
}
