//! Landlock: a proc may execute and read its binary, and nothing else of what this kernel can restrict.
//!
//! The rule set is made ahead of a launch and gets its only rule when the binary is known.

use crate::error::Error;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use sigma_abi::layer::Layer;
use std::io;
use std::os::fd::OwnedFd;

/// The newest version that this build knows. On an older kernel everything that it knows is restricted.
const NEWEST: ABI = ABI::V10;

/// Fails where the kernel has no Landlock, before any proc is promised it.
///
/// # Errors
/// [`Layer::Landlock`].
pub(crate) fn probe() -> Result<(), Error> {
    version().map(drop).map_err(Error::layer(Layer::Landlock, "asking for Landlock"))
}

/// The version of Landlock's interface that the kernel speaks.
pub(crate) fn version() -> io::Result<i64> {
    // SAFETY: with these arguments the call only returns the version that the kernel speaks (landlock_create_ruleset(2)).
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, LANDLOCK_CREATE_RULESET_VERSION)
    };
    crate::sys::check(version)
}

/// landlock_create_ruleset(2): return the version.
const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;

/// A rule set that refuses all it can.
pub(crate) fn refuse_all() -> io::Result<RulesetCreated> {
    let make = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()
    };
    // No-new-privileges is set already, and the filter refuses to set it again.
    Ok(make().map_err(other)?.no_new_privs(false))
}

/// Allows executing `binary`, and binds this process and all it becomes to `rules` for good.
pub(crate) fn restrict(rules: RulesetCreated, binary: &OwnedFd) -> io::Result<()> {
    let rule = PathBeneath::new(binary, AccessFs::Execute | AccessFs::ReadFile);
    let status = rules.add_rule(rule).and_then(RulesetCreated::restrict_self).map_err(other)?;
    match status {
        RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. } => {
            Err(io::Error::other("the kernel did not enforce the rule set"))
        }
        _ => Ok(()),
    }
}

fn other(error: RulesetError) -> io::Error {
    io::Error::other(error)
}
