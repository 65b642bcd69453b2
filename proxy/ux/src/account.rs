//! How many bytes of the disk the realm's files take, and how many more they may.
//!
//! A file counts with its length and [`ENTRY`] bytes for its name, a directory with the latter. What is there is counted by a
//! walk at the start, and from then on as it changes. A file that is open is counted as long as the longest that a write
//! in flight can make it; one that was removed counts until its last handle is closed, since it takes its room until then.
//!
//! The kernel grants room ahead of need, so that a write asks it seldom. Past what it grants, and where the disk has only the
//! kernel's reserve left, growing is `Quota`.

use crate::errno::failed;
use rustix::fs::{fstat, fstatvfs};
use sigmaos::{Code, Error, Path, Result};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What an entry takes of the disk beside its bytes: empty files and directories are not free.
pub(crate) const ENTRY: u64 = 4096;

/// Bytes that were given free before the kernel is told, so that others may have them.
const GIVE_BACK: u64 = 1 << 20;

/// Asks for more room: what is used, and what shall be used in all. Answers what may be used in all.
pub(crate) type Ask =
    Box<dyn Fn(u64, u64) -> Pin<Box<dyn Future<Output = Result<u64>> + Send>> + Send + Sync>;

/// The account of one realm on this machine.
pub(crate) struct Account {
    /// On the disk that is meant.
    top: OwnedFd,
    ask: Ask,
    /// Bytes of the disk that stay free.
    reserve: u64,
    books: Mutex<Books>,
    /// Held by who asks for room, so that no two answers cross.
    asking: tokio::sync::Mutex<()>,
    /// Much was given free.
    shrunk: Notify,
}

#[derive(Debug, Default)]
struct Books {
    used: u64,
    granted: u64,
    /// Bytes that were given free since the kernel was last told.
    freed: u64,
    open: HashMap<u64, OpenFile>,
}

/// A file that somebody holds open, by its inode.
#[derive(Debug)]
struct OpenFile {
    handles: usize,
    /// Bytes that are counted for it.
    length: u64,
    removed: bool,
}

/// An open file that is in the account. When the last one of a file goes, the file counts as what it is.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) file: File,
    account: Arc<Account>,
    inode: u64,
}

/// The place of an entry that is about to be made. Where it is not made after all, this gives it back.
#[must_use]
#[derive(Debug)]
pub(crate) struct NewEntry(Option<Arc<Account>>);

impl NewEntry {
    /// It is there now.
    pub(crate) fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for NewEntry {
    fn drop(&mut self) {
        if let Some(account) = &self.0 {
            account.remove();
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Account {
    /// An account of the disk that `top` is on, with nothing in it.
    pub(crate) fn new(top: OwnedFd, ask: Ask, reserve: u64) -> Arc<Self> {
        let (books, asking, shrunk) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Arc::new(Self { top, ask, reserve, books, asking, shrunk })
    }

    /// Counts what is there before anybody is served.
    pub(crate) fn found(&self, bytes: u64) {
        self.books().used = bytes;
        // The kernel is told, since programs are not to take this room.
        self.shrunk.notify_one();
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.books().used
    }

    /// Counts one more entry, before it is made.
    ///
    /// # Errors
    /// `Quota`; then it is not counted.
    pub(crate) async fn add(self: &Arc<Self>, path: &Path) -> Result<NewEntry> {
        self.check_reserve(path, ENTRY)?;
        self.take(path, |books| books.grow(ENTRY)).await?;
        Ok(NewEntry(Some(Arc::clone(self))))
    }

    /// Carries out `step`, which says how many bytes it lacks. Where it lacks some the kernel is asked, until it has no more: what
    /// was granted may be gone by the time that it arrives, since others write, too.
    async fn take(
        &self,
        path: &Path,
        step: impl Fn(&mut Books) -> std::result::Result<(), u64>,
    ) -> Result<()> {
        if step(&mut self.books()).is_ok() {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        loop {
            let wanted = {
                let mut books = self.books();
                let Err(lacks) = step(&mut books) else { return Ok(()) };
                (books.used, books.used.saturating_add(lacks))
            };
            let granted = (self.ask)(wanted.0, wanted.1).await?;
            let mut books = self.books();
            books.granted = granted;
            if granted < wanted.1 {
                return step(&mut books).map_err(|_| full(path));
            }
        }
    }

    /// Tells the kernel what was given free, now and then, for as long as the realm is served.
    pub(crate) async fn give_back(&self) -> Result<()> {
        loop {
            self.shrunk.notified().await;
            self.settle().await?;
        }
    }

    /// Tells the kernel what is used, and takes what it grants now, which may be less than before. Returns what is used.
    ///
    /// # Errors
    /// `Unreachable` where the kernel has gone.
    pub(crate) async fn settle(&self) -> Result<u64> {
        let _asking = self.asking.lock().await;
        let used = {
            let mut books = self.books();
            books.freed = 0;
            // Until the kernel has answered nothing grows without asking.
            books.granted = books.used;
            books.used
        };
        let granted = (self.ask)(used, used).await?;
        self.books().granted = granted;
        Ok(used)
    }

    fn check_reserve(&self, path: &Path, bytes: u64) -> Result<()> {
        let disk = fstatvfs(&self.top).map_err(|errno| failed(path, errno))?;
        let room = disk.f_bavail.saturating_mul(disk.f_frsize);
        if room >= self.reserve.saturating_add(bytes) {
            return Ok(());
        }
        let text = format!(
            "{path} finds no room: the machine's disk is full but for the kernel's reserve; remove files that are not needed"
        );
        Err(Error::new(Code::Quota, text))
    }

    /// An entry that is no file has gone, or was not made after all.
    pub(crate) fn remove(&self) {
        let mut books = self.books();
        books.shrink(ENTRY);
        self.tell(&books);
    }

    /// A file has lost its name. It goes on counting while it is open.
    pub(crate) fn remove_file(&self, inode: u64, length: u64) {
        let mut books = self.books();
        match books.open.get_mut(&inode) {
            Some(open) => open.removed = true,
            None => books.shrink(ENTRY + length),
        }
        self.tell(&books);
    }

    /// Joins the handles of a file that is counted already.
    pub(crate) fn open(self: &Arc<Self>, file: File) -> rustix::io::Result<Counted> {
        let mut books = self.books();
        let stat = fstat(&file)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        let open = books.open.entry(stat.st_ino).or_insert(OpenFile { handles: 0, length, removed: false });
        open.handles += 1;
        Ok(Counted { file, account: Arc::clone(self), inode: stat.st_ino })
    }

    fn tell(&self, books: &Books) {
        if books.freed >= GIVE_BACK {
            self.shrunk.notify_one();
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Counts more bytes, or says how many they are where there is no room for them.
    fn grow(&mut self, bytes: u64) -> std::result::Result<(), u64> {
        if self.used.saturating_add(bytes) > self.granted {
            return Err(bytes);
        }
        self.used += bytes;
        Ok(())
    }

    /// Counts an open file as long as a write up to `end` makes it.
    fn extend(&mut self, inode: u64, end: u64) -> std::result::Result<(), u64> {
        let length = self.open.get(&inode).map_or(end, |open| open.length);
        if end <= length {
            return Ok(());
        }
        self.grow(end - length)?;
        if let Some(open) = self.open.get_mut(&inode) {
            open.length = end;
        }
        Ok(())
    }

    fn shrink(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.freed = self.freed.saturating_add(bytes);
    }
}

impl Counted {
    /// Counts the file as long as a write up to `end` makes it, before it is written.
    ///
    /// # Errors
    /// `Quota`; then it counts as before.
    pub(crate) async fn extend(&self, path: &Path, end: u64) -> Result<()> {
        let length = self.account.books().open.get(&self.inode).map_or(end, |open| open.length);
        if end > length {
            self.account.check_reserve(path, end - length)?;
        }
        self.account.take(path, |books| books.extend(self.inode, end)).await
    }
}

impl Drop for Counted {
    /// What a write did not do after all is given back, and what was removed meanwhile.
    fn drop(&mut self) {
        let mut books = self.account.books();
        let Some(open) = books.open.get_mut(&self.inode) else { return };
        open.handles -= 1;
        if open.handles > 0 {
            return;
        }
        let (counted, removed) = (open.length, open.removed);
        books.open.remove(&self.inode);
        let stays = match removed {
            true => 0,
            // Nobody writes any more, so what the system says is what there is.
            false => fstat(&self.file).map_or(counted, |stat| u64::try_from(stat.st_size).unwrap_or(0)),
        };
        books.shrink(counted.saturating_sub(stays) + if removed { ENTRY } else { 0 });
        self.account.tell(&books);
    }
}

fn full(path: &Path) -> Error {
    let text = format!(
        "{path} finds no room: the realm may take no more of the disk; remove files or programs, or ask the operator for a \
         greater limit.disk"
    );
    Error::new(Code::Quota, text)
}
