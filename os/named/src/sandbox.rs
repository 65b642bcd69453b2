//! What named takes away from itself before it reads a byte that a tenant sent.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::path::Path;

/// The newest rules that are known here; an older system enforces those that it knows.
const RULES: ABI = ABI::V6;

/// Keeps the calling thread, and those that it makes, to the folder of the store: no other file, no program, no TCP, no signal
/// and no abstract socket of others. That is a second fence, so where the system cannot do it named says so and goes on.
pub fn restrict_to(store: Option<&Path>) {
    let folder = store.map(|file| file.parent().unwrap_or(file));
    match restrict(folder) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {
            tracing::debug!("Landlock is on")
        }
        Ok(RulesetStatus::NotEnforced) => {
            tracing::warn!("this kernel has no Landlock: named runs without it")
        }
        Err(error) => tracing::warn!(%error, "Landlock failed: named runs without it"),
    }
}

fn restrict(folder: Option<&Path>) -> anyhow::Result<RulesetStatus> {
    // Whatever Landlock knows is handled, and so refused; the folder gets back all but running programs.
    let all = AccessFs::from_all(RULES);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    if let Some(folder) = folder {
        let given = all & !BitFlags::from(AccessFs::Execute);
        rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, given))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Landlock holds a thread, so each question is asked in one of its own.
    fn asked<T: Send>(store: Option<&Path>, question: impl FnOnce() -> T + Send) -> T {
        let restricted = || {
            restrict_to(store);
            question()
        };
        std::thread::scope(|scope| scope.spawn(restricted).join().unwrap())
    }

    #[test]
    fn only_the_folder_of_the_store_can_be_reached() {
        let folder = std::env::temp_dir().join(format!("named-sandbox-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let store = folder.join("named.redb");
        let outside = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(fs::read(&outside).is_ok());
        let (inside, other) = asked(Some(&store), || (fs::write(&store, "x"), fs::read(&outside)));
        assert!(inside.is_ok(), "{inside:?}");
        assert_eq!(other.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        assert!(asked(None, || fs::read(&store)).is_err(), "without a store there is no folder");
        let connected = asked(None, || std::net::TcpStream::connect("127.0.0.1:9").unwrap_err().kind());
        assert_eq!(connected, std::io::ErrorKind::PermissionDenied);
        fs::remove_dir_all(&folder).unwrap();
    }
}
