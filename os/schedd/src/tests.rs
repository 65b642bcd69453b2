//! A small world around the policy, and the tests that live in it.

mod evict;
mod limits;
mod places;
mod properties;
mod simulation;
mod speed;
mod stories;
mod usage;

use crate::{Action, Event, Machine, Policy};
use sigma_abi::{Class, MachineId, Pid, Realm};

pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn pid(number: u64) -> Pid {
    Pid { home: MachineId(1), epoch: 1, number }
}

pub(crate) fn realm(name: &str) -> Realm {
    Realm::parse(name).unwrap()
}

/// A machine with the reserve on top, so that tests count with round numbers.
pub(crate) fn machine(cores: u32, proc_memory_bytes: u64) -> Machine {
    let memory_bytes = proc_memory_bytes + crate::book::KERNEL_RESERVE_BYTES;
    Machine { cores, memory_bytes, procs: 100_000 }
}

pub(crate) struct World {
    pub(crate) policy: Policy,
    next: u64,
    /// Who was evicted, and for whom, in this order.
    pub(crate) evicted: Vec<(u64, u64)>,
    /// Who is served as BE.
    pub(crate) demoted: Vec<u64>,
}

impl World {
    pub(crate) fn new(cores: u32, proc_memory_bytes: u64) -> Self {
        Self::on(machine(cores, proc_memory_bytes))
    }

    pub(crate) fn on(machine: Machine) -> Self {
        Self { policy: Policy::new(machine), next: 0, evicted: Vec::new(), demoted: Vec::new() }
    }

    /// Delivers an event; the numbers of the procs that start because of it.
    pub(crate) fn event(&mut self, event: Event) -> Vec<u64> {
        let mut actions = Vec::new();
        self.policy.handle(event, &mut actions);
        let mut started = Vec::new();
        for action in actions {
            match action {
                Action::Start { pid } => started.push(pid.number),
                Action::Evict { pid, for_pid } => self.evicted.push((pid.number, for_pid.number)),
                Action::Demote { pid } => self.demoted.push(pid.number),
                Action::Restore { pid } => self.demoted.retain(|number| *number != pid.number),
                Action::Refuse { pid, reason } => panic!("{pid} refused: {reason}"),
            }
        }
        started
    }

    /// Queues a proc; its number and what starts.
    pub(crate) fn queue(&mut self, name: &str, class: Class, memory_bytes: u64) -> (u64, Vec<u64>) {
        self.next += 1;
        let event = Event::Queued { pid: pid(self.next), realm: realm(name), class, memory_bytes };
        (self.next, self.event(event))
    }

    pub(crate) fn lc(&mut self, name: &str, mcpu: u32) -> (u64, Vec<u64>) {
        self.queue(name, Class::Lc { mcpu }, 4 * MIB)
    }

    pub(crate) fn be(&mut self, name: &str) -> (u64, Vec<u64>) {
        self.queue(name, Class::Be, 4 * MIB)
    }

    pub(crate) fn end(&mut self, number: u64) -> Vec<u64> {
        self.event(Event::Ended { pid: pid(number) })
    }

    pub(crate) fn idle(&mut self, mcpu: u32) -> Vec<u64> {
        self.event(Event::Idle { mcpu })
    }

    pub(crate) fn why(&self, number: u64) -> String {
        self.policy.why(pid(number)).unwrap()
    }
}
