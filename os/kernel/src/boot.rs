//! From nothing to a kernel that serves, and back.
//!
//! The order: the lock of the state directory, the log, control groups cleaned, realms brought up, the local socket.

use crate::cgroup::Cgroups;
use crate::kernel::{Kernel, Parts};
use crate::machine::Capacity;
use crate::state::State;
use crate::{Options, listen, log, measure, pressure, rank};
use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sigma_abi::layer::Layer;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};

/// Where control groups are mounted, by every convention.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// How long procs and kernel processes may take to end when the kernel does.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the kernel until it is told to end.
pub(crate) fn run(options: &Options) -> Result<()> {
    let state = State::open(&options.state)?;
    let log = log::open(&state.dir)?;
    log::start(log.try_clone()?, options.verbose);
    raise_descriptors();
    // One thread: what it does is short, and a start then never waits for another core to wake.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make the runtime")?;
    runtime.block_on(serve(options, state, log))
}

/// Takes all the descriptors that the system allows, for the kernel processes, too: most systems give a program few until it
/// asks.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors cannot be raised");
    }
}

async fn serve(options: &Options, state: State, log: File) -> Result<()> {
    let input = options.ends_with_input.then(input).transpose()?;
    let capacity = Capacity::measure(state.machine);
    let wanted = !options.insecure_without.contains(&Layer::Cgroup);
    let (idle, cores) = (options.sched_idle, capacity.cores);
    let cgroups = Cgroups::find(state.machine, Path::new(CGROUP_ROOT), wanted, idle, cores);
    tracing::info!(machine = %state.machine, epoch = state.epoch, cgroups = cgroups.describe(), "booting");
    let listener = listen::bind(&state.dir)?;
    let kernel = Kernel::new(Parts {
        state,
        capacity,
        cgroups,
        without: options.insecure_without.clone(),
        sched_idle: options.sched_idle,
        programs: programs()?,
        log,
    });
    kernel.realms.load(&kernel)?;
    let tasks = [
        tokio::spawn(listen::serve(Arc::clone(&kernel), listener)),
        tokio::spawn(measure::idle(Arc::clone(&kernel))),
        tokio::spawn(measure::used(Arc::clone(&kernel))),
        tokio::spawn(rank::keep(Arc::clone(&kernel))),
        tokio::spawn(crate::kernel::sweep(Arc::clone(&kernel))),
        tokio::spawn(pressure::watch(Arc::clone(&kernel))),
    ];
    println!("ready");
    std::io::stdout().flush().context("cannot say that the kernel is ready")?;
    tracing::info!("ready");
    until_the_end(&kernel, input).await?;
    tracing::info!("ending");
    for task in tasks {
        task.abort();
    }
    end(&kernel).await;
    Ok(())
}

/// The standard input, which ends when nobody holds its other end any more.
fn input() -> Result<Receiver> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().context("cannot use the standard input")?;
    Receiver::from_owned_fd(input).context("--ends-with-input: the standard input is no pipe")
}

/// Reads what nobody needs, up to the end.
async fn ended(input: Option<Receiver>) {
    let Some(mut input) = input else { return std::future::pending().await };
    // One that cannot be read has ended, too.
    let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
    tracing::info!("the standard input was closed");
}

async fn until_the_end(kernel: &Kernel, input: Option<Receiver>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    tokio::select! {
        () = kernel.shutdown.notified() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = ended(input) => {}
    }
    Ok(())
}

/// Ends every process that this kernel started, and removes its control groups and its socket.
async fn end(kernel: &Arc<Kernel>) {
    let realms = kernel.realms.list();
    for realm in &realms {
        realm.stop(kernel);
    }
    let gone = async {
        for realm in &realms {
            realm.gone().await;
        }
    };
    if tokio::time::timeout(END_DEADLINE, gone).await.is_err() {
        tracing::warn!("not every process ended in time; the rest are killed");
    }
    let cleared = tokio::task::spawn_blocking({
        let cgroups = Arc::clone(&kernel.cgroups);
        move || cgroups.clear()
    });
    if tokio::time::timeout(END_DEADLINE, cleared).await.is_err() {
        tracing::warn!("the control groups could not be removed in time; the next boot removes them");
    }
    // A socket that cannot be removed is replaced at the next boot.
    let _ = fs::remove_file(kernel.state.dir.join(sigmaos::local::SOCKET_NAME));
}

/// The kernel's programs are beside sigmad, so that a copied folder is an installation.
fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the folder of sigmad")?;
    let folder = own.parent().context("sigmad has no folder")?.to_owned();
    for program in ["jail", "named", "ux", "s3", "db", "mongo"] {
        let path = folder.join(program);
        anyhow::ensure!(
            path.exists(),
            "{} is missing: an installation is a whole folder, as 'cargo xtask build' makes it",
            path.display()
        );
    }
    Ok(folder)
}
