//! What is refused at spawn, rather than queued: what can never run here.

use crate::book::Mib;
use crate::policy::{MAX_QUEUED_PER_REALM, Policy, word};
use sigma_abi::{Class, Code, Error, Realm, Result};

impl Policy {
    /// Whether a proc would be queued. The kernel asks at spawn, so that the spawner gets the error.
    ///
    /// # Errors
    /// As [`Machine::check`](crate::Machine::check); `Quota` for what the limits of its realm never allow, and at
    /// [`MAX_QUEUED_PER_REALM`].
    pub fn check(&self, realm: &Realm, class: Class, memory_bytes: u64) -> Result<()> {
        self.book.machine.check(class, memory_bytes)?;
        self.check_limits(realm, class, memory_bytes)?;
        let queued = self.accounts.slot(realm).map_or(0, |slot| self.lane(class).queued_of(slot));
        if queued < MAX_QUEUED_PER_REALM {
            return Ok(());
        }
        let text = format!("realm {realm} has {queued} {} procs waiting here, the most it may", word(class));
        Err(Error::new(Code::Quota, text))
    }

    fn check_limits(&self, realm: &Realm, class: Class, memory_bytes: u64) -> Result<()> {
        let refuse = |text| Err(Error::new(Code::Quota, text));
        let limits = self.accounts.limits(realm);
        let most = limits.most();
        if u64::from(class.mcpu()) > most.mcpu {
            return refuse(format!("asks for {} mcpu; realm {realm} may have {}", class.mcpu(), most.mcpu));
        }
        if memory_bytes > most.memory_bytes {
            let (asks, most) = (Mib(memory_bytes), Mib(most.memory_bytes));
            return refuse(format!("asks for {asks} of memory; realm {realm} may have {most}"));
        }
        let procs = self.accounts.slot(realm).map_or(0, |slot| self.accounts.get(slot).procs());
        if limits.procs.is_some_and(|most| procs >= most) {
            return refuse(format!("realm {realm} has {procs} procs, queued and running, the most it may"));
        }
        Ok(())
    }
}
