//! Starts the social network (thesis, Figure 3.3a): the shards of the cache, then each service once those that it calls serve.
//! They outlive this proc, and the kernel starts each again that ends.

use crate::options::Up;
use crate::service::{self, CACHE};
use sigmaos::{Code, Error, Pid, ProcSpec, Restart, Result, Sigma};
use std::time::Duration;

/// The programs.
const PROGRAM: &str = "/bin/socialnet";
const SHARD: &str = "/bin/cache-shard";

/// A service in the order of dependencies.
struct Row {
    name: &'static str,
    /// Thousandths of a core that it reserves. All of them together leave a part of one core.
    mcpu: u32,
    memory_mb: u64,
}

const fn row(name: &'static str, mcpu: u32, memory_mb: u64) -> Row {
    Row { name, mcpu, memory_mb }
}

/// What each service reserves: in proportion to what it uses under the load of the thesis' Figure 4.5.
const TABLE: &[Row] = &[
    row(service::user::NAME, 50, 96),
    row(service::url::NAME, 30, 48),
    row(service::media::NAME, 20, 192),
    row(service::text::NAME, 30, 48),
    row(service::graph::NAME, 40, 64),
    row(service::post::NAME, 150, 96),
    row(service::timeline::NAME, 70, 64),
    row(service::home::NAME, 120, 96),
    row(service::compose::NAME, 60, 64),
    row(service::front::NAME, 200, 256),
];

/// Of a shard, beside what it keeps.
const SHARD_MCPU: u32 = 70;
const SHARD_MEMORY_MB: u64 = 32;

/// How long the start of one proc is waited for.
const START: Duration = Duration::from_secs(30);

/// The last bytes that a proc said, where it did not start.
const SAID: usize = 500;

/// Starts everything; what was started ends again where something does not start.
///
/// # Errors
/// Which service did not start, and why.
pub async fn up(sigma: &Sigma, options: &Up) -> Result<()> {
    sigma.started().await?;
    if !running(sigma).await?.is_empty() {
        let text = "the social network runs already: 'socialnet down' ends it";
        return Err(Error::new(Code::Exists, text));
    }
    sigma.create_dir_all(CACHE).await?;
    let mut begun = Vec::new();
    let started = start_all(sigma, options, &mut begun).await;
    if started.is_err() {
        end(sigma, begun).await;
    }
    started?;
    println!("the social network serves at http://localhost:{}/", options.port);
    Ok(())
}

async fn start_all(sigma: &Sigma, options: &Up, begun: &mut Vec<Pid>) -> Result<()> {
    for shard in 0..options.shards {
        let bytes = options.shard_mb << 20;
        let spec = ProcSpec::new(SHARD)?.args([CACHE.to_owned(), bytes.to_string()]);
        let spec = spec.latency_critical(SHARD_MCPU).memory_bytes(bytes + (SHARD_MEMORY_MB << 20));
        start(sigma, &format!("shard {shard} of the cache"), spec, begun).await?;
    }
    for row in TABLE {
        let spec = ProcSpec::new(PROGRAM)?.args(arguments(row.name, options));
        let mut spec = spec.latency_critical(row.mcpu).memory_bytes(row.memory_mb << 20);
        if row.name == service::front::NAME {
            spec = spec.publish(options.port);
        }
        start(sigma, &format!("the service {}", row.name), spec, begun).await?;
    }
    Ok(())
}

fn arguments(name: &str, options: &Up) -> Vec<String> {
    let mut arguments = vec![name.to_owned()];
    let mut more = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    match name {
        service::user::NAME => {
            let cost = clap::ValueEnum::to_possible_value(&options.password_cost);
            more("--password-cost", cost.map_or_else(String::new, |cost| cost.get_name().to_owned()));
        }
        service::url::NAME => {
            let public = options.public_url.clone();
            more("--public-url", public.unwrap_or_else(|| format!("http://localhost:{}", options.port)));
        }
        service::front::NAME => more("--port", options.port.to_string()),
        _ => {}
    }
    arguments
}

/// Starts one proc, and waits until it serves. It is started again whenever it ends, but not waited for when it fails at first.
async fn start(sigma: &Sigma, what: &str, spec: ProcSpec, begun: &mut Vec<Pid>) -> Result<()> {
    let pid = sigma.spawn(spec.restart(Restart::Always)).await.map_err(|error| error.context(what))?;
    begun.push(pid);
    let failed = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if sigma.info(pid).await.is_ok_and(|info| info.restarts > 0 && !info.has_started) {
                return;
            }
        }
    };
    let why = tokio::select! {
        started = sigma.wait_start(pid) => return started.map_err(|error| error.context(what)),
        () = failed => String::from("it ends at once"),
        () = tokio::time::sleep(START) => match sigma.info(pid).await {
            Ok(info) if !info.waiting_for.is_empty() => format!("it waits for {}", info.waiting_for),
            _ => format!("it is not ready after {START:?}"),
        },
    };
    let said = match sigma.output(pid, true, 0).await {
        Ok(said) => {
            String::from_utf8_lossy(&said.bytes[said.bytes.len().saturating_sub(SAID)..]).trim().to_owned()
        }
        Err(_) => String::new(),
    };
    let said = if said.is_empty() { said } else { format!("; it said: {said}") };
    Err(Error::new(Code::Ended, format!("{what} does not start: {why}{said}")))
}

/// Ends the social network: the front end first.
///
/// # Errors
/// As [`Sigma::procs`].
pub async fn down(sigma: &Sigma) -> Result<()> {
    sigma.started().await?;
    let pids = running(sigma).await?;
    let count = pids.len();
    end(sigma, pids).await;
    println!("{count} procs of the social network have ended");
    Ok(())
}

/// The procs of the social network, in the order in which they were started.
async fn running(sigma: &Sigma) -> Result<Vec<Pid>> {
    let procs = sigma.procs(false).await?;
    let ours = procs.into_iter().filter(|proc| {
        proc.spec.as_ref().is_some_and(|spec| {
            let first = spec.args.first().map(String::as_str).unwrap_or_default();
            match spec.binary.as_str() {
                PROGRAM => TABLE.iter().any(|row| row.name == first),
                SHARD => first == CACHE,
                _ => false,
            }
        })
    });
    ours.map(|proc| proc.pid.parse()).collect()
}

/// Ends procs, the last that was started first, and waits for each.
async fn end(sigma: &Sigma, pids: Vec<Pid>) {
    for pid in pids.into_iter().rev() {
        // One that has ended meanwhile needs no end.
        if sigma.kill(pid).await.is_ok() {
            let _ = sigma.wait_exit(pid).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_fits_on_one_core() {
        let all: u32 = TABLE.iter().map(|row| row.mcpu).sum();
        assert_eq!(TABLE.len(), 10);
        assert!(all + 2 * SHARD_MCPU < 1000, "{all}");
    }
}
