//! The queue of one class: a line per realm, and the order in which those realms have their turn that may start more.

use crate::book::{Need, Short};
use crate::order::{Demand, Key, Order, Room};
use crate::realm::Slot;
use sigma_abi::Pid;
use std::collections::BTreeMap;

/// A place in a line. Tickets grow, so the smallest is the head.
pub(crate) type Ticket = u64;

#[derive(Clone, Debug, Default)]
struct Line {
    procs: BTreeMap<Ticket, (Pid, Need)>,
    standing: Standing,
    /// Whether its head is in the order: it is where its realm's limits allow it to start.
    in_order: bool,
    /// When the line formed or last had a start, by the lane's counter.
    turn: u64,
}

/// How a realm stands, for its next turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Decides whose turn it is.
    pub(crate) share: u64,
    /// What its running procs of both classes hold.
    pub(crate) held: Need,
    /// What its limits allow beyond that.
    pub(crate) allowed: Need,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    lines: Vec<Line>,
    order: Order,
    counter: u64,
    queued: usize,
}

impl Lane {
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn queued_of(&self, slot: Slot) -> usize {
        self.lines.get(slot).map_or(0, |line| line.procs.len())
    }

    pub(crate) fn head(&self, slot: Slot) -> Option<(Pid, Need)> {
        self.lines.get(slot)?.procs.first_key_value().map(|(_, head)| *head)
    }

    /// The next realm whose head may start, as [`Order::next`].
    pub(crate) fn next(&self, cursor: Option<Key>, room: &Room, short: &mut Short) -> Option<Key> {
        self.order.next(cursor, room, short)
    }

    /// The most that any head asks for.
    pub(crate) fn most(&self) -> Need {
        self.order.most()
    }

    pub(crate) fn push(&mut self, slot: Slot, standing: Standing, pid: Pid, need: Need) -> Ticket {
        if self.lines.len() <= slot {
            self.lines.resize_with(slot + 1, Line::default);
        }
        self.counter += 1;
        self.queued += 1;
        let (ticket, line) = (self.counter, &mut self.lines[slot]);
        let forms = line.procs.is_empty();
        line.procs.insert(ticket, (pid, need));
        if forms {
            // A realm that comes back joins behind those that wait: leaving and coming again wins no turns.
            (line.standing, line.turn) = (standing, ticket);
            self.attach(slot);
        }
        ticket
    }

    pub(crate) fn remove(&mut self, slot: Slot, ticket: Ticket) {
        self.detach(slot);
        if self.lines[slot].procs.remove(&ticket).is_some() {
            self.queued -= 1;
        }
        self.attach(slot);
    }

    /// Takes the head off: the realm had its turn.
    pub(crate) fn pop(&mut self, slot: Slot) {
        self.detach(slot);
        self.counter += 1;
        let line = &mut self.lines[slot];
        line.turn = self.counter;
        if line.procs.pop_first().is_some() {
            self.queued -= 1;
        }
        self.attach(slot);
    }

    pub(crate) fn stand(&mut self, slot: Slot, standing: Standing) {
        self.detach(slot);
        if let Some(line) = self.lines.get_mut(slot) {
            line.standing = standing;
        }
        self.attach(slot);
    }

    fn attach(&mut self, slot: Slot) {
        let Some((_, need)) = self.head(slot) else { return };
        let (standing, turn) = (self.lines[slot].standing, self.lines[slot].turn);
        if need.short_in(standing.allowed).any() {
            return;
        }
        let after = standing.held.sum_where_any(need);
        self.order.insert((standing.share, turn, slot), Demand { need, after });
        self.lines[slot].in_order = true;
    }

    fn detach(&mut self, slot: Slot) {
        let Some(line) = self.lines.get_mut(slot) else { return };
        if std::mem::take(&mut line.in_order) {
            self.order.remove((line.standing.share, line.turn, slot));
        }
    }
}
