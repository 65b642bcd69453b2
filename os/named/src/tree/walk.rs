//! From a path to an entry.

use super::Tree;
use super::change::Caller;
use super::node::{Body, Directory, Id};
use super::union::Pick;
use sigma_abi::limits::{MAX_LINKS, MAX_PATH};
use sigma_abi::{Code, Error, Path, Result};

/// What a walk does with the last name of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// Goes on where a symlink leads, and into a mount.
    Follow,
    /// Stops at the entry itself, whatever it is.
    Entry,
}

/// Where a walk ended: a directory, a name in it, and the entry of that name if there is one.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) dir: Id,
    /// Empty for the root.
    pub(super) name: String,
    pub(super) entry: Option<Id>,
}

impl Spot {
    pub(super) fn existing(self, path: &Path) -> Result<Id> {
        self.entry.ok_or_else(|| Error::new(Code::NotFound, format!("{path} does not exist")))
    }
}

pub(super) enum Walked {
    Here(Spot),
    /// Another server goes on from its root with `rest`.
    Away {
        mount: Id,
        rest: String,
    },
}

impl Tree {
    /// Walks within this tree.
    ///
    /// # Errors
    /// `Moved` where the path leads into a mount, and as [`Tree::walk_or_leave`].
    pub(super) fn walk(&self, path: &Path, caller: &Caller, last: Last) -> Result<Spot> {
        match self.walk_or_leave(path, caller, last)? {
            Walked::Here(spot) => Ok(spot),
            Walked::Away { mount, rest } => Err(Error::moved(self.path_of(mount), rest)),
        }
    }

    /// Walks until the path ends or a mount is met.
    ///
    /// # Errors
    /// `NotFound` and `NotDir` for a name before the last, `Loop` past [`MAX_LINKS`], `Invalid` where `~any` or `~local` is
    /// asked for as an entry of its own.
    pub(super) fn walk_or_leave(&self, path: &Path, caller: &Caller, last: Last) -> Result<Walked> {
        let walked = self.walk_along(path, caller, last, &mut |dir| self.see(dir));
        if let Ok(Walked::Here(Spot { entry: Some(id), .. }) | Walked::Away { mount: id, .. }) = &walked {
            self.see(*id);
        }
        walked
    }

    /// The directories that a walk leads through: where nothing changes in any of them, it leads to the same place.
    pub fn way(&self, path: &Path, caller: &Caller, follow: bool) -> Vec<Id> {
        let mut way = Vec::new();
        let last = if follow { Last::Follow } else { Last::Entry };
        // Where it ends, and whether in an error, is another question.
        let _ = self.walk_along(path, caller, last, &mut |dir| way.push(dir));
        way
    }

    pub(super) fn see(&self, id: Id) {
        self.seen.set(self.seen.get().max(self.node(id).version));
    }

    fn walk_along(
        &self,
        path: &Path,
        caller: &Caller,
        last: Last,
        along: &mut dyn FnMut(Id),
    ) -> Result<Walked> {
        // The names that are still to walk, the next one last.
        let mut rest: Vec<&str> = path.names().rev().collect();
        let (mut dir, mut links) = (Id::ROOT, 0);
        while let Some(name) = rest.pop() {
            along(dir);
            let ends = rest.is_empty();
            let pick = Pick::parse(name);
            if ends && last == Last::Entry && pick.is_some() {
                let text = format!("{path}: {name} stands for a mount; name the mount itself");
                return Err(Error::new(Code::Invalid, text));
            }
            let id = match pick {
                Some(pick) => Some(self.pick(dir, pick, path, caller)?),
                None => self.directory(dir).names.get(name).copied(),
            };
            let Some(id) = id else {
                let spot = Spot { dir, name: name.to_owned(), entry: None };
                return if ends { Ok(Walked::Here(spot)) } else { Err(self.stuck(path, &spot)) };
            };
            let spot = || Spot { dir, name: name.to_owned(), entry: Some(id) };
            match &self.node(id).body {
                Body::Mount(_) if !ends || last == Last::Follow => return self.leave(path, id, &rest),
                Body::Symlink(target) if !ends || last == Last::Follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        let at = self.path_of(id);
                        let text = format!("{path}: more than {MAX_LINKS} symlinks, the last one is {at}");
                        return Err(Error::new(Code::Loop, text));
                    }
                    if target.starts_with('/') {
                        dir = Id::ROOT;
                    }
                    rest.extend(target.split('/').rev().filter(|name| !name.is_empty()));
                }
                Body::Directory(_) if !ends => dir = id,
                _ if ends => return Ok(Walked::Here(spot())),
                _ => return Err(self.stuck(path, &spot())),
            }
        }
        // Only `/`, as the path or as the target of its last symlink, leaves no name.
        Ok(Walked::Here(Spot { dir: Id::ROOT, name: String::new(), entry: Some(Id::ROOT) }))
    }

    /// The path of a node from the root, free of symlinks.
    pub(super) fn path_of(&self, id: Id) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while let Some(place) = &self.node(at).place {
            names.push(place.name.as_ref());
            at = place.dir;
        }
        names.iter().rev().fold(String::new(), |path, name| path + "/" + name)
            + if names.is_empty() { "/" } else { "" }
    }

    pub(super) fn path_of_spot(&self, spot: &Spot) -> String {
        match (self.path_of(spot.dir).as_str(), spot.name.as_str()) {
            (dir, "") => dir.to_owned(),
            ("/", name) => format!("/{name}"),
            (dir, name) => format!("{dir}/{name}"),
        }
    }

    pub(super) fn directory(&self, id: Id) -> &Directory {
        match &self.node(id).body {
            Body::Directory(directory) => directory,
            _ => unreachable!("a walk goes through directories, and places lie in them"),
        }
    }

    pub(super) fn directory_mut(&mut self, id: Id) -> &mut Directory {
        match &mut self.node_mut(id).body {
            Body::Directory(directory) => directory,
            _ => unreachable!("a walk goes through directories, and places lie in them"),
        }
    }

    fn leave(&self, path: &Path, mount: Id, rest: &[&str]) -> Result<Walked> {
        let rest = rest.iter().rev().fold(String::new(), |path, name| path + "/" + name);
        if rest.len() > MAX_PATH {
            let text = format!("{path}: the path behind its symlinks has more than {MAX_PATH} bytes");
            return Err(Error::new(Code::TooLarge, text));
        }
        Ok(Walked::Away { mount, rest: if rest.is_empty() { "/".to_owned() } else { rest } })
    }

    /// Why a walk cannot go on below a spot.
    fn stuck(&self, path: &Path, spot: &Spot) -> Error {
        let at = self.path_of_spot(spot);
        match spot.entry {
            None => Error::new(Code::NotFound, format!("{path}: {at} does not exist")),
            Some(id) => {
                let noun = self.node(id).body.noun();
                Error::new(Code::NotDir, format!("{path}: {at} is {noun}, not a directory"))
            }
        }
    }
}
