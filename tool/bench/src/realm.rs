//! A realm that a benchmark makes in the kernel that runs, and removes.

use anyhow::Result;
use sigmaos::stub::AdminClient;
use sigmaos::{Code, Sigma, proto};
use std::path::Path;

/// The rights of the operator, who makes and removes realms.
///
/// # Errors
/// Where no kernel runs on this state directory.
pub(crate) fn operator(state: &Path) -> Result<AdminClient> {
    Ok(AdminClient(Sigma::connect(state, None)?.kernel().clone()))
}

/// What names a realm.
pub(crate) fn named(name: &str) -> proto::RealmRequest {
    proto::RealmRequest { name: name.to_owned() }
}

/// Removes a realm, where it is: a run that was interrupted may have left it.
///
/// # Errors
/// Where it cannot be removed.
pub(crate) async fn remove(operator: &AdminClient, name: &str) -> Result<()> {
    match operator.realm_remove(named(name)).await {
        Err(error) if error.code != Code::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
