//! One proc, as the policy knows it.

use crate::book::Need;
use crate::lane::Ticket;
use crate::realm::Slot;
use crate::usage::Usage;
use sigma_abi::Class;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Proc {
    pub(crate) slot: Slot,
    pub(crate) class: Class,
    pub(crate) need: Need,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    Waits(Ticket),
    Runs(Run),
}

/// A proc that was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The how manieth start of this machine it was: the greatest is the youngest.
    pub(crate) number: u64,
    /// It waits for a child of its own, and so holds no BE place.
    pub(crate) blocked: bool,
    /// It is being killed to make room.
    pub(crate) evicted: bool,
    /// How it keeps to its reservation.
    pub(crate) usage: Usage,
}

impl Run {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, blocked: false, evicted: false, usage: Usage::default() }
    }
}

impl Proc {
    pub(crate) fn waits(&self) -> bool {
        matches!(self.phase, Phase::Waits(_))
    }
}
