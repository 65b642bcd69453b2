//! Why a proc still waits, for people: what `sigma why` prints.

use crate::book::{Mib, Need};
use crate::policy::{Policy, word};
use crate::proc::{Phase, Proc};
use sigma_abi::Pid;

impl Policy {
    /// What is special about how a running proc is served, as a sentence; `None` where nothing is.
    pub fn served(&self, pid: Pid) -> Option<String> {
        let proc = self.procs.get(&pid)?;
        match proc.phase {
            Phase::Runs(run) if run.evicted => Some("it is killed to make room for an LC proc".to_owned()),
            Phase::Runs(run) if run.usage.demoted => Some(format!(
                "runs as BE: it uses more than the {} mcpu that it reserved, and others wait for a core",
                proc.need.mcpu
            )),
            Phase::Runs(run) if run.blocked => Some("waits for a child, and holds no BE place".to_owned()),
            _ => None,
        }
    }

    /// What a queued proc waits for, as a sentence; `None` for one that runs or is not known.
    pub fn why(&self, pid: Pid) -> Option<String> {
        let proc = self.procs.get(&pid).filter(|proc| proc.waits())?;
        let (class, realm) = (word(proc.class), &self.accounts.get(proc.slot).realm);
        let (head, need) = self.lane(proc.class).head(proc.slot)?;
        let reason = self.why_head(proc, need);
        if head == pid {
            return Some(format!("first {class} proc of realm {realm}: {reason}"));
        }
        Some(format!("waits behind {head}, the first {class} proc of realm {realm}, and that one: {reason}"))
    }

    fn why_head(&self, proc: &Proc, need: Need) -> String {
        let account = self.accounts.get(proc.slot);
        let (held, most, realm) = (account.held, account.limits.most(), &account.realm);
        let beyond = need.short_in(account.allowed());
        if beyond.mcpu {
            let (asks, held, most) = (need.mcpu, held.mcpu, most.mcpu);
            return format!(
                "asks for {asks} mcpu; realm {realm} holds {held} of the {most} that it may have"
            );
        }
        if beyond.memory {
            let (asks, held, most) = (Mib(need.memory_bytes), Mib(held.memory_bytes), Mib(most.memory_bytes));
            return format!(
                "asks for {asks} of memory; realm {realm} holds {held} of the {most} that it may have"
            );
        }
        let (free, total) = (self.book.free(), self.book.total());
        let short = self.book.short_for(need);
        if short.mcpu {
            return format!("asks for {} mcpu; {} of {} are free", need.mcpu, free.mcpu, total.mcpu);
        }
        if short.memory {
            let (asks, free, total) =
                (Mib(need.memory_bytes), Mib(free.memory_bytes), Mib(total.memory_bytes));
            let room = match proc.class.is_lc() && self.book.evicting_procs > 0 {
                true => ", and BE procs are killed to make room",
                false => "",
            };
            return format!("asks for {asks} of memory; {free} of {total} are free{room}");
        }
        if !proc.class.is_lc() && self.memory_short {
            return "the machine is short of memory, and starts no BE procs until it is not".to_owned();
        }
        let machine = self.book.machine;
        if !self.book.has_place() {
            let procs = machine.procs;
            return format!("{procs} procs run here, as many as the descriptors of this machine allow");
        }
        if !proc.class.is_lc() && self.book.be_places() >= machine.be_baseline() {
            let (running, cores) = (self.book.be_places(), machine.cores);
            let waiting = match self.book.be_blocked {
                0 => String::new(),
                blocked => format!(", {blocked} more wait for their children"),
            };
            return format!(
                "{running} BE procs run on {cores} cores{waiting}; it starts in its realm's turn, when one ends or a core is idle"
            );
        }
        if !proc.class.is_lc() && self.lc_head_lacks_memory(proc.slot) {
            return "an LC proc of the same realm waits for memory and goes first".to_owned();
        }
        "its realm has its even share of the machine, and a proc of another realm waits for more to be free"
            .to_owned()
    }
}
