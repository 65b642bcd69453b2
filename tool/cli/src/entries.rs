//! Entries of the namespace: making, moving and looking at them.

use crate::context::Context;
use crate::files::{kind, noun};
use crate::report;
use anstream::println;
use anyhow::Result;
use sigmaos::proto::event;
use sigmaos::{Code, Create, Sigma, proto};

pub(crate) async fn make_dir(context: &Context, path: &str, parents: bool) -> Result<()> {
    let sigma = context.sigma().await?;
    match parents {
        true => sigma.create_dir_all(path).await?,
        false => sigma.create_dir(path).await?,
    }
    Ok(())
}

pub(crate) async fn make_pipe(context: &Context, path: &str) -> Result<()> {
    context.sigma().await?.create(path, Create::pipe()).await?;
    Ok(())
}

pub(crate) async fn link(context: &Context, target: &str, link: &str) -> Result<()> {
    Ok(context.sigma().await?.symlink(target, link).await?)
}

pub(crate) async fn rename(context: &Context, from: &str, to: &str) -> Result<()> {
    Ok(context.sigma().await?.rename(from, to).await?)
}

pub(crate) async fn stat(context: &Context, path: &str) -> Result<()> {
    let entry = context.sigma().await?.stat(path).await?;
    if context.json {
        return report::json(&object(&entry));
    }
    report::table(&[], object(&entry).into_iter().map(|(name, value)| vec![name, plain(&value)]));
    Ok(())
}

fn object(entry: &proto::Stat) -> serde_json::Map<String, serde_json::Value> {
    let fields = [
        ("name", entry.name.clone().into()),
        ("kind", kind(entry).into()),
        ("size", entry.size.into()),
        ("owner", entry.owner.clone().into()),
        ("perm", format!("{:02o}", entry.perm).into()),
        ("version", entry.version.into()),
        ("modified_ms", entry.modified_ms.into()),
        ("lease", entry.lease.clone().into()),
    ];
    fields.into_iter().map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value)).collect()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Prints a tree. What lies behind a mount is another server's, and is not walked.
pub(crate) async fn tree(context: &Context, path: &str) -> Result<()> {
    let sigma = context.sigma().await?;
    println!("{path}");
    // The directories on the way down, each with its entries that are still to be shown, the next one last.
    let mut open = vec![(path.trim_end_matches('/').to_owned(), entries(&sigma, path).await?)];
    while let Some((directory, left)) = open.last_mut() {
        let Some(entry) = left.pop() else {
            open.pop();
            continue;
        };
        let path = format!("{directory}/{}", entry.name);
        println!("{}{}", "  ".repeat(open.len()), describe(&sigma, &path, &entry).await?);
        if entry.kind() == proto::Kind::Directory {
            let below = entries(&sigma, &path).await?;
            open.push((path, below));
        }
    }
    Ok(())
}

/// The entries of a directory, the first one last; none where it was removed meanwhile.
async fn entries(sigma: &Sigma, path: &str) -> Result<Vec<proto::Stat>> {
    match sigma.read_dir(path).await {
        Ok(entries) => Ok(entries.into_iter().rev().collect()),
        Err(error) if error.code == Code::NotFound && path != "/" => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

async fn describe(sigma: &Sigma, path: &str, entry: &proto::Stat) -> Result<String> {
    Ok(match entry.kind() {
        proto::Kind::Directory => format!("{}/", entry.name),
        proto::Kind::Symlink => match sigma.read_link(path).await {
            Ok(target) => format!("{} -> {target}", entry.name),
            Err(error) if error.code == Code::NotFound => entry.name.clone(),
            Err(error) => return Err(error.into()),
        },
        proto::Kind::File => entry.name.clone(),
        other => format!("{} ({})", entry.name, noun(other)),
    })
}

/// Prints what happens in a directory, until interrupted.
pub(crate) async fn watch(context: &Context, path: &str) -> Result<()> {
    let mut watch = context.sigma().await?.watch_dir(path).await?;
    loop {
        let event = match watch.next().await {
            Err(error) if error.code == Code::Version => {
                anstream::eprintln!("events were lost: list the directory again");
                continue;
            }
            event => event?,
        };
        let what = match event.kind() {
            event::Kind::Created => "created",
            event::Kind::Removed => "removed",
            event::Kind::Renamed => "renamed",
        };
        if context.json {
            report::json(&serde_json::json!({
                "event": what, "name": event.name, "to": event.to, "version": event.version
            }))?;
        } else if event.to.is_empty() {
            println!("{what} {}", event.name);
        } else {
            println!("{what} {} to {}", event.name, event.to);
        }
    }
}
