//! The order in which the realms of a lane have their turn, searched for the first head that may start.
//!
//! Kept in blocks with the least and the most that their heads ask for, so that a search looks into a block only
//! where something may start: among a thousand realms that is some twenty looks, not a thousand.

use crate::book::{Need, Short};
use crate::realm::Slot;

/// Heads of one block; a full one is split.
const BLOCK: usize = 64;

/// Smallest share first, then the realm whose turn is longest ago.
pub(crate) type Key = (u64, u64, Slot);

/// What a head asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) need: Need,
    /// What its realm would hold with it; 0 of what the realm holds nothing of yet, whose first is always allowed.
    pub(crate) after: Need,
}

/// What there is for a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) free: Need,
    /// An even share of the machine.
    pub(crate) even: Need,
}

impl Room {
    pub(crate) fn short_for(&self, need: Need) -> Short {
        need.short_in(self.free)
    }

    /// Whether a head may start while heads before it lack what is `short`.
    fn allows(&self, demand: &Demand, short: Short) -> bool {
        !self.short_for(demand.need).any()
            && (!short.mcpu || demand.after.mcpu <= self.even.mcpu)
            && (!short.memory || demand.after.memory_bytes <= self.even.memory_bytes)
    }
}

#[derive(Clone, Debug)]
struct Block {
    heads: Vec<(Key, Demand)>,
    /// The least of everything that any head asks for: what has no room for this has none for any of them.
    least: Demand,
    most: Need,
}

impl Block {
    fn new(heads: Vec<(Key, Demand)>) -> Self {
        let (nothing, everything) = (Need::default(), Need { mcpu: u64::MAX, memory_bytes: u64::MAX });
        let least = Demand { need: everything, after: everything };
        let mut block = Self { heads, least, most: nothing };
        for (_, demand) in &block.heads {
            block.least.need = block.least.need.min(demand.need);
            block.least.after = block.least.after.min(demand.after);
            block.most = block.most.max(demand.need);
        }
        block
    }
}

/// Sorted heads, one for each realm that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// Never an empty one.
    blocks: Vec<Block>,
}

impl Order {
    pub(crate) fn insert(&mut self, key: Key, demand: Demand) {
        if self.blocks.is_empty() {
            self.blocks.push(Block::new(vec![(key, demand)]));
            return;
        }
        let index = self.block_of(key).min(self.blocks.len() - 1);
        let mut heads = std::mem::take(&mut self.blocks[index].heads);
        let at = heads.partition_point(|(other, _)| *other < key);
        heads.insert(at, (key, demand));
        if heads.len() > BLOCK {
            let upper = heads.split_off(BLOCK / 2);
            self.blocks.insert(index + 1, Block::new(upper));
        }
        self.blocks[index] = Block::new(heads);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        let index = self.block_of(key);
        let Some(block) = self.blocks.get_mut(index) else { return };
        let mut heads = std::mem::take(&mut block.heads);
        heads.retain(|(other, _)| *other != key);
        if heads.is_empty() {
            self.blocks.remove(index);
        } else {
            self.blocks[index] = Block::new(heads);
        }
    }

    /// The first head after `cursor` that may start. What heads before it lack is added to `short`.
    pub(crate) fn next(&self, cursor: Option<Key>, room: &Room, short: &mut Short) -> Option<Key> {
        let first = cursor.map_or(0, |cursor| self.block_of(cursor));
        for block in self.blocks.get(first..)? {
            let behind = |key: Key| cursor.is_none_or(|cursor| key > cursor);
            let whole = block.heads.first().is_some_and(|(key, _)| behind(*key));
            if whole && !room.allows(&block.least, *short) {
                *short = short.or(room.short_for(block.most));
                continue;
            }
            for (key, demand) in block.heads.iter().filter(|(key, _)| behind(*key)) {
                if room.allows(demand, *short) {
                    return Some(*key);
                }
                *short = short.or(room.short_for(demand.need));
            }
        }
        None
    }

    /// The most that any head asks for.
    pub(crate) fn most(&self) -> Need {
        self.blocks.iter().fold(Need::default(), |most, block| most.max(block.most))
    }

    /// The block that holds the key, or would.
    fn block_of(&self, key: Key) -> usize {
        self.blocks.partition_point(|block| block.heads.last().is_some_and(|(last, _)| *last < key))
    }
}
