//! Realms: making, listing, removing.

use crate::context::Context;
use crate::report;
use anstream::eprintln;
use anyhow::Result;
use sigmaos::proto;

pub(crate) async fn create(context: &Context, name: &str) -> Result<()> {
    context.kernel()?.realm_create(proto::RealmRequest { name: name.to_owned() }).await?;
    eprintln!("realm {name} is there; use it with --realm {name}");
    Ok(())
}

pub(crate) async fn list(context: &Context) -> Result<()> {
    let realms = context.kernel()?.realm_list(proto::Empty {}).await?.realms;
    if context.json {
        let rows: Vec<_> = realms
            .iter()
            .map(|realm| serde_json::json!({ "name": realm.name, "procs": realm.procs }))
            .collect();
        return report::json(&rows);
    }
    report::table(
        &["REALM", "PROCS"],
        realms.into_iter().map(|realm| vec![realm.name, realm.procs.to_string()]),
    );
    Ok(())
}

pub(crate) async fn remove(context: &Context, name: &str) -> Result<()> {
    context.kernel()?.realm_remove(proto::RealmRequest { name: name.to_owned() }).await?;
    eprintln!("realm {name} is gone");
    Ok(())
}
