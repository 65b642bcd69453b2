//! What a proxy takes away from itself, and the descriptors that it asks for.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;

/// The newest rules that are known here; an older system enforces those that it knows.
const RULES: ABI = ABI::V6;

/// What names of hosts and certificates are looked up in, by a proxy with a way out. Those that a machine lacks do not matter.
const LOOKED_UP: [&str; 10] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/run/systemd/resolve",
];

/// Where random numbers come from: a static program may find no other way to them.
const RANDOM: [&str; 2] = ["/dev/urandom", "/dev/random"];

/// Where names of hosts are asked for when an answer is long.
const DNS: u16 = 53;

/// The most descriptors that are used, however many the system allows.
const MOST_DESCRIPTORS: u64 = 1 << 17;

/// The way out of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    ports: Vec<u16>,
}

impl Outside {
    /// None: what it keeps is in its own directory.
    pub fn none() -> Self {
        Self::default()
    }

    /// TCP connections to these ports, of whatever host: the system cannot tell hosts apart. With them come the names of hosts
    /// and the certificates that this machine trusts.
    pub fn ports(ports: impl IntoIterator<Item = u16>) -> Self {
        Self { ports: ports.into_iter().collect() }
    }
}

/// Keeps this process to its directory and to its way out. That is a second fence, so where the system cannot do it the proxy
/// says so and goes on.
pub(crate) fn restrict(name: &str, dir: &Path, outside: &Outside) {
    match try_restrict(dir, outside) {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("Landlock is on"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!("Landlock is on, without what this kernel's version does not know");
        }
        Ok(RulesetStatus::NotEnforced) => {
            tracing::warn!("this kernel has no Landlock: {name} runs without it")
        }
        Err(error) => tracing::warn!("Landlock failed, {name} runs without it: {error:#}"),
    }
}

fn try_restrict(dir: &Path, outside: &Outside) -> anyhow::Result<RulesetStatus> {
    // Whatever Landlock knows is handled, and so refused; the directory gets back all but running programs.
    let all = AccessFs::from_all(RULES);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(dir)?, all & !BitFlags::from(AccessFs::Execute)))?;
    for path in RANDOM.iter().filter_map(|path| PathFd::new(path).ok()) {
        rules = rules.add_rule(PathBeneath::new(path, AccessFs::ReadFile))?;
    }
    if !outside.ports.is_empty() {
        for path in LOOKED_UP.iter().filter_map(|path| PathFd::new(path).ok()) {
            rules = rules.add_rule(PathBeneath::new(path, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
        for port in outside.ports.iter().chain(&[DNS]) {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Raises the limit of descriptors as far as it goes; returns how many there may be.
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
    allowed.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    /// Landlock holds a thread, so each question is asked in one of its own.
    fn asked<T: Send>(dir: &Path, outside: &Outside, question: impl FnOnce() -> T + Send) -> T {
        let restricted = || {
            restrict("a test", dir, outside);
            question()
        };
        std::thread::scope(|scope| scope.spawn(restricted).join().unwrap())
    }

    #[test]
    fn only_its_directory_and_its_ports_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();
        let listeners =
            [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let [ours, theirs] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let connect = |address| TcpStream::connect(address).map(drop).map_err(|error| error.kind());
        let none = asked(dir.path(), &Outside::none(), || {
            fs::write(dir.path().join("kept"), "x").unwrap();
            (
                fs::read(other.path()).map_err(|error| error.kind()),
                fs::read("/etc/hosts").is_ok(),
                connect(ours),
            )
        });
        assert_eq!(none, (Err(ErrorKind::PermissionDenied), false, Err(ErrorKind::PermissionDenied)));
        // Once a static driver found no random numbers, and gave up.
        assert!(asked(dir.path(), &Outside::none(), || fs::File::open("/dev/urandom").is_ok()));
        let one = asked(dir.path(), &Outside::ports([ours.port()]), || {
            (fs::read(other.path()).is_ok(), fs::read("/etc/hosts").is_ok(), connect(ours), connect(theirs))
        });
        assert_eq!(one, (false, true, Ok(()), Err(ErrorKind::PermissionDenied)));
    }
}
