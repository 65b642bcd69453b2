//! Finding documents a batch at a time: what a cursor holds between two of them.

use super::catalog::{Catalog, Collection};
use super::tables::{Fault, Result, Tables, broken, document_key};
use super::walk::{Step, Walk};
use crate::document::{Raw, check::raw};
use crate::filter::Filter;
use crate::keys::Keys;
use crate::limits::{BATCH_BYTES, BATCH_DOCUMENTS, MAX_SORT_BYTES};
use crate::plan::plan;
use crate::projection::Projection;
use redb::ReadableTable;
use sigma_abi::{Code, Error};

/// Bytes of a document that counts as one of those that are looked at.
const BYTES_OF_ONE: usize = 16 << 10;

/// What is looked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) sort: Option<Keys>,
    pub(super) skip: u64,
    /// 0: all.
    pub(super) limit: u64,
    pub(super) projection: Option<Projection>,
}

/// Documents on their way into a reply.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    most: u32,
    /// Nobody wants the documents themselves.
    counting: bool,
}

/// How far a search came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left.
    Done,
    /// The batch is full.
    Full,
    /// It looked at as many documents as it was allowed to.
    Paused,
}

/// A search that goes on where it stopped.
#[derive(Debug)]
pub(super) struct Search {
    collection: u32,
    wanted: Wanted,
    stage: Stage,
    skipped: u64,
    given: u64,
}

#[derive(Debug)]
enum Stage {
    /// The documents come in the order in which they are wanted.
    Walking(Walk),
    /// All have to be looked at first.
    Gathering(Walk, Gathered),
    /// Their ids are sorted.
    Sorted(std::vec::IntoIter<Vec<u8>>),
}

/// Sort keys and ids; of those that are surely not wanted, most are gone.
#[derive(Debug, Default)]
struct Gathered {
    all: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    /// At most so many documents; 0: as many as fit.
    pub(super) fn of(most: u32) -> Self {
        let limit = BATCH_DOCUMENTS as u32;
        Self { most: if most == 0 { limit } else { most.min(limit) }, ..Self::default() }
    }

    /// Documents that are only counted.
    pub(super) fn counting() -> Self {
        Self { counting: true, ..Self::default() }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.counting
            || self.count == 0
            || (self.count < self.most && self.bytes.len() + bytes <= BATCH_BYTES)
    }

    /// It has as many documents as were asked for.
    fn is_full(&self) -> bool {
        !self.counting && self.count >= self.most
    }

    fn take(&mut self, document: &[u8]) {
        if !self.counting {
            self.bytes.extend(document);
        }
        self.count += 1;
    }
}

impl Search {
    pub(super) fn new(collection: &Collection, wanted: Wanted) -> Self {
        let plan = plan(&wanted.filter, wanted.sort.as_ref(), &collection.candidates());
        let sorted = plan.sorted;
        let walk = Walk::new(collection, plan);
        let stage = if sorted { Stage::Walking(walk) } else { Stage::Gathering(walk, Gathered::default()) };
        Self { collection: collection.number, wanted, stage, skipped: 0, given: 0 }
    }

    /// Bytes that it holds between two batches.
    pub(super) fn held(&self) -> usize {
        match &self.stage {
            Stage::Sorted(ids) => ids.as_slice().iter().map(|id| id.len() + size_of::<Vec<u8>>()).sum(),
            Stage::Walking(walk) | Stage::Gathering(walk, _) => walk.held(),
        }
    }

    /// Whether what it goes by is still there.
    ///
    /// # Errors
    /// `Closed` where the index was dropped.
    pub(super) fn resume(&self, catalog: &Catalog) -> Result<()> {
        let (Stage::Walking(walk) | Stage::Gathering(walk, _)) = &self.stage else { return Ok(()) };
        let there = |index: u32| {
            catalog.collections.values().any(|it| it.indexes.iter().any(|one| one.number == index))
        };
        match walk.index() {
            Some(index) if !there(index) => {
                Err(Error::new(Code::Closed, "the index that the cursor went by was dropped: find again"))
            }
            _ => Ok(()),
        }
    }

    /// Looks at no more than `budget` documents.
    pub(super) fn go(
        &mut self,
        tables: &impl Tables,
        batch: &mut Batch,
        budget: usize,
    ) -> Result<Progress, Fault> {
        let mut left = budget;
        if let Stage::Gathering(walk, gathered) = &mut self.stage {
            let most = match self.wanted.limit {
                0 => usize::MAX,
                limit => usize::try_from(self.wanted.skip.saturating_add(limit)).unwrap_or(usize::MAX),
            };
            let (filter, sort) = (&self.wanted.filter, self.wanted.sort.as_ref());
            let ended = walk.go(tables, &mut |id, document| {
                if let Some(sort) = sort
                    && filter.matches(document)
                {
                    gathered.add(sort.sort_key(document), id, most)?;
                }
                Ok(spent(&mut left, document))
            })?;
            if !ended {
                return Ok(Progress::Paused);
            }
            let sorted = std::mem::take(gathered).sorted(most);
            self.stage = Stage::Sorted(sorted.into_iter());
        }
        self.give(tables, batch, &mut left)
    }

    fn give(&mut self, tables: &impl Tables, batch: &mut Batch, left: &mut usize) -> Result<Progress, Fault> {
        let Self { collection, wanted, stage, skipped, given } = self;
        let mut full = false;
        let mut see = |_: &[u8], document: &Raw| -> Result<Step, Fault> {
            if wanted.filter.matches(document) {
                if *skipped < wanted.skip {
                    *skipped += 1;
                } else {
                    let projected = match &wanted.projection {
                        None => None,
                        Some(projection) => Some(projection.apply(document)?),
                    };
                    let bytes = projected.as_deref().unwrap_or(document.as_bytes());
                    if !batch.has_room(bytes.len()) {
                        full = true;
                        return Ok(Step::Back);
                    }
                    batch.take(bytes);
                    *given += 1;
                    full = batch.is_full();
                    if full || *given == wanted.limit {
                        return Ok(Step::Stop);
                    }
                }
            }
            Ok(spent(left, document))
        };
        let ended = match stage {
            Stage::Walking(walk) => walk.go(tables, &mut see)?,
            Stage::Gathering(..) => false,
            Stage::Sorted(ids) => loop {
                let Some(id) = ids.as_slice().first() else { break true };
                let found = tables.documents().get(&document_key(*collection, id)[..]).map_err(broken)?;
                let step = match found {
                    Some(found) => see(id, raw(found.value())?)?,
                    None => Step::Next,
                };
                if step != Step::Back {
                    ids.next();
                }
                if step != Step::Next {
                    break false;
                }
            },
        };
        Ok(if ended || (*given == wanted.limit && wanted.limit > 0) {
            Progress::Done
        } else if full {
            Progress::Full
        } else {
            Progress::Paused
        })
    }
}

/// Counts a document that was looked at; a large one counts for more.
fn spent(left: &mut usize, document: &Raw) -> Step {
    *left = left.saturating_sub(1 + document.as_bytes().len() / BYTES_OF_ONE);
    if *left == 0 { Step::Stop } else { Step::Next }
}

impl Gathered {
    fn add(&mut self, sort: Vec<u8>, id: &[u8], most: usize) -> Result<()> {
        self.bytes += entry_bytes(&sort, id);
        self.all.push((sort, id.to_vec()));
        if self.all.len() >= most.saturating_mul(2).max(1024) {
            // The half that is surely not wanted goes.
            self.all.select_nth_unstable(most);
            self.all.truncate(most);
            self.bytes = self.all.iter().map(|(sort, id)| entry_bytes(sort, id)).sum();
        }
        if self.bytes > MAX_SORT_BYTES {
            let text = format!(
                "to sort so many documents takes more than {MAX_SORT_BYTES} bytes: make an index of that order, or ask for fewer"
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        Ok(())
    }

    fn sorted(mut self, most: usize) -> Vec<Vec<u8>> {
        self.all.sort_unstable();
        self.all.truncate(most);
        self.all.into_iter().map(|(_, id)| id).collect()
    }
}

fn entry_bytes(sort: &[u8], id: &[u8]) -> usize {
    sort.len() + id.len() + size_of::<(Vec<u8>, Vec<u8>)>()
}
