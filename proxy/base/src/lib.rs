//! What every proxy is: a kernel process that shows something outside as part of a realm's namespace.
//!
//! sigmad starts it at the first use of its mount, with a door (descriptor 3), a lock (4, which it only holds), what the
//! operator set for it (5, see [`Settings`]) and a directory of its own. It says `started`, serves until its door closes, and is
//! started again where it dies. A proxy crate says in a [`Proxy`] what is its own, and its `main` is [`main`].
//!
//! Guarantees:
//! - What the operator set arrives by a pipe and is nowhere else: not among the arguments, not in the environment.
//! - Before the first connection the process has taken from itself all files but its directory, and all of TCP but the
//!   ports of its outside system; see [`Outside`].

mod aside;
mod fences;
mod room;
mod sandbox;
mod settings;

pub use aside::{aside, to_its_end};
pub use fences::{Fences, Held};
pub use room::Room;
pub use sandbox::Outside;
pub use settings::Settings;

use anyhow::{Context, bail};
use sigmaos::serve::Accept;
use sigmaos::{Code, Error, Path, Sigma};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// One proxy: its name, its way out, and what it serves.
pub trait Proxy {
    /// As its program, the first part of its settings, and its directory are called.
    const NAME: &'static str;

    /// Threads for what blocks. Few, where they wait for one disk.
    const BLOCKING_THREADS: usize = 8;

    /// What it has to reach outside of this machine's kernel.
    ///
    /// # Errors
    /// A setting that is wrong, naming it. sigmad tells callers, and tries again after a while.
    fn outside(settings: &Settings) -> anyhow::Result<Outside>;

    /// Makes what is served. The sandbox is on by now.
    ///
    /// # Errors
    /// Why it cannot serve. sigmad tells callers, and tries again after a while.
    fn open(start: Start) -> impl Future<Output = anyhow::Result<Arc<dyn Accept>>>;
}

/// What a proxy starts with.
#[derive(Debug)]
pub struct Start {
    /// Its own directory, for what it keeps itself.
    pub dir: PathBuf,
    /// Where it is in the realm's namespace.
    pub mount: Path,
    /// What the operator set.
    pub settings: Settings,
    /// Its door.
    pub sigma: Sigma,
    /// Descriptors that this process may have, for files and connections together.
    pub descriptors: usize,
}

/// The whole life of a proxy.
pub fn main<P: Proxy>() -> ExitCode {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    match run::<P>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run<P: Proxy>() -> anyhow::Result<()> {
    let (dir, mount) = arguments(P::NAME, std::env::args().skip(1))?;
    let descriptors = sandbox::raise_descriptors();
    let settings = Settings::read().context("cannot read what the operator set")?;
    let outside = P::outside(&settings);
    if let Ok(outside) = &outside {
        // Before there is a second thread: Landlock holds the thread that asks, and those that it makes.
        sandbox::restrict(P::NAME, &dir, outside);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(P::BLOCKING_THREADS)
        .build()
        .context("cannot make the runtime")?;
    runtime.block_on(async {
        let sigma = Sigma::from_door()?;
        let server = match outside {
            Ok(_) => open::<P>(Start { dir, mount, settings, sigma: sigma.clone(), descriptors }).await,
            Err(wrong) => Err(wrong),
        };
        match server {
            Ok(server) => sigma.accept_all(server),
            Err(why) => {
                sigma.fail(&told(&why));
                return Err(why);
            }
        }
        sigma.started().await?;
        // The door closes when sigmad ends this process or ends itself; there is nothing left to do then.
        let _ = sigma.wait_kill().await;
        Ok(())
    })
}

async fn open<P: Proxy>(start: Start) -> anyhow::Result<Arc<dyn Accept>> {
    // A library that finds a file damaged may give up altogether; the kernel then hears why all the same.
    let (door, dir) = (start.sigma.clone(), start.dir.clone());
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        let text = format!("what is in {} is damaged: put back a copy, or remove it", dir.display());
        door.fail(&Error::new(Code::Internal, text));
    }));
    let server = P::open(start).await;
    drop(std::panic::take_hook());
    server
}

/// What callers hear of it: the reason keeps its code, where it has one.
fn told(why: &anyhow::Error) -> Error {
    let code = why
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>())
        .map_or(Code::Internal, |error| error.code);
    Error::new(code, format!("{why:#}"))
}

fn arguments(name: &str, mut given: impl Iterator<Item = String>) -> anyhow::Result<(PathBuf, Path)> {
    let given: [_; 5] = std::array::from_fn(|_| given.next());
    match given.each_ref().map(Option::as_deref) {
        [Some("--dir"), Some(dir), Some("--mount"), Some(mount), None] => {
            Ok((dir.into(), Path::parse(mount)?))
        }
        _ => bail!("usage: {name} --dir DIR --mount PATH; it is started by sigmad, not by hand"),
    }
}
