//! Changes of places: link, unlink, remove and rename.

use super::Tree;
use super::change::{Caller, Reply, exists};
use super::event::What;
use super::node::{Body, Id, Place};
use super::walk::{Last, Spot, Walked};
use sigma_abi::{Code, Error, Path, Result};

impl Tree {
    pub(super) fn remove(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        entry: Option<Id>,
    ) -> Result<Reply> {
        let spot = self.walk(path, by, Last::Entry)?;
        let dir = spot.dir;
        let id = spot.existing(path)?;
        if let Some(gone) = entry.filter(|entry| *entry != id) {
            let text = format!("{path} is entry {id}, and entry {gone} is there no more");
            return Err(Error::new(Code::NotFound, text));
        }
        if id == Id::ROOT {
            return Err(Error::new(Code::Invalid, "/ cannot be removed"));
        }
        self.may_move(id, by, path)?;
        self.check_empty(id, path)?;
        self.may_change(dir, by, path)?;
        self.changes += 1;
        self.take_away(id, now_ms);
        Ok(Reply::Done)
    }

    /// Ends an entry's lease and its place, and tells those who watch.
    pub(super) fn take_away(&mut self, id: Id, now_ms: u64) {
        self.end_lease(id);
        let place = self.node(id).place.clone();
        self.unlink(id);
        if let Some(Place { dir, name }) = place {
            self.touch(dir, now_ms);
            self.tell(dir, What::Removed(name));
        }
        self.tell_gone(id);
        self.drop_if_unused(id);
    }

    fn tell_gone(&mut self, id: Id) {
        match &self.node(id).body {
            Body::Directory(_) => self.tell(id, What::Gone),
            Body::File(_) => drop(self.log.contents.insert(id)),
            _ => {}
        }
    }

    pub(super) fn rename(&mut self, by: &Caller, now_ms: u64, from: &Path, to: &Path) -> Result<Reply> {
        let (source, target) = self.walk_both(by, from, to)?;
        let old_dir = source.dir;
        let id = source.existing(from)?;
        if id == Id::ROOT || target.entry == Some(Id::ROOT) {
            return Err(Error::new(Code::Invalid, format!("rename {from} to {to}: / stays where it is")));
        }
        if target.entry == Some(id) {
            return Ok(self.entry(id));
        }
        if self.is_at_or_above(id, target.dir) {
            let text = format!("rename {from} to {to}: a directory cannot move into itself");
            return Err(Error::new(Code::Invalid, text));
        }
        self.may_move(id, by, from)?;
        if let Some(replaced) = target.entry {
            self.may_move(replaced, by, to)?;
        }
        self.may_change(old_dir, by, from)?;
        self.may_change(target.dir, by, to)?;
        if let Some(replaced) = target.entry {
            self.check_replaceable(id, from, replaced, to)?;
        }
        self.changes += 1;
        if let Some(replaced) = target.entry {
            self.end_lease(replaced);
            self.unlink(replaced);
            self.tell_gone(replaced);
            self.drop_if_unused(replaced);
        }
        self.move_to(id, Place { dir: target.dir, name: target.name.into() }, now_ms);
        Ok(self.entry(id))
    }

    /// Gives an entry another place, which must be free, and tells those who watch.
    pub(super) fn move_to(&mut self, id: Id, to: Place, now_ms: u64) {
        self.tell_moved(id, &to);
        let from = self.node(id).place.as_ref().map(|place| place.dir);
        let to_dir = to.dir;
        self.unlink(id);
        self.link(id, to);
        for changed in [Some(id), from, Some(to_dir)].into_iter().flatten() {
            self.touch(changed, now_ms);
        }
    }

    fn tell_moved(&mut self, id: Id, to: &Place) {
        match self.node(id).place.clone() {
            Some(from) if from.dir == to.dir => {
                self.tell(from.dir, What::Renamed(from.name, to.name.clone()));
            }
            Some(from) => {
                self.tell(from.dir, What::Removed(from.name));
                self.created(to);
            }
            None => {}
        }
    }

    /// Both ends of a rename, if they lie in this tree.
    ///
    /// # Errors
    /// `Moved`, with what is left of `from`, where both lead into the same mount: its server renames. `Unsupported` where
    /// only one does, or each into another one.
    fn walk_both(&self, by: &Caller, from: &Path, to: &Path) -> Result<(Spot, Spot)> {
        match (self.walk_or_leave(from, by, Last::Entry)?, self.walk_or_leave(to, by, Last::Entry)?) {
            (Walked::Here(source), Walked::Here(target)) => Ok((source, target)),
            (Walked::Away { mount, rest }, Walked::Away { mount: other, .. }) if mount == other => {
                Err(Error::moved(self.path_of(mount), rest))
            }
            _ => {
                let text =
                    format!("rename {from} to {to}: they are served by different servers; copy instead");
                Err(Error::new(Code::Unsupported, text))
            }
        }
    }

    fn check_replaceable(&self, id: Id, from: &Path, replaced: Id, to: &Path) -> Result<()> {
        let refuse = |code, text: &str| Err(Error::new(code, format!("rename {from} to {to}: {to} {text}")));
        match (&self.node(id).body, &self.node(replaced).body) {
            (_, Body::Mount(_)) => Err(exists(to).context(format!("rename {from} to {to}"))),
            (_, Body::Directory(directory)) if !directory.names.is_empty() => {
                refuse(Code::NotEmpty, "is a directory that is not empty")
            }
            (Body::Directory(_), Body::Directory(_)) => Ok(()),
            (_, Body::Directory(_)) => refuse(Code::IsDir, "is a directory"),
            (Body::Directory(_), other) => {
                refuse(Code::NotDir, &format!("is {}, not a directory", other.noun()))
            }
            _ => Ok(()),
        }
    }

    fn check_empty(&self, id: Id, path: &Path) -> Result<()> {
        match &self.node(id).body {
            Body::Directory(directory) if !directory.names.is_empty() => {
                let count = directory.names.len();
                Err(Error::new(Code::NotEmpty, format!("{path} is not empty: it has {count} entries")))
            }
            _ => Ok(()),
        }
    }

    /// Whether `id` is `below` or a directory above it.
    fn is_at_or_above(&self, id: Id, below: Id) -> bool {
        let mut at = below;
        while at != id {
            let Some(place) = &self.node(at).place else { return false };
            at = place.dir;
        }
        true
    }

    /// Gives a node its place; the name must be free.
    pub(super) fn link(&mut self, id: Id, place: Place) {
        let is_mount = self.node(id).body.is_mount();
        let directory = self.directory_mut(place.dir);
        let before = directory.names.insert(place.name.clone(), id);
        debug_assert!(before.is_none(), "a place leads to one node");
        if is_mount {
            directory.mounts.insert(place.name.clone());
        }
        let node = self.node_mut(id);
        (node.place, node.linked) = (Some(place), true);
        self.log.nodes.insert(id);
    }

    /// Takes a node's place away. The node stays, for a new place or for those who hold it open.
    pub(super) fn unlink(&mut self, id: Id) {
        let node = self.node_mut(id);
        node.linked = false;
        let Some(Place { dir, name }) = node.place.clone() else { return };
        let directory = self.directory_mut(dir);
        directory.names.remove(&name);
        directory.mounts.remove(&name);
        self.log.places.insert((dir, name));
    }
}
