//! A real S3, by its endpoint.
//!
//! Objects go through `object_store`. Buckets and listings are asked for here, with requests signed by the same library: it knows no
//! buckets, fetches listings whole, and fails at a listing with one key that it would not make itself.

mod answers;
mod requests;
mod upload;

use crate::failure::{answered, failed};
use crate::page::{Entry, Page, overlooked};
use crate::place::{Bucket, Object, speakable};
use crate::plain::{Patience, Plain};
use crate::settings::Endpoint;
use crate::store::Store;
use answers::Listing;
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig,
};
use requests::Requests;
use sigma_proxy::to_its_end;
use sigmaos::limits::DIR_PAGE;
use sigmaos::{Code, Error, Result, proto};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use upload::{Left, Notes, Upload};

/// How often a request that S3 did not take is sent again. Its callers can do so, too.
const RETRIES: usize = 3;

/// The pauses before that: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// The longest that one attempt may take, body included.
const ATTEMPT: Duration = Duration::from_secs(60);

/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections that are kept while nobody needs them.
const IDLE_CONNECTIONS: usize = 32;

/// Clients of buckets that are kept; past that all are made anew.
const KEPT_BUCKETS: usize = 256;

/// Names that are asked about at a time to put a page in order.
const ASKED_AT_ONCE: usize = 8;

/// The pause before what could not be removed at the start is tried again.
const TIDY_AGAIN: Duration = Duration::from_secs(60);

/// The buckets at one endpoint.
#[derive(Debug)]
pub(crate) struct Remote {
    system: String,
    endpoint: Endpoint,
    http: HttpClient,
    requests: Requests,
    buckets: Mutex<HashMap<Bucket, Known>>,
    notes: Arc<Notes>,
}

#[derive(Clone, Debug)]
struct Known {
    client: Arc<AmazonS3>,
    /// It was there when it was last asked about.
    found: bool,
}

/// Hands every client the same connections.
#[derive(Debug)]
struct Shared(HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// What speaks to the server: where nothing is encrypted, bytes can go through this process without a copy.
fn client(endpoint: &Endpoint) -> anyhow::Result<HttpClient> {
    if endpoint.url.scheme() == "http" {
        let patience = Patience { connect: CONNECT, answer: ATTEMPT };
        return Ok(HttpClient::new(Plain::new(&endpoint.url, patience, IDLE_CONNECTIONS)));
    }
    let mut options = ClientOptions::new()
        .with_timeout(ATTEMPT)
        .with_connect_timeout(CONNECT)
        .with_pool_max_idle_per_host(IDLE_CONNECTIONS);
    for authority in endpoint.authorities()? {
        options = options.with_root_certificate(authority);
    }
    Ok(ReqwestConnector::default().connect(&options)?)
}

impl Remote {
    /// The store at `endpoint`, with notes in `dir`, and the uploads that a proxy before has left there.
    ///
    /// # Errors
    /// Where the system lacks what TLS needs; as the disk says.
    pub(crate) fn new(endpoint: Endpoint, dir: &Path) -> anyhow::Result<(Self, Vec<Left>)> {
        let http = client(&endpoint)?;
        let requests = Requests::new(&endpoint, http.clone());
        let system = format!("S3 at {}", endpoint.base());
        let (notes, left) = Notes::open(dir, endpoint.base()).context("cannot open the notes of uploads")?;
        let (buckets, notes) = (Mutex::default(), Arc::new(notes));
        Ok((Self { system, endpoint, http, requests, buckets, notes }, left))
    }

    /// Removes what uploads have left at the store, for as long as it takes.
    pub(crate) fn tidy(&self, left: Vec<Left>) -> impl Future<Output = ()> + Send + use<> {
        let with_client = |left: Left| Some((self.client(&left.object.bucket).ok()?, left));
        let mut uploads: Vec<_> = left.into_iter().filter_map(with_client).collect();
        let system = self.system.clone();
        async move {
            while !uploads.is_empty() {
                let mut again = Vec::new();
                for (client, left) in uploads {
                    if let Err(error) = left.abort(&system, &client).await {
                        tracing::warn!("parts of an object stay at the store for now: {error}");
                        again.push((client, left));
                    }
                }
                uploads = again;
                if !uploads.is_empty() {
                    tokio::time::sleep(TIDY_AGAIN).await;
                }
            }
        }
    }

    fn known(&self, bucket: &Bucket) -> Result<Known> {
        let mut buckets = self.lock();
        if let Some(known) = buckets.get(bucket) {
            return Ok(known.clone());
        }
        let client = self.client(bucket);
        let client = client.map_err(|error| failed(&self.system, &format_args!("/{bucket}"), &error))?;
        if buckets.len() >= KEPT_BUCKETS {
            buckets.clear();
        }
        let known = Known { client: Arc::new(client), found: false };
        buckets.insert(bucket.clone(), known.clone());
        Ok(known)
    }

    fn client(&self, bucket: &Bucket) -> object_store::Result<AmazonS3> {
        let [init_backoff, max_backoff] = PAUSES;
        let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: ATTEMPT };
        let builder = AmazonS3Builder::new()
            .with_endpoint(self.endpoint.base())
            .with_region(&self.endpoint.region)
            .with_bucket_name(bucket.as_str())
            .with_allow_http(true)
            // Not every S3 can delete in bulk.
            .with_disable_bulk_delete(true)
            // Where TLS keeps what is sent as it is, nobody need hash it besides.
            .with_unsigned_payload(self.endpoint.url.scheme() == "https")
            .with_http_connector(Shared(self.http.clone()))
            .with_retry(retry);
        match &self.endpoint.key {
            Some(key) => builder.with_access_key_id(&key.id).with_secret_access_key(&key.secret),
            None => builder.with_skip_signature(true),
        }
        .build()
    }

    fn set_found(&self, bucket: &Bucket, found: bool) {
        if let Some(known) = self.lock().get_mut(bucket) {
            known.found = found;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bucket, Known>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, object: &Object, error: &StoreError) -> Error {
        let error = failed(&self.system, object, error);
        if error.code == Code::NotFound {
            self.set_found(&object.bucket, false);
        }
        error
    }

    /// One listing, as S3 gives it.
    async fn listing(&self, bucket: &Bucket, query: &[(&str, &str)]) -> Result<Listing> {
        let what = format!("/{bucket}");
        let query = [&[("list-type", "2")], query].concat();
        let answer = self.requests.send(&self.system, &what, "GET", &what, &query, "").await?;
        Listing::parse(&answer).ok_or_else(|| self.unclear(&what))
    }

    fn unclear(&self, what: &str) -> Error {
        Error::new(Code::Internal, format!("{what}: {} answers what is no answer of S3", self.system))
    }

    async fn put_payload(&self, object: &Object, payload: PutPayload, mode: PutMode) -> Result<()> {
        let client = self.known(&object.bucket)?.client;
        let options = PutOptions { mode, ..Default::default() };
        client
            .put_opts(&object.key, payload, options)
            .await
            .map(drop)
            .map_err(|error| self.told(object, &error))
    }
}

impl Store for Remote {
    type Parts = Upload;

    fn system(&self) -> &str {
        &self.system
    }

    async fn buckets(&self, after: &str, limit: usize) -> Result<proto::DirPage> {
        let answer = self.requests.send(&self.system, &"the buckets", "GET", "/", &[], "").await?;
        let names = answers::buckets(&answer).ok_or_else(|| self.unclear("the buckets"))?;
        let mut page = Page::default();
        for name in names.into_iter().filter(|name| Bucket::parse(name).is_ok()) {
            page.add(after, Entry { name, object: None });
        }
        Ok(page.first(limit, false))
    }

    async fn find_bucket(&self, bucket: &Bucket) -> Result<()> {
        if self.known(bucket)?.found {
            return Ok(());
        }
        let path = format!("/{bucket}");
        match self.requests.send(&self.system, &path, "HEAD", &path, &[], "").await {
            // Who may not ask about a bucket may use it all the same.
            Err(error) if error.code != Code::Denied => Err(error),
            _ => {
                self.set_found(bucket, true);
                Ok(())
            }
        }
    }

    async fn make_bucket(&self, bucket: &Bucket) -> Result<()> {
        let path = format!("/{bucket}");
        // A store may take the making of what is there for no error.
        match self.requests.send(&self.system, &path, "HEAD", &path, &[], "").await {
            Ok(_) => return Err(Error::new(Code::Exists, format!("{path} exists at {}", self.system))),
            Err(error) if error.code != Code::NotFound => return Err(error),
            Err(_) => {}
        }
        let body = answers::location(&self.endpoint.region);
        self.requests.send(&self.system, &path, "PUT", &path, &[], &body).await.map(drop)
    }

    async fn remove_bucket(&self, bucket: &Bucket) -> Result<()> {
        let path = format!("/{bucket}");
        // So may it, for its removal with what is in it.
        if self.is_directory(bucket, "").await? {
            return Err(Error::new(
                Code::NotEmpty,
                format!("{path} is not empty: remove what is in it first"),
            ));
        }
        self.set_found(bucket, false);
        self.requests.send(&self.system, &path, "DELETE", &path, &[], "").await.map(drop)
    }

    async fn list(&self, bucket: &Bucket, prefix: &str, after: &str, limit: usize) -> Result<proto::DirPage> {
        let (start, most) = (format!("{prefix}{after}"), (limit + 1).min(DIR_PAGE).to_string());
        let (mut page, mut token) = (Page::default(), String::new());
        let more = loop {
            let mut query = vec![("delimiter", "/"), ("prefix", prefix), ("max-keys", most.as_str())];
            match token.as_str() {
                "" if after.is_empty() => {}
                "" => query.push(("start-after", start.as_str())),
                token => query.push(("continuation-token", token)),
            }
            let listing = self.listing(bucket, &query).await?;
            for entry in listing.entries(prefix).filter(|entry| speakable(&entry.name)) {
                page.add(after, entry);
            }
            match listing.next() {
                None => break false,
                Some(_) if page.len() >= limit => break true,
                // A page of what was told before, or cannot be named.
                Some(next) => token = next,
            }
        };
        let last = page.last().filter(|_| more).unwrap_or_default().to_owned();
        let names: Vec<String> = overlooked(after, &last).map(str::to_owned).collect();
        let hidden = stream::iter(names).map(|name| async move {
            let is_there = self.is_directory(bucket, &format!("{prefix}{name}/")).await?;
            Ok::<_, Error>(is_there.then_some(Entry { name, object: None }))
        });
        let hidden: Vec<_> = hidden.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
        hidden.into_iter().flatten().for_each(|entry| page.add(after, entry));
        Ok(page.first(limit, more))
    }

    async fn is_directory(&self, bucket: &Bucket, prefix: &str) -> Result<bool> {
        Ok(!self.listing(bucket, &[("prefix", prefix), ("max-keys", "1")]).await?.is_empty())
    }

    fn locate(&self, object: &Object) -> Result<(Arc<dyn ObjectStore>, Key)> {
        Ok((self.known(&object.bucket)?.client, object.key.clone()))
    }

    async fn put(&self, object: &Object, payload: PutPayload, exclusive: bool) -> Result<()> {
        let mode = if exclusive { PutMode::Create } else { PutMode::Overwrite };
        self.put_payload(object, payload, mode).await
    }

    async fn take_room(&self, _: &Object, _: u64) -> Result<()> {
        Ok(())
    }

    fn give_room(&self, _: u64) {}

    async fn begin(&self, object: &Object) -> Result<Upload> {
        let (client, notes) = (self.known(&object.bucket)?.client, Arc::clone(&self.notes));
        // By a task, which ends by itself: one that nobody waits for is dropped once it is known, and so aborted.
        let begun = to_its_end(Upload::begin(client, object.clone(), notes)).await?;
        begun.map_err(|error| self.told(object, &error))
    }

    fn part(
        &self,
        object: &Object,
        upload: &mut Upload,
        payload: PutPayload,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (sent, system, object) = (upload.part(payload), self.system.clone(), object.clone());
        async move { sent.await.map_err(|error| failed(&system, &object, &error)) }
    }

    async fn complete(&self, object: &Object, upload: Upload, exclusive: bool) -> Result<()> {
        // S3 as it is everywhere has no condition for what is made of parts.
        if exclusive && self.known(&object.bucket)?.client.head(&object.key).await.is_ok() {
            return Err(Error::new(Code::Exists, format!("{object} exists at {}", self.system)));
        }
        upload.complete().await.map_err(|error| self.told(object, &error))
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        let client = self.known(&object.bucket)?.client;
        // It answers the same, whether there was something to remove or not.
        client.head(&object.key).await.map_err(|error| self.told(object, &error))?;
        client.delete(&object.key).await.map_err(|error| self.told(object, &error))
    }
}

/// As [`answered`], of a status and the body beside it.
fn refused(system: &str, what: &dyn std::fmt::Display, status: u16, body: &str) -> Error {
    answered(system, what, status, crate::failure::error_name(body).as_deref())
}
