//! Why a jail could not be made: the layer, what failed, and what to do about it.

use sigma_abi::layer::Layer;
use std::io;

/// A step of setting up the jail that failed. The jail ends with it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// The layer that could not be set up; `None` where the jail itself cannot work.
    pub(crate) layer: Option<Layer>,
    pub(crate) message: String,
}

impl Error {
    /// A failure that no layer can be blamed for.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { layer: None, message: message.into() }
    }

    /// For `map_err`: `attempted` failed, and no layer can be blamed.
    pub(crate) fn plain(attempted: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::new(format!("{attempted}: {source}"))
    }

    /// For `map_err`: `attempted`, a step of `layer`, failed; says what can be done.
    pub(crate) fn layer(layer: Layer, attempted: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            layer: Some(layer),
            message: format!(
                "{attempted}: {source}; {}, or give this layer up with --insecure-without={layer}",
                remedy(layer)
            ),
        }
    }
}

/// What an operator can do where `layer` is refused.
fn remedy(layer: Layer) -> &'static str {
    match layer {
        Layer::User => {
            "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns) or run as root"
        }
        Layer::Pid | Layer::Mount | Layer::Net | Layer::Ipc => {
            "allow namespaces of this kind (sysctl user.max_*_namespaces; a container needs CAP_SYS_ADMIN)"
        }
        Layer::Capabilities => "run on Linux 4.3 or newer, outside a sandbox that forbids prctl",
        Layer::Rlimits => "raise the hard limit of open files (ulimit -Hn) and mount /proc",
        Layer::Landlock => "run a kernel with CONFIG_SECURITY_LANDLOCK and \"landlock\" in the lsm= list",
        Layer::Seccomp => "run a kernel with CONFIG_SECCOMP_FILTER",
        Layer::Cgroup => "make a cgroup tree writable",
    }
}
