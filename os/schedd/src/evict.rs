//! Room for an LC proc that BE procs hold.

use crate::book::Need;
use crate::event::Action;
use crate::order::Room;
use crate::policy::Policy;
use crate::proc::Phase;
use sigma_abi::Pid;

impl Policy {
    /// Kills BE procs for the LC proc that is next, where their room is all that it lacks: of the realm whose BE procs hold
    /// most memory first, the youngest of it first. What that LC proc needs, which nobody may take meanwhile.
    pub(crate) fn make_room(&mut self, actions: &mut Vec<Action>) -> Option<Need> {
        let (for_pid, need) = self.wants_room()?;
        while need.memory_bytes > self.book.free().memory_bytes + self.book.evicting.memory_bytes
            || !self.book.has_place() && self.book.evicting_procs == 0
        {
            let pid = self.next_victim()?;
            self.mark(pid);
            actions.push(Action::Evict { pid, for_pid });
        }
        Some(need)
    }

    /// The LC proc that would start if no BE proc ran.
    fn wants_room(&self) -> Option<(Pid, Need)> {
        if self.book.be_running == 0 || self.lc.queued() == 0 {
            return None;
        }
        let mut room = self.room();
        room.free.memory_bytes += self.book.evictable.memory_bytes + self.book.evicting.memory_bytes;
        let key = self.lc.next(None, &room, &mut Default::default())?;
        self.lc.head(key.2)
    }

    /// What BE procs may take while an LC proc waits for `reserved` to be free.
    pub(crate) fn be_room(&self, reserved: Option<Need>) -> Room {
        let mut room = self.room();
        if let Some(reserved) = reserved {
            let coming = room.free.memory_bytes + self.book.evicting.memory_bytes;
            let spare = coming.saturating_sub(reserved.memory_bytes);
            room.free.memory_bytes = room.free.memory_bytes.min(spare);
        }
        room
    }

    /// BE procs that run, wait for no child of theirs, and are not being killed to make room.
    pub fn be_procs(&self) -> impl Iterator<Item = Pid> {
        let all = self.accounts.iter().flat_map(|account| account.victims.values().copied());
        all.filter(|pid| {
            let proc = self.procs.get(pid);
            proc.is_some_and(|proc| matches!(proc.phase, Phase::Runs(run) if !run.blocked))
        })
    }

    fn next_victim(&self) -> Option<Pid> {
        let most = self.accounts.iter().max_by_key(|account| account.evictable.memory_bytes)?;
        most.victims.last_key_value().map(|(_, pid)| *pid)
    }

    fn mark(&mut self, pid: Pid) {
        let proc = self.procs.get_mut(&pid).expect("what runs is known");
        let need = proc.need;
        if let Phase::Runs(run) = &mut proc.phase {
            run.evicted = true;
            let (slot, number) = (proc.slot, run.number);
            self.accounts.get_mut(slot).not_evictable(number, need);
            self.book.evictable.subtract(need);
            self.book.evicting.add(need);
            self.book.evicting_procs += 1;
        }
    }
}
