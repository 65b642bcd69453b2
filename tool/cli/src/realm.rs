//! Realms: making, listing, limiting, removing.

use crate::context::Context;
use crate::options::RealmCommand;
use crate::report;
use anstream::eprintln;
use anyhow::{Context as _, Result};
use sigmaos::proto;

pub(crate) async fn realm(context: &Context, command: RealmCommand) -> Result<()> {
    match command {
        RealmCommand::Create { name } => create(context, &name).await,
        RealmCommand::Ls => list(context).await,
        RealmCommand::Rm { name } => remove(context, &name).await,
        RealmCommand::Set { name, settings } => set(context, &name, settings).await,
        RealmCommand::Show { name } => {
            show(context, &context.kernel()?.realm_show(proto::RealmRequest { name }).await?)
        }
    }
}

async fn create(context: &Context, name: &str) -> Result<()> {
    context.kernel()?.realm_create(proto::RealmRequest { name: name.to_owned() }).await?;
    eprintln!("realm {name} is there; use it with --realm {name}");
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let realms = context.kernel()?.realm_list(proto::Empty {}).await?.realms;
    if context.json {
        return report::json(&realms.iter().map(object).collect::<Vec<_>>());
    }
    report::table(
        &["REALM", "PROCS", "STATE"],
        realms.into_iter().map(|realm| {
            let state = if realm.removing.is_empty() { "up".to_owned() } else { realm.removing };
            vec![realm.name, realm.procs.to_string(), state]
        }),
    );
    Ok(())
}

/// A realm of a list, for programs.
pub(crate) fn object(realm: &proto::RealmInfo) -> serde_json::Value {
    serde_json::json!({ "name": realm.name, "procs": realm.procs, "removing": realm.removing })
}

async fn remove(context: &Context, name: &str) -> Result<()> {
    context.kernel()?.realm_remove(proto::RealmRequest { name: name.to_owned() }).await?;
    eprintln!("realm {name} is gone");
    Ok(())
}

async fn set(context: &Context, name: &str, settings: Vec<(String, String)>) -> Result<()> {
    let settings = settings.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    let request =
        proto::RealmSetRequest { name: name.to_owned(), settings: settings.iter().cloned().collect() };
    let shown = context.kernel()?.realm_set(request).await?;
    for setting in &shown.settings {
        let changed = settings.iter().any(|(key, _)| *key == setting.key);
        let (Some(limit), Some(used)) = (setting.limit, setting.used) else { continue };
        if changed && used > limit {
            eprintln!(
                "{} is {limit}, and {used} are in use: nothing is taken away, and nothing is added until it is less",
                setting.key
            );
        }
    }
    show(context, &shown)
}

/// A value that is the name of a file, as `@file`, is what is in the file: so that a secret is seen by nobody who lists commands.
fn read((key, value): (String, String)) -> Result<(String, String)> {
    let Some(file) = value.strip_prefix('@') else { return Ok((key, value)) };
    let text = std::fs::read_to_string(file).with_context(|| format!("{key}=@{file}: cannot read {file}"))?;
    Ok((key, text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn show(context: &Context, shown: &proto::RealmShown) -> Result<()> {
    if context.json {
        let settings: serde_json::Map<_, _> = shown
            .settings
            .iter()
            .map(|setting| {
                let value = Some(&setting.value).filter(|value| !value.is_empty());
                let shown = serde_json::json!({
                    "value": value, "default": setting.default, "limit": setting.limit, "used": setting.used,
                    "hidden": setting.hidden,
                });
                (setting.key.clone(), shown)
            })
            .collect();
        return report::json(&serde_json::json!({ "name": shown.name, "settings": settings }));
    }
    let rows = shown.settings.iter().map(|setting| {
        let value = match setting.value.as_str() {
            _ if setting.hidden => "(set, and not shown)".to_owned(),
            "" => format!("({})", setting.default),
            value => value.to_owned(),
        };
        let bytes = setting.key == "limit.memory" || setting.key == "limit.disk";
        let used = setting.used.map(|used| if bytes { report::bytes(used) } else { used.to_string() });
        vec![setting.key.clone(), value, used.unwrap_or_default()]
    });
    report::table(&["KEY", "VALUE", "IN USE"], rows);
    Ok(())
}
