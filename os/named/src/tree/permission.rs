//! Who may: read and write bits for the owner of an entry, and for the rest of the realm.

use super::Tree;
use super::change::Caller;
use super::node::Id;
use sigma_abi::{Code, Error, Path, Result};

/// One octal digit of a perm.
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;

impl Tree {
    /// Whether a caller may use an entry.
    ///
    /// # Errors
    /// `Denied`, saying whose the entry is.
    pub(super) fn may(&self, id: Id, by: &Caller, bit: u32, path: &Path) -> Result<()> {
        let node = self.node(id);
        let own = node.owner == by.principal;
        let digit = if own { node.perm >> 3 } else { node.perm };
        if by.kernel || digit & bit != 0 {
            return Ok(());
        }
        let what = if bit == READ { "read" } else { "write" };
        let (who, owner, perm) = (&by.principal, &node.owner, node.perm);
        let text = format!("{path}: {who} may not {what} it; it is {owner}'s, with permissions {perm:02o}");
        Err(Error::new(Code::Denied, text))
    }

    /// Whether a caller may make and remove entries of a directory.
    pub(super) fn may_change(&self, dir: Id, by: &Caller, path: &Path) -> Result<()> {
        self.may(dir, by, WRITE, path).map_err(|error| error.context(format!("in {}", self.path_of(dir))))
    }
}
