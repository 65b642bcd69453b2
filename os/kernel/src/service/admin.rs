//! The operator's calls.

use crate::kernel::Kernel;
use crate::realm::Tenant;
use crate::state::State;
use sigma_abi::layer::Layer;
use sigma_abi::{Realm, Result, proto};
use sigmaos::rpc::{Request, Response};
use sigmaos::stub::Admin;
use std::sync::Arc;

pub(crate) struct Admins {
    pub(crate) kernel: Arc<Kernel>,
}

impl Admins {
    fn describe(&self, realm: &Tenant) -> proto::RealmInfo {
        let procs = self.kernel.procs.live(&realm.name) as u32;
        proto::RealmInfo { name: realm.name.to_string(), procs, removing: String::new() }
    }

    /// All realms by name, those that are being removed among them.
    fn realms(&self) -> Vec<proto::RealmInfo> {
        let removing = self.kernel.realms.removing().into_iter().map(|(name, removing)| proto::RealmInfo {
            procs: self.kernel.procs.live(&name) as u32,
            name: name.to_string(),
            removing,
        });
        let up = self.kernel.realms.list();
        let mut all: Vec<_> = up.iter().map(|realm| self.describe(realm)).chain(removing).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The layers of the sandbox, as the jails say: a layer is on where no jail runs without it.
    fn layers(&self, realms: &[Arc<Tenant>]) -> Vec<proto::Layer> {
        let standing: Vec<_> = realms.iter().filter_map(|realm| realm.jail.layers_now()).collect();
        let broken = standing.iter().find_map(|standing| standing.as_ref().err());
        let layers = Layer::ALL.into_iter().map(|layer| {
            let removed = self.kernel.without.contains(&layer);
            let (on, note) = match layer {
                _ if removed => (false, format!("switched off by --insecure-without={layer}")),
                Layer::Cgroup if !self.kernel.cgroups.on() => (false, self.kernel.cgroups.describe()),
                Layer::Cgroup => (true, self.kernel.cgroups.describe()),
                _ => match broken {
                    Some(error) => (false, error.clone()),
                    None => (true, String::new()),
                },
            };
            proto::Layer { name: layer.to_string(), on, note }
        });
        layers.collect()
    }
}

impl Admin for Admins {
    async fn realm_create(
        &self,
        request: Request<proto::RealmRequest>,
    ) -> Result<Response<proto::RealmInfo>> {
        let name = Realm::parse(&request.message.name)?;
        let realm = self.kernel.realms.create(&self.kernel, &name).await?;
        Ok(self.describe(&realm).into())
    }

    async fn realm_list(&self, _: Request<proto::Empty>) -> Result<Response<proto::RealmInfos>> {
        Ok(proto::RealmInfos { realms: self.realms() }.into())
    }

    async fn realm_remove(&self, request: Request<proto::RealmRequest>) -> Result<Response<proto::Empty>> {
        let name = Realm::parse(&request.message.name)?;
        self.kernel.realms.remove(&self.kernel, &name).await?;
        Ok(proto::Empty {}.into())
    }

    async fn realm_set(
        &self,
        request: Request<proto::RealmSetRequest>,
    ) -> Result<Response<proto::RealmShown>> {
        let proto::RealmSetRequest { name, settings } = request.message;
        let realm = self.kernel.realms.find(&Realm::parse(&name)?)?;
        realm.set(&self.kernel, settings.into_iter().collect()).await?;
        Ok(realm.show(&self.kernel).await?.into())
    }

    async fn realm_show(&self, request: Request<proto::RealmRequest>) -> Result<Response<proto::RealmShown>> {
        let realm = self.kernel.realms.find(&Realm::parse(&request.message.name)?)?;
        Ok(realm.show(&self.kernel).await?.into())
    }

    async fn kernel_status(&self, _: Request<proto::Empty>) -> Result<Response<proto::KernelInfo>> {
        let kernel = &self.kernel;
        let load = kernel.scheduler.load();
        let realms = kernel.realms.list();
        for realm in &realms {
            // What a jail says of its layers is only known when it has spoken.
            let _ = realm.jail.layers().await;
        }
        let info = proto::KernelInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: kernel.capacity.id.to_string(),
            epoch: kernel.state.epoch,
            state_dir: kernel.state.dir.display().to_string(),
            log_file: State::log_file(&kernel.state.dir).display().to_string(),
            os_pid: std::process::id(),
            uptime_ms: kernel.booted.elapsed().as_millis() as u64,
            cores: kernel.capacity.cores,
            memory_bytes: kernel.capacity.memory_bytes,
            lc_reserved_mcpu: load.reserved_mcpu as u32,
            memory_reserved_bytes: load.memory_bytes,
            queued: (load.lc_queued + load.be_queued) as u32,
            running: (load.lc_running + load.be_running) as u32,
            layers: self.layers(&realms),
            cgroups: kernel.cgroups.describe(),
            prepared_launchers: realms.iter().map(|realm| realm.jail.prepared() as u32).sum(),
            realms: self.realms(),
            sched_idle: kernel.sched_idle,
            demoted: load.lc_demoted as u32,
            most_procs: kernel.capacity.procs,
            pressure: Some(kernel.pressure.to_proto()),
        };
        Ok(info.into())
    }

    async fn shutdown(&self, _: Request<proto::Empty>) -> Result<Response<proto::Empty>> {
        self.kernel.shutdown.notify_one();
        Ok(proto::Empty {}.into())
    }
}
