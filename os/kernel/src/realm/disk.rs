//! What a realm takes of the machine's disk, and how much it may.
//!
//! Programs are counted here, as they are uploaded. What proxies keep they count themselves: each asks for room ahead of need
//! and is granted what is left, so that all together never take more than the limit. The namespace has a limit of its own
//! in bytes; its file counts for the others. Output of procs gets what is left: that of procs that have ended makes room for all the others,
//! that of procs that live does not, and is kept no further where there is none. Past the limit, and where the disk has no more than the kernel's reserve left,
//! growing is `Quota`; reading and removing always go on.

use super::proxies::Proxy;
use crate::output::shelf::Shelf;
use rustix::fs::statvfs;
use sigma_abi::limits::DISK_RESERVE;
use sigma_abi::{Code, Error, Realm, Result};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a proxy may be granted beyond what it uses, so that it need not ask at each write.
const AHEAD: u64 = 16 << 20;

/// Of what is left, at most one part in so many is granted ahead: what one holds ready others cannot have.
const SHARE_AHEAD: u64 = 16;

/// The bytes of a block as stat(2) counts them.
const BLOCK: u64 = 512;

/// The disk of one realm.
#[derive(Debug)]
pub(crate) struct Disk {
    realm: Realm,
    /// The realm's directory, on the disk that is meant.
    dir: PathBuf,
    /// What its procs wrote.
    output: Arc<Shelf>,
    ledger: Mutex<Ledger>,
}

/// Who holds how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ledger {
    limit: Option<u64>,
    /// Programs, those included that are being uploaded.
    programs: u64,
    /// What each proxy may use.
    granted: BTreeMap<Proxy, u64>,
}

impl Ledger {
    /// Bytes that nobody holds; `other` is held by what is not in the ledger.
    fn left(&self, other: u64) -> u64 {
        let held = self
            .granted
            .values()
            .fold(self.programs.saturating_add(other), |held, more| held.saturating_add(*more));
        self.limit.unwrap_or(u64::MAX).saturating_sub(held)
    }

    /// Programs grow; false where there is no room.
    fn take(&mut self, bytes: u64, other: u64) -> bool {
        let fits = bytes <= self.left(other);
        self.programs += if fits { bytes } else { 0 };
        fits
    }

    /// A proxy uses so much, and wants to use so much: what it may use. Less than it wants where there is no room for that.
    fn grant(&mut self, proxy: Proxy, used: u64, wanted: u64, other: u64) -> u64 {
        self.granted.remove(&proxy);
        let left = self.left(other);
        let spare = left.saturating_sub(wanted);
        let ahead = AHEAD.min(spare / SHARE_AHEAD);
        // What is there is there, also past a limit that was lowered since.
        let granted = if wanted <= left { wanted + ahead } else { used.max(left.min(wanted)) };
        self.granted.insert(proxy, granted);
        granted
    }
}

impl Disk {
    pub(crate) fn new(realm: Realm, dir: PathBuf, limit: Option<u64>, output: Arc<Shelf>) -> Self {
        let disk = Self { realm, dir, output, ledger: Mutex::new(Ledger { limit, ..Ledger::default() }) };
        disk.leave_the_rest();
        disk
    }

    /// A lower limit takes nothing away that is there, but for output of procs that have ended.
    pub(crate) fn set_limit(&self, limit: Option<u64>) {
        self.lock().limit = limit;
        self.leave_the_rest();
    }

    /// Counts a program that is there.
    pub(crate) fn hold(&self, bytes: u64) {
        self.lock().programs += bytes;
        self.leave_the_rest();
    }

    /// Leaves what nobody else holds for output.
    pub(crate) fn leave_the_rest(&self) {
        self.leave_beside(self.namespace_bytes());
    }

    fn leave_beside(&self, namespace: u64) {
        let left = self.lock().left(namespace);
        self.output.allow(left);
    }

    /// What output holds that makes no room.
    fn output_of_living(&self) -> u64 {
        self.output.used().1
    }

    /// Takes room for a part of a program.
    ///
    /// # Errors
    /// `Quota` past the realm's limit, or where the machine's disk has only the kernel's reserve left.
    pub(crate) fn take(&self, bytes: u64) -> Result<()> {
        let room = statvfs(&self.dir).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if room.is_ok_and(|room| room < DISK_RESERVE.saturating_add(bytes)) {
            let text = "the machine's disk is full but for the kernel's reserve: remove what is not needed";
            return Err(Error::new(Code::Quota, text));
        }
        let namespace = self.namespace_bytes();
        let other = namespace + self.output_of_living();
        {
            let mut ledger = self.lock();
            if !ledger.take(bytes, other) {
                return Err(self.full(&ledger));
            }
        }
        self.leave_beside(namespace);
        Ok(())
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        {
            let mut ledger = self.lock();
            ledger.programs = ledger.programs.saturating_sub(bytes);
        }
        self.leave_the_rest();
    }

    /// What a proxy may use, where it uses so much now and wants to use so much.
    pub(crate) fn grant(&self, proxy: Proxy, used: u64, wanted: u64) -> u64 {
        let namespace = self.namespace_bytes();
        let other = namespace + self.output_of_living();
        let granted = self.lock().grant(proxy, used, wanted.max(used), other);
        self.leave_beside(namespace);
        granted
    }

    /// Bytes of programs.
    #[cfg(test)]
    pub(crate) fn programs(&self) -> u64 {
        self.lock().programs
    }

    /// Bytes of all that the realm has on the disk, but for what proxies keep.
    pub(crate) fn used_here(&self) -> u64 {
        let programs = self.lock().programs;
        programs + self.namespace_bytes() + self.output.used().0
    }

    /// Bytes that the namespace has on the disk.
    fn namespace_bytes(&self) -> u64 {
        let file = std::fs::metadata(self.dir.join(super::NAMESPACE_FILE));
        file.map_or(0, |file| file.blocks() * BLOCK)
    }

    fn full(&self, ledger: &Ledger) -> Error {
        let limit = ledger.limit.unwrap_or(u64::MAX);
        let realm = &self.realm;
        let text = format!(
            "realm {realm} has no room left of its {limit} bytes of disk: remove files or programs, or the operator grants more \
             by 'sigma realm set {realm} limit.disk=SIZE'"
        );
        Error::new(Code::Quota, text)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limit: u64) -> Ledger {
        Ledger { limit: Some(limit), ..Ledger::default() }
    }

    #[test]
    fn programs_and_files_together_never_pass_the_limit() {
        let mut ledger = ledger(1000);
        assert!(ledger.take(400, 0));
        let granted = ledger.grant(Proxy::Ux, 0, 300, 0);
        assert!((300..=600).contains(&granted), "{granted}");
        assert!(!ledger.take(301, 0), "ux holds {granted}");
        assert_eq!(ledger.grant(Proxy::Ux, 300, 600, 0), 600, "all that is left, to the byte");
        assert!(ledger.grant(Proxy::Ux, 600, 601, 0) < 601);
        assert!(!ledger.take(1, 0));
        // Files were removed: what they held is there for programs.
        ledger.grant(Proxy::Ux, 0, 0, 0);
        assert!(ledger.take(500, 0));
    }

    #[test]
    fn what_one_proxy_holds_another_does_not_get() {
        let mut ledger = ledger(1000);
        let granted = ledger.grant(Proxy::Mongo, 0, 500, 0);
        assert_eq!(ledger.grant(Proxy::Ux, 0, 1000, 0), 1000 - granted);
        let ahead = ledger.grant(Proxy::Mongo, 0, 0, 0);
        assert!(ahead < granted);
        assert_eq!(
            ledger.grant(Proxy::Ux, 500, 1000, 0),
            1000 - ahead,
            "what was given back is there for others"
        );
    }

    #[test]
    fn the_namespace_counts_for_the_others() {
        let mut ledger = ledger(1000);
        assert!(!ledger.take(500, 501));
        assert!(ledger.take(499, 501));
        assert_eq!(ledger.grant(Proxy::Ux, 0, 1, 501), 0);
    }

    #[test]
    fn a_limit_below_what_is_there_takes_nothing_away() {
        let mut ledger = ledger(1000);
        assert_eq!(ledger.grant(Proxy::Ux, 900, 900, 0), 906);
        ledger.limit = Some(100);
        assert_eq!(ledger.grant(Proxy::Ux, 900, 900, 0), 900);
        assert_eq!(ledger.grant(Proxy::Ux, 900, 901, 0), 900, "and nothing grows");
        assert_eq!(ledger.left(0), 0);
    }

    #[test]
    fn without_a_limit_ux_asks_now_and_then_only() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.grant(Proxy::Ux, 0, 5, 0), 5 + AHEAD);
        assert!(ledger.take(u64::MAX / 2, 0));
    }
}
