//! What a store is, whatever it is: buckets, objects in them, and how an object comes to be.

use crate::place::{Bucket, Object};
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutPayload};
use sigmaos::{Result, proto};
use std::sync::Arc;

/// An object store with buckets. Its errors are told already: a code, and a sentence that names what was asked for and the store.
///
/// What changes something is to be waited for to its end: a change that is dropped half-way may be carried out, and not be counted.
pub(crate) trait Store: Send + Sync + 'static {
    /// An object in the making. Dropping it removes, soon, what there is of it.
    type Parts: Send + 'static;

    /// As people call it: "S3 at http://host:port".
    fn system(&self) -> &str;

    /// One page of the buckets, by name.
    fn buckets(&self, after: &str, limit: usize) -> impl Future<Output = Result<proto::DirPage>> + Send;

    /// # Errors
    /// `NotFound`.
    fn find_bucket(&self, bucket: &Bucket) -> impl Future<Output = Result<()>> + Send;

    /// # Errors
    /// `Exists`.
    fn make_bucket(&self, bucket: &Bucket) -> impl Future<Output = Result<()>> + Send;

    /// # Errors
    /// `NotFound`, `NotEmpty`.
    fn remove_bucket(&self, bucket: &Bucket) -> impl Future<Output = Result<()>> + Send;

    /// One page of what is below `prefix`, which is empty or ends with a slash. Empty where nothing is.
    ///
    /// # Errors
    /// `NotFound` where the bucket is missing.
    fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<proto::DirPage>> + Send;

    /// Whether any key begins with `prefix`.
    fn is_directory(&self, bucket: &Bucket, prefix: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Where an object is, if it is.
    ///
    /// # Errors
    /// Where it cannot be.
    fn locate(&self, object: &Object) -> Result<(Arc<dyn ObjectStore>, Key)>;

    /// Makes or replaces an object at once.
    ///
    /// # Errors
    /// `Exists` where it shall be new and is not, `NotFound` where the bucket is missing, `IsDir` and `NotDir` where the store
    /// has directories, `Quota`.
    fn put(
        &self,
        object: &Object,
        payload: PutPayload,
        exclusive: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Room for the object and so many bytes of it, before they are written.
    ///
    /// # Errors
    /// `Quota`; then it was not taken.
    fn take_room(&self, object: &Object, bytes: u64) -> impl Future<Output = Result<()>> + Send;

    /// Gives back room of an object that is not made after all.
    fn give_room(&self, bytes: u64);

    /// Begins to make an object of parts. Whoever does not wait for the end of it leaves nothing at the store.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn begin(&self, object: &Object) -> impl Future<Output = Result<Self::Parts>> + Send;

    /// Sends the next part.
    ///
    /// # Errors
    /// As the store says.
    fn part(
        &self,
        object: &Object,
        parts: &mut Self::Parts,
        payload: PutPayload,
    ) -> impl Future<Output = Result<()>> + Send + use<Self>;

    /// All parts are there: the object is seen from now on. Where that fails they are removed.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn complete(
        &self,
        object: &Object,
        parts: Self::Parts,
        exclusive: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes an object. One that is not there is no error at every store.
    ///
    /// # Errors
    /// As the store says.
    fn remove(&self, object: &Object) -> impl Future<Output = Result<()>> + Send;
}
