//! Objects that are made of parts at S3, each noted on this machine's disk for as long as it is not made.
//!
//! S3 keeps the parts of what was begun and shows them to nobody, until it is completed or aborted. A proxy that is killed does neither; the next
//! one finds the notes and aborts. What lies between the begin at S3 and the note is lost: the parts of others in the same
//! bucket are not ours to abort, so none is looked for there.

use crate::failure::failed;
use crate::place::{Object, Place};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{MultipartId, PutPayload};
use sigmaos::{Code, Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};
use tokio::time::timeout;

/// The directory of the notes. No bucket of the embedded store, which may have been here before, has this name.
const NOTES: &str = ".uploads";

/// The longest wait of what nobody waits for, at the end of an object that is not made.
const ABORT_DEADLINE: Duration = Duration::from_secs(10);

/// An upload under way. Dropping it aborts it.
#[derive(Debug)]
pub(crate) struct Upload {
    client: Arc<AmazonS3>,
    key: Key,
    id: MultipartId,
    /// How many parts were begun, and those that S3 has.
    begun: usize,
    parts: Arc<Mutex<BTreeMap<usize, PartId>>>,
    note: Note,
    ended: bool,
}

impl Upload {
    /// Begins one.
    ///
    /// # Errors
    /// As S3 says.
    pub(super) async fn begin(
        client: Arc<AmazonS3>,
        object: Object,
        notes: Arc<Notes>,
    ) -> object_store::Result<Self> {
        let (key, id) = (object.key.clone(), client.create_multipart(&object.key).await?);
        let note = notes.write(&object, &id);
        Ok(Self { client, key, id, begun: 0, parts: Arc::default(), note, ended: false })
    }

    pub(super) fn part(
        &mut self,
        payload: PutPayload,
    ) -> impl Future<Output = object_store::Result<()>> + Send + use<> {
        let (client, key, id) = (Arc::clone(&self.client), self.key.clone(), self.id.clone());
        let (number, parts) = (self.begun, Arc::clone(&self.parts));
        self.begun += 1;
        async move {
            let part = client.put_part(&key, &id, number, payload).await?;
            parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, part);
            Ok(())
        }
    }

    pub(super) async fn complete(mut self) -> object_store::Result<()> {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        self.client.complete_multipart(&self.key, &self.id, parts.into_values().collect()).await?;
        self.ended = true;
        self.note.remove();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (client, key, id) = (Arc::clone(&self.client), self.key.clone(), self.id.clone());
        let note = self.note.clone();
        // It ends by itself, soon; what it cannot do is left to the next proxy, as all of it is when this one ends.
        tokio::spawn(async move {
            match timeout(ABORT_DEADLINE, client.abort_multipart(&key, &id)).await {
                Ok(Ok(())) => note.remove(),
                Ok(Err(error)) => tracing::warn!("parts of an object stay at the store for now: {error}"),
                Err(_) => tracing::warn!("parts of an object stay at the store for now: it does not answer"),
            }
        });
    }
}

/// The notes of the uploads to one endpoint.
#[derive(Debug)]
pub(super) struct Notes {
    directory: PathBuf,
    endpoint: String,
    next: AtomicU64,
}

/// One of them, or none where it could not be written.
#[derive(Clone, Debug)]
pub(super) struct Note(Option<PathBuf>);

/// An upload that a proxy before has left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(super) object: Object,
    id: MultipartId,
    note: Note,
}

impl Notes {
    /// Those in the proxy's own directory, and what they tell of uploads to this endpoint.
    ///
    /// # Errors
    /// As the disk says.
    pub(super) fn open(dir: &Path, endpoint: &str) -> io::Result<(Self, Vec<Left>)> {
        let directory = dir.join(NOTES);
        fs::create_dir_all(&directory)?;
        let (mut left, mut last) = (Vec::new(), 0);
        for note in fs::read_dir(&directory)? {
            let note = note?.path();
            let number = note.file_name().and_then(|name| name.to_str()?.parse().ok());
            last = last.max(number.unwrap_or(0));
            // One for another endpoint stays, since that may be set again.
            left.extend(Left::read(note, endpoint));
        }
        Ok((Self { directory, endpoint: endpoint.to_owned(), next: AtomicU64::new(last + 1) }, left))
    }

    /// An upload goes on without a note where there is no room for one.
    fn write(&self, object: &Object, id: &str) -> Note {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(number.to_string());
        match fs::write(&path, format!("{}\n{object}\n{id}", self.endpoint)) {
            Ok(()) => Note(Some(path)),
            Err(error) => {
                tracing::warn!(
                    "an upload is not noted: if this process is killed its parts stay at S3: {error}"
                );
                let _ = fs::remove_file(path);
                Note(None)
            }
        }
    }
}

impl Note {
    fn remove(&self) {
        // One that stays is for an upload that is no more, which the next proxy finds out.
        self.0.as_ref().map(fs::remove_file);
    }
}

impl Left {
    fn read(note: PathBuf, endpoint: &str) -> Option<Self> {
        let text = fs::read_to_string(&note).ok()?;
        let mut lines = text.split('\n');
        let (at, object, id) = (lines.next()?, lines.next()?, lines.next()?.to_owned());
        let object = Place::object(object).ok().filter(|_| at == endpoint)?;
        Some(Self { object, id, note: Note(Some(note)) })
    }

    /// Aborts it.
    ///
    /// # Errors
    /// As S3 says; then it is to be tried again.
    pub(super) async fn abort(&self, system: &str, client: &AmazonS3) -> Result<()> {
        let aborted = timeout(ABORT_DEADLINE, client.abort_multipart(&self.object.key, &self.id)).await;
        let late = || Error::new(Code::Deadline, format!("{system} does not answer"));
        match aborted.map_err(|_| late())?.map_err(|error| failed(system, &self.object, &error)) {
            // Aborted, completed, or gone with its bucket.
            Err(error) if error.code != Code::NotFound => Err(error),
            _ => {
                self.note.remove();
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_found_by_the_next_proxy_of_the_same_endpoint_until_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let open = |endpoint: &str| Notes::open(dir.path(), endpoint).unwrap();
        let (notes, left) = open("http://one");
        assert!(left.is_empty());
        let [first, second] = ["/shop/a b/ü", "/shop/c"].map(|path| {
            let object = Place::object(path).unwrap();
            (notes.write(&object, &format!("id of {path}")), object)
        });
        first.0.remove();
        assert!(open("http://other").1.is_empty());
        let (again, left) = open("http://one");
        let [found] = &left[..] else { panic!("{left:?}") };
        assert_eq!(
            (&found.object.bucket, &found.object.key, found.id.as_str()),
            (&second.1.bucket, &second.1.key, "id of /shop/c")
        );
        again.write(&first.1, "third");
        assert_eq!(open("http://one").1.len(), 2, "a note takes the place of no other");
        fs::write(dir.path().join(NOTES).join("9"), "spoiled").unwrap();
        assert_eq!(open("http://one").1.len(), 2);
    }
}
