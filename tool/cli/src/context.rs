//! What every command needs: the state directory, the realm, and a way to the kernel.

use crate::options::Options;
use anyhow::{Context as _, Result};
use sigmaos::stub::AdminClient;
use sigmaos::{Code, Realm, Sigma, proto};
use std::path::PathBuf;

/// The realm that is made at first use.
const DEFAULT_REALM: &str = "default";

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) state: PathBuf,
    pub(crate) realm: Realm,
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let state = match &options.state {
            Some(state) => std::path::absolute(state).context("--state")?,
            None => default_state().context("no state directory: give one with --state or SIGMA_STATE")?,
        };
        Ok(Self { state, realm: Realm::parse(&options.realm)?, json: options.json })
    }

    /// The kernel, for what concerns no realm.
    pub(crate) fn kernel(&self) -> Result<AdminClient> {
        Ok(AdminClient(Sigma::connect(&self.state, None)?.kernel().clone()))
    }

    /// A client of the realm. The default one is made where it is missing.
    pub(crate) async fn sigma(&self) -> Result<Sigma> {
        if self.realm.as_str() == DEFAULT_REALM {
            let made = self.kernel()?.realm_create(proto::RealmRequest { name: DEFAULT_REALM.into() }).await;
            if let Err(error) = made
                && error.code != Code::Exists
            {
                return Err(error.into());
            }
        }
        Ok(Sigma::connect(&self.state, Some(&self.realm))?)
    }
}

/// The XDG base directory for what a program keeps between its runs.
fn default_state() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("sigmaos"))
}
