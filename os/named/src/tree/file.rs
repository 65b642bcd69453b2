//! Changes of what is in files.

use super::Tree;
use super::change::{Access, Caller, New, Reply, exists};
use super::node::{Body, Id};
use super::open::closed;
use super::permission::WRITE;
use super::walk::Last;
use bytes::{Bytes, BytesMut};
use sigma_abi::limits::MAX_NAMED_FILE;
use sigma_abi::{Code, Error, Path, Result};

impl Tree {
    pub(super) fn put(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        new: New,
        exclusive: bool,
        contents: &[u8],
    ) -> Result<Reply> {
        check_file_size(path, contents.len() as u64)?;
        let spot = self.walk(path, by, if exclusive { Last::Entry } else { Last::Follow })?;
        // A copy, so that the tree never keeps the larger buffer alive in which the contents came.
        let contents = Bytes::copy_from_slice(contents);
        match spot.entry {
            None => self.make(by, now_ms, path, spot, new, Body::File(contents)),
            Some(_) if exclusive => Err(exists(path)),
            Some(id) => {
                self.check_file(id, path)?;
                self.may(id, by, WRITE, path)?;
                self.replace_file(id, now_ms, contents).map_err(|error| error.context(path))
            }
        }
    }

    /// Finds, makes or cuts what is to be opened.
    #[allow(clippy::too_many_arguments, reason = "one for each field of the action")]
    pub(super) fn open_to_change(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        create: bool,
        truncate: bool,
        access: Access,
        new: New,
    ) -> Result<Reply> {
        let spot = self.walk(path, by, Last::Follow)?;
        let Some(id) = spot.entry else {
            if create {
                return self.make(by, now_ms, path, spot, new, Body::File(Bytes::new()));
            }
            return spot.existing(path).map(|id| self.entry(id));
        };
        self.may_open(id, by, access, path)?;
        match &self.node(id).body {
            Body::File(contents) if truncate && access.write && !contents.is_empty() => {
                self.replace_file(id, now_ms, Bytes::new())
            }
            _ => Ok(self.entry(id)),
        }
    }

    fn check_file(&self, id: Id, path: &Path) -> Result<()> {
        match &self.node(id).body {
            Body::File(_) => Ok(()),
            Body::Directory(_) => Err(Error::new(Code::IsDir, format!("{path} is a directory"))),
            other => Err(Error::new(Code::Invalid, format!("{path} is {}: open it", other.noun()))),
        }
    }

    pub(super) fn write(&mut self, now_ms: u64, id: Id, offset: u64, data: &[u8]) -> Result<Reply> {
        let old = self.file(id)?.len();
        if data.is_empty() {
            return Ok(self.entry(id));
        }
        let end = offset.saturating_add(data.len() as u64);
        check_file_size(format_args!("open entry {id}"), end)?;
        let (start, end) = (offset as usize, end as usize);
        self.edit(now_ms, id, old.max(end), |contents| contents[start..end].copy_from_slice(data))
    }

    /// Changes a file in place, where nobody else reads the same buffer, once it has `length`.
    fn edit(
        &mut self,
        now_ms: u64,
        id: Id,
        length: usize,
        edit: impl FnOnce(&mut BytesMut),
    ) -> Result<Reply> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| closed(id))?;
        self.quota.resize(format_args!("open entry {id}"), node.body.bytes(), length as u64)?;
        if let Body::File(contents) = &mut node.body {
            let taken = std::mem::take(contents).try_into_mut();
            let mut buffer = taken.unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            buffer.resize(length, 0);
            edit(&mut buffer);
            *contents = buffer.freeze();
        }
        self.changed(id, now_ms);
        Ok(self.entry(id))
    }

    fn replace_file(&mut self, id: Id, now_ms: u64, contents: Bytes) -> Result<Reply> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| closed(id))?;
        let body = Body::File(contents);
        self.quota.resize(format_args!("file {id}"), node.body.bytes(), body.bytes())?;
        node.body = body;
        self.changed(id, now_ms);
        Ok(self.entry(id))
    }

    fn changed(&mut self, id: Id, now_ms: u64) {
        self.changes += 1;
        self.log.contents.insert(id);
        self.touch(id, now_ms);
    }
}

pub(super) fn check_file_size(what: impl std::fmt::Display, bytes: u64) -> Result<()> {
    if bytes <= MAX_NAMED_FILE as u64 {
        return Ok(());
    }
    let text = format!(
        "{what}: a file of {bytes} bytes; the limit here is {MAX_NAMED_FILE}, larger ones go to /ux or /s3"
    );
    Err(Error::new(Code::TooLarge, text))
}
