//! Elections and fences: who was elected last may change what is fenced, and those before may not.

use super::Tree;
use super::change::{Caller, Reply};
use super::event::What;
use super::node::Body;
use super::walk::{Last, Walked};
use bytes::Bytes;
use sigma_abi::{Code, Error, Path, Result};

/// What a change carries: that its caller was elected for a path, and when.
pub type Fence = (Path, u64);

impl Tree {
    /// Makes the ephemeral file that names the leader, and shuts out the leaders before.
    pub(super) fn elect(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        perm: u32,
        fence: Option<&Path>,
        contents: &Bytes,
    ) -> Result<Reply> {
        super::file::check_file_size(path, contents.len() as u64)?;
        let spot = self.walk(path, by, Last::Entry)?;
        if let Some(id) = spot.entry {
            let holder = self.node(id).lease.map(|pid| format!(": {pid} leads")).unwrap_or_default();
            return Err(Error::new(Code::Exists, format!("{path} exists{holder}")));
        }
        self.may_change(spot.dir, by, path)?;
        if let Some(fence) = fence {
            self.check_name(by, fence)?;
        }
        // A fence stays for good, so it counts as an entry does.
        let new_fence = fence.filter(|fence| !self.fences.contains_key(*fence));
        if new_fence.is_some() {
            self.quota.take_entry(path, 0)?;
        }
        let made = self.insert(by, now_ms, path, spot, perm, Body::File(Bytes::copy_from_slice(contents)));
        if made.is_err() && new_fence.is_some() {
            self.quota.release(1, 0);
        }
        let Reply::Entry { id, .. } = made? else { return Ok(Reply::Done) };
        self.lease(id, by.pid);
        if let Some(fence) = fence {
            self.fences.insert(fence.clone(), self.changes);
            self.log.fences.insert(fence.clone());
        }
        Ok(self.entry(id))
    }

    /// Whether a path is its only name, free of symlinks, below which a fence would be passed by; and of this tree, or behind a mount
    /// of the kernel's, whose servers can ask who was elected.
    ///
    /// # Errors
    /// `Invalid`, with the name to use; `Unsupported` behind a mount of a proc; as a walk.
    fn check_name(&self, by: &Caller, fence: &Path) -> Result<()> {
        let name = match self.walk_or_leave(fence, by, Last::Follow)? {
            Walked::Here(spot) => self.path_of_spot(&spot),
            Walked::Away { mount, rest } if self.node(mount).owner.is_kernel() => {
                let mount = self.path_of(mount);
                if rest == "/" { mount } else { mount + &rest }
            }
            Walked::Away { mount, .. } => {
                let text = format!("{fence} is served by {}, where no fence holds", self.path_of(mount));
                return Err(Error::new(Code::Unsupported, text));
            }
        };
        if name == fence.as_str() {
            return Ok(());
        }
        Err(Error::new(Code::Invalid, format!("{fence} is another name of {name}: fence that")))
    }

    /// Whether the caller's elections are the last ones, for those of the fences that concern `path`. With `below` a change
    /// also touches what lies below the path.
    ///
    /// # Errors
    /// `Stale` after a later election; `Invalid` for an election that never was.
    pub(super) fn check_fences(&self, fences: &[Fence], path: &str, below: bool) -> Result<()> {
        for (fence, epoch) in fences {
            let concerns = covers(fence.as_str(), path) || (below && covers(path, fence.as_str()));
            let last = self.fences.get(fence).copied();
            match last {
                _ if !concerns => {}
                Some(last) if *epoch == last => {}
                Some(last) if *epoch < last => {
                    let text = format!(
                        "{path}: the election of epoch {epoch} for {fence} is over, the last one is {last}"
                    );
                    return Err(Error::new(Code::Stale, text));
                }
                _ => {
                    let text = format!("{path}: no election for {fence} has yielded epoch {epoch}");
                    return Err(Error::new(Code::Invalid, text));
                }
            }
        }
        Ok(())
    }

    /// The epoch of the last election for a fenced path.
    pub(crate) fn last_election(&self, fence: &Path) -> Option<u64> {
        self.fences.get(fence).copied()
    }

    pub(super) fn created(&mut self, place: &super::node::Place) {
        self.tell(place.dir, What::Created(place.name.clone()));
    }
}

/// Whether `path` is `fence` or lies below it, name by name.
fn covers(fence: &str, path: &str) -> bool {
    let rest = path.strip_prefix(fence.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_fence_goes_by_whole_names() {
        for (fence, path, expect) in [
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/b", "/a", false),
            ("/", "/x/y", true),
            ("/", "/", true),
        ] {
            assert_eq!(covers(fence, path), expect, "{fence} {path}");
        }
    }
}
