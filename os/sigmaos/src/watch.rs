//! Waiting for the namespace to change (the thesis' `WatchDir`, `OpenWatch` and `WatchRemove`).

use crate::file::{File, Opened};
use crate::mounts::{Again, Last};
use crate::sigma::Sigma;
use crate::stub::NamespaceClient;
use crate::{Code, Error, Result, proto};
use std::collections::VecDeque;

/// Watches a directory: each creation, removal and rename in it comes once, in order. Dropping it ends the watch.
///
/// A watch goes on by itself where the connection broke or the server started again. Where it cannot be brought up to
/// date, [`DirWatch::next`] answers `Version` once: list the directory again, and go on.
#[derive(Debug)]
pub struct DirWatch {
    sigma: Sigma,
    path: String,
    /// None while the connection is broken.
    object: Option<Opened>,
    entry: u64,
    /// The directory's version after the last event that was handed out or waits in `events`.
    version: u64,
    events: VecDeque<proto::Event>,
}

impl Sigma {
    /// Begins to watch a directory. Whoever wants to know its entries and what becomes of them watches first and lists then:
    /// the listing may show what the first events tell again.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::event::Kind;
    /// sigma.create_dir("/jobs").await?;
    /// let mut jobs = sigma.watch_dir("/jobs").await?;
    /// sigma.put_file("/jobs/1", "resize").await?;
    /// sigma.rename("/jobs/1", "/jobs/1.taken").await?;
    /// let (first, second) = (jobs.next().await?, jobs.next().await?);
    /// assert_eq!((first.kind(), first.name.as_str()), (Kind::Created, "1"));
    /// assert_eq!((second.kind(), second.to.as_str()), (Kind::Renamed, "1.taken"));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Denied`, `Busy` past the number of watches, `Unreachable`; `Unsupported` at servers that have
    /// none.
    pub async fn watch_dir(&self, path: &str) -> Result<DirWatch> {
        let (object, stat) = self.watch_after(path, 0, 0).await?;
        let (path, events) = (path.to_owned(), VecDeque::new());
        let sigma = self.clone();
        Ok(DirWatch { sigma, path, object: Some(object), entry: stat.entry, version: stat.version, events })
    }

    async fn watch_after(&self, path: &str, after: u64, entry: u64) -> Result<(Opened, proto::Stat)> {
        self.at("watch_dir", path, Last::Follow, Again::Read, |place| async move {
            let namespace = NamespaceClient(place.device.deadline(None));
            let request = proto::WatchRequest { path: place.rest, after, entry };
            let watching = namespace.watch(request).await?;
            Ok((Opened::new(namespace.0, watching.handle), watching.stat.unwrap_or_default()))
        })
        .await
    }

    /// Opens a file for reading, once there is one at `path`.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let writer = sigma.clone();
    /// let reader = async { sigma.open_watch("/result").await?.read_to_end().await };
    /// let (read, written) = tokio::join!(reader, writer.put_file("/result", "42"));
    /// written?;
    /// assert_eq!(read?, "42");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::open`], except `NotFound`.
    pub async fn open_watch(&self, path: &str) -> Result<File> {
        loop {
            self.wait_for(path).await?;
            match self.open(path).await {
                // It was there, and is gone again.
                Err(error) if error.code == Code::NotFound => {}
                opened => return opened,
            }
        }
    }

    /// Waits until there is an entry at `path`, and says what it is.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let (entry, made) = tokio::join!(sigma.wait_for("/result"), sigma.create_dir("/result"));
    /// made?;
    /// assert_eq!(entry?.kind(), sigmaos::proto::Kind::Directory);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotDir`, `Loop`, `Busy`, `Unreachable`; `Unsupported` at servers that have no watches.
    pub async fn wait_for(&self, path: &str) -> Result<proto::Stat> {
        self.wait("wait for", path, false, 0).await
    }

    /// Waits until the entry that is at `path` now is there no more: removed, or renamed. A symlink or a mount is waited for
    /// itself, so that this tells of the end of a server.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/lock", "held").await?;
    /// let (gone, removed) = tokio::join!(sigma.watch_remove("/lock"), async {
    ///     tokio::task::yield_now().await;
    ///     sigma.remove("/lock").await
    /// });
    /// removed?;
    /// gone?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` where there is none; as [`Sigma::wait_for`].
    pub async fn watch_remove(&self, path: &str) -> Result<()> {
        // No entry has number 0, so it is there no more, and what is there is told at once.
        let entry = self.wait("watch_remove", path, true, 0).await?.entry;
        if entry == 0 {
            return Err(Error::new(Code::NotFound, format!("watch_remove {path}: it does not exist")));
        }
        self.wait("watch_remove", path, true, entry).await.map(drop)
    }

    async fn wait(&self, operation: &str, path: &str, removed: bool, entry: u64) -> Result<proto::Stat> {
        let last = if removed { Last::Entry } else { Last::Follow };
        self.at(operation, path, last, Again::Read, |place| async move {
            let request = proto::WaitRequest { path: place.rest, removed, entry };
            NamespaceClient(place.device.deadline(None)).wait(request).await
        })
        .await
    }
}

impl DirWatch {
    /// The next event, when it comes. Dropping the future loses none.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::event::Kind;
    /// sigma.create_dir("/jobs").await?;
    /// let mut jobs = sigma.watch_dir("/jobs").await?;
    /// sigma.put_file("/jobs/1", "resize").await?;
    /// sigma.remove("/jobs/1").await?;
    /// assert_eq!((jobs.next().await?.kind(), jobs.next().await?.kind()), (Kind::Created, Kind::Removed));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Version`: events were lost, list again; what comes next happens after this answer. `NotFound` when the directory was
    /// removed. `Unreachable`.
    pub async fn next(&mut self) -> Result<proto::Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            match self.more().await {
                Ok(page) => {
                    self.version = page.events.last().map_or(self.version, |event| event.version);
                    self.events.extend(page.events);
                }
                Err(error) if error.code == Code::Version => return Err(self.start_again(error).await),
                Err(error) => self.survive(error)?,
            }
        }
    }

    async fn more(&mut self) -> Result<proto::EventPage> {
        if self.object.is_none() {
            let (object, _) = self.sigma.watch_after(&self.path, self.version, self.entry).await?;
            self.object = Some(object);
        }
        let Some(object) = &self.object else { return Ok(proto::EventPage::default()) };
        let request = proto::EventsRequest { handle: object.handle, seen: self.version };
        NamespaceClient(object.device.clone()).events(request).await
    }

    /// A watch that begins now, in the place of one that could not be brought up to date.
    async fn start_again(&mut self, error: Error) -> Error {
        self.object = None;
        match self.sigma.watch_after(&self.path, 0, 0).await {
            Ok((object, stat)) => {
                (self.object, self.entry, self.version) = (Some(object), stat.entry, stat.version);
                error
            }
            Err(error) => error,
        }
    }

    fn survive(&mut self, error: Error) -> Result<()> {
        let object = self.object.as_ref();
        let broken = object.is_some_and(|object| object.device.connection().closed().is_some());
        if error.code != Code::Unreachable || !broken {
            return Err(error);
        }
        self.object = None;
        Ok(())
    }
}
