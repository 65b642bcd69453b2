//! Files and directories of the namespace.

use crate::context::Context;
use crate::report;
use anyhow::{Context as _, Result};
use sigmaos::rpc::Bytes;
use sigmaos::{Code, File, proto};
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

pub(crate) async fn list(context: &Context, path: &str) -> Result<()> {
    let entries = context.sigma().await?.read_dir(path).await?;
    if context.json {
        let rows: Vec<_> = entries.iter().map(|entry| {
            serde_json::json!({ "name": entry.name, "kind": kind(entry), "size": entry.size, "owner": entry.owner, "version": entry.version })
        }).collect();
        return report::json(&rows);
    }
    report::table(
        &["KIND", "SIZE", "NAME"],
        entries.into_iter().map(|entry| vec![kind(&entry).to_owned(), entry.size.to_string(), entry.name]),
    );
    Ok(())
}

pub(crate) fn kind(entry: &proto::Stat) -> &'static str {
    noun(entry.kind())
}

pub(crate) fn noun(kind: proto::Kind) -> &'static str {
    match kind {
        proto::Kind::File => "file",
        proto::Kind::Directory => "directory",
        proto::Kind::Symlink => "symlink",
        proto::Kind::Mount => "mount",
        proto::Kind::Pipe => "pipe",
        proto::Kind::RpcDevice => "rpc",
    }
}

pub(crate) async fn cat(context: &Context, path: &str) -> Result<()> {
    let file = context.sigma().await?.open(path).await?;
    copy_out(file, &mut std::io::stdout().lock(), "standard output").await
}

/// A file is seen under its final name when it is whole, also where the copy is interrupted.
pub(crate) async fn get(context: &Context, path: &str, file: Option<&Path>) -> Result<()> {
    let source = context.sigma().await?.open(path).await?;
    let target = match file {
        Some(file) if file.as_os_str() == "-" => {
            return copy_out(source, &mut std::io::stdout().lock(), "standard output").await;
        }
        Some(file) if file.is_dir() => file.join(last_name(path)?),
        Some(file) => file.to_owned(),
        None => PathBuf::from(last_name(path)?),
    };
    let draft = target.with_added_extension("part");
    let shown = draft.display().to_string();
    let mut out = std::fs::File::create(&draft).with_context(|| format!("create {shown}"))?;
    copy_out(source, &mut out, &shown).await?;
    std::fs::rename(&draft, &target).with_context(|| format!("create {}", target.display()))
}

fn last_name(path: &str) -> Result<String> {
    let path = sigmaos::Path::parse(path)?;
    Ok(path.name().context("/ is a directory: give a file")?.to_owned())
}

async fn copy_out(mut file: File, out: &mut impl Write, name: &str) -> Result<()> {
    loop {
        let piece = file.read(PIECE).await?;
        if piece.is_empty() {
            return out.flush().with_context(|| format!("write {name}"));
        }
        out.write_all(&piece).with_context(|| format!("write {name}"))?;
    }
}

pub(crate) async fn put(context: &Context, file: &Path, path: &str) -> Result<()> {
    let contents = Bytes::from(contents_of(file).await?);
    let sigma = context.sigma().await?;
    let directory = sigmaos::Path::parse(path)?.parent();
    match (sigma.put_file(path, contents.clone()).await, directory) {
        // Made where it is missing alone: an object store has no directories to make.
        (Err(error), Some(directory)) if error.code == Code::NotFound => {
            sigma.create_dir_all(directory.as_str()).await?;
            sigma.put_file(path, contents).await?;
        }
        (put, _) => drop(put?),
    }
    Ok(())
}

/// All of a local file; `-` is standard input.
pub(crate) async fn contents_of(file: &Path) -> Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return tokio::fs::read(file).await.with_context(|| format!("read {}", file.display()));
    }
    let mut all = Vec::new();
    tokio::io::stdin().read_to_end(&mut all).await.context("read standard input")?;
    Ok(all)
}

pub(crate) async fn remove(context: &Context, path: &str) -> Result<()> {
    context.sigma().await?.remove(path).await?;
    Ok(())
}
