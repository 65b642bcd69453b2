//! What the operator sets for a realm: kept durably, then applied to what runs.

use super::settings::{DISK, ENTRIES, MCPU, MEMORY, PROCS, Settings};
use super::{Tenant, internal, store};
use crate::kernel::Kernel;
use sigma_abi::limits::DEFAULT_ENTRIES;
use sigma_abi::{Result, proto};
use sigma_schedd::Event;
use sigmaos::stub::{NamedControlClient, UxControlClient};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Tenant {
    pub(crate) fn settings(&self) -> Settings {
        self.record().settings.clone()
    }

    /// Changes settings, all of them or none. What runs goes on, also where a limit is now below it.
    ///
    /// # Errors
    /// `Invalid` naming the key or the value; `Internal` where they cannot be kept.
    pub(crate) async fn set(&self, kernel: &Arc<Kernel>, changes: BTreeMap<String, String>) -> Result<()> {
        let (before, settings) = {
            let mut record = self.record();
            let settings = record.settings.with(changes)?;
            let changed = store::Record { settings: settings.clone(), ..record.clone() };
            changed.keep().map_err(internal)?;
            (std::mem::replace(&mut *record, changed).settings, settings)
        };
        self.proxies.changed(&before, &settings);
        self.disk.set_limit(settings.disk_bytes());
        kernel.ports.keep_granted(&self.name, &settings);
        kernel.schedule(Event::Limits { realm: self.name.clone(), limits: settings.limits() });
        let entries = settings.entries().unwrap_or(DEFAULT_ENTRIES);
        self.entries(Some(entries)).await.map(drop)
    }

    /// How many entries the namespace holds; says before how many it may hold.
    async fn entries(&self, limit: Option<u64>) -> Result<u64> {
        let named = NamedControlClient(self.root().await?.device);
        Ok(named.limit(proto::LimitRequest { entries: limit }).await?.entries)
    }

    /// Marks it as on its way out, durably: from here on there is no way back.
    pub(super) fn mark_removed(&self) -> Result<store::Record> {
        let mut record = self.record();
        let removed = store::Record { removing: true, ..record.clone() };
        removed.keep().map_err(internal)?;
        *record = removed.clone();
        Ok(removed)
    }

    /// All settings, with what the realm uses of each.
    pub(crate) async fn show(&self, kernel: &Arc<Kernel>) -> Result<proto::RealmShown> {
        let settings = self.settings();
        let used = self.used(kernel).await?;
        let shown = settings.shown().map(|(name, key, value)| proto::Setting {
            limit: settings.limit(&name),
            used: used.get(&*name).copied(),
            value: value.map(|value| key.shown(value)).unwrap_or_default(),
            default: key.default.to_owned(),
            hidden: value.is_some() && key.is_secret(),
            key: name,
        });
        Ok(proto::RealmShown { name: self.name.to_string(), settings: shown.collect() })
    }

    /// What the realm uses, by the key that limits it.
    async fn used(&self, kernel: &Arc<Kernel>) -> Result<BTreeMap<&'static str, u64>> {
        let files = UxControlClient(self.files(kernel).await?).used(proto::Empty {}).await?.bytes;
        let disk = self.disk.used_here() + files;
        let entries = self.entries(None).await?;
        let mut procs = (0, 0);
        for proc in kernel.procs.list(&self.name).iter().filter(|proc| proc.is_admitted()) {
            procs.0 += u64::from(proc.spec.class.mcpu());
            procs.1 += proc.spec.memory_bytes;
        }
        let live = kernel.procs.live(&self.name) as u64;
        Ok([(PROCS, live), (MCPU, procs.0), (MEMORY, procs.1), (DISK, disk), (ENTRIES, entries)].into())
    }
}
