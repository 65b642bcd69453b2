//! What ux takes away from itself, and the descriptors that it asks for.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::BorrowedFd;

/// The newest rules that are known here; an older system enforces those that it knows.
const RULES: ABI = ABI::V6;

/// Of the descriptors that the system allows, files get one half; the other is for connections.
const SHARE_OF_FILES: u64 = 2;

/// The most files that are open at a time, however many descriptors the system allows.
const MOST_FILES: u64 = 1 << 16;

/// Keeps this process to `directory`: no other file, no TCP, no signal and no abstract socket of others. That is a
/// second fence behind `openat2`, so where the system cannot do it ux says so and goes on.
pub(crate) fn restrict_to(directory: BorrowedFd<'_>) {
    match restrict(directory) {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("Landlock is on"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!("Landlock is on, without what this kernel's version does not know");
        }
        Ok(RulesetStatus::NotEnforced) => {
            tracing::warn!("this kernel has no Landlock: ux is held to its directory by openat2 alone");
        }
        Err(error) => {
            tracing::warn!(%error, "Landlock failed: ux is held to its directory by openat2 alone");
        }
    }
}

fn restrict(directory: BorrowedFd<'_>) -> Result<RulesetStatus, RulesetError> {
    // Whatever Landlock knows is handled, and so refused; the directory gets back all but running programs.
    let all = AccessFs::from_all(RULES);
    let given = all & !landlock::BitFlags::from(AccessFs::Execute);
    let beneath = PathBeneath::new(directory, given);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rule(beneath)?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Raises the limit of descriptors as far as it goes; returns how many files may be open at a time, so that there are
/// always descriptors left for the connections that the kernel hands over.
pub(crate) fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors cannot be raised");
            limit.current
        }
    };
    let files = allowed.unwrap_or(MOST_FILES) / SHARE_OF_FILES;
    files.clamp(1, MOST_FILES) as usize
}
