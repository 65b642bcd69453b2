//! A bare client of S3: the library that the proxy has, and nothing between it and the server.

use crate::pace::{self, Load};
use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use std::path::Path;
use tokio::runtime::Runtime;

/// Bytes of a part, and parts at a time: as the proxy has them.
const PART: usize = 8 << 20;
const IN_FLIGHT: usize = 4;

/// Bytes that are written at a time, as a proc does.
const PIECE: usize = 1 << 20;

/// The client, and what runs it.
struct Bare {
    runtime: Runtime,
    store: AmazonS3,
    key: Key,
}

impl Bare {
    /// `place` is a file whose lines are the endpoint, the region, the key's id, its secret, the bucket, and the object or the directory: a
    /// secret is no argument.
    fn new(place: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(place).with_context(|| format!("read {}", place.display()))?;
        let lines: Vec<&str> = text.lines().collect();
        let [endpoint, region, id, secret, bucket, key] = lines[..] else {
            anyhow::bail!("{} has {} lines and not six", place.display(), lines.len());
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_region(region)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_bucket_name(bucket)
            .with_allow_http(true)
            // As the proxy has it.
            .with_unsigned_payload(endpoint.starts_with("https:"))
            .build()?;
        let key = Key::parse(key)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, store, key })
    }
}

/// Gets the object, one time after the other.
pub(crate) fn get(place: &Path, load: &Load) -> Result<()> {
    let Bare { runtime, store, key } = Bare::new(place)?;
    pace::one_by_one(load, || {
        runtime.block_on(async {
            let mut bytes = 0;
            let mut stream = store.get(&key).await?.into_stream();
            while let Some(more) = stream.try_next().await? {
                bytes += more.len();
            }
            anyhow::ensure!(bytes == load.bytes, "{key} has {bytes} bytes");
            Ok(())
        })
    })
}

/// Puts the object: at once, or in parts where it is larger than one.
pub(crate) fn put(place: &Path, load: &Load) -> Result<()> {
    let Bare { runtime, store, key } = Bare::new(place)?;
    let contents = vec![7; load.bytes];
    pace::one_by_one(load, || {
        runtime.block_on(async {
            if load.bytes <= PART {
                store.put(&key, PutPayload::from(contents.clone())).await?;
                return Ok(());
            }
            let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&key).await?, PART);
            for piece in contents.chunks(PIECE) {
                upload.wait_for_capacity(IN_FLIGHT).await?;
                upload.write(piece);
            }
            upload.finish().await?;
            Ok(())
        })
    })
}

/// Lists the directory, a page of a thousand after the other. It has as many keys as `bytes` says.
pub(crate) fn list(place: &Path, load: &Load) -> Result<()> {
    let Bare { runtime, store, key } = Bare::new(place)?;
    let prefix = format!("{key}/");
    pace::one_by_one(load, || {
        runtime.block_on(async {
            let (mut keys, mut page_token) = (0, None);
            loop {
                let options =
                    PaginatedListOptions { delimiter: Some("/".into()), page_token, ..Default::default() };
                let page = store.list_paginated(Some(&prefix), options).await?;
                keys += page.result.objects.len();
                page_token = page.page_token;
                if page_token.is_none() {
                    anyhow::ensure!(keys == load.bytes, "{prefix} has {keys} keys");
                    return Ok(());
                }
            }
        })
    })
}
