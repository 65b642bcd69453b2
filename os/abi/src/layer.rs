//! The layers of the sandbox, by name: what `sigma status` lists and `--insecure-without` takes away.

use crate::error::{Code, Error};
use std::fmt;
use std::str::FromStr;

/// A layer between a proc and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// A user namespace: root inside is nobody outside.
    User,
    /// A pid namespace: other processes cannot be named.
    Pid,
    /// A mount namespace on an empty, read-only root.
    Mount,
    /// A network namespace without any interface.
    Net,
    /// Namespaces for System V IPC, host name and cgroups.
    Ipc,
    /// No capabilities, also none to regain, and no-new-privileges.
    Capabilities,
    /// Limits on descriptors, core files and locked memory, and a raised oom_score_adj.
    Rlimits,
    /// A Landlock rule set that allows nothing but executing the binary.
    Landlock,
    /// The list of allowed system calls.
    Seccomp,
    /// Control groups: limits of memory and tasks, weights of CPU.
    Cgroup,
}

impl Layer {
    pub const ALL: [Self; 10] = [
        Self::User,
        Self::Pid,
        Self::Mount,
        Self::Net,
        Self::Ipc,
        Self::Capabilities,
        Self::Rlimits,
        Self::Landlock,
        Self::Seccomp,
        Self::Cgroup,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Mount => "mount",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Capabilities => "capabilities",
            Self::Rlimits => "rlimits",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Cgroup => "cgroup",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|layer| layer.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|layer| layer.name()).collect();
            Error::new(
                Code::Invalid,
                format!("{text:?} is not a layer of the sandbox: there are {}", known.join(", ")),
            )
        })
    }
}
