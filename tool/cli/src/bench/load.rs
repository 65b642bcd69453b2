//! `sigma bench load`: the load that the flags describe.

use crate::context::Context;
use crate::options;
use anyhow::{Context as _, Result};
use sigma_bench::load::{self, Load, Mix, Plan, Server, Spacing};
use std::process::ExitCode;
use std::time::Duration;

pub(super) async fn load(context: &Context, options: &options::Load) -> Result<ExitCode> {
    let load = described(options).await?;
    let outcome = load::run(&load).await?;
    if let Some(csv) = &options.csv {
        let write = std::fs::write(csv, outcome.tally.csv(&load.plan, &[]));
        write.with_context(|| format!("write {}", csv.display()))?;
    }
    super::print(context, &load::report(&load, &outcome), false)?;
    let failed = options.check && outcome.tally.failed_requests() > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn described(options: &options::Load) -> Result<Load> {
    let mut servers = Vec::new();
    for url in &options.urls {
        servers.push(Server::find(url).await?);
    }
    let time = Duration::from_secs(options.seconds);
    Ok(Load {
        servers,
        plan: Plan {
            steps: Plan::steps(&options.rates, options.scale, time),
            spacing: if options.spacing == "fixed" { Spacing::Fixed } else { Spacing::Poisson },
            seed: options.seed,
        },
        mix: if options.mix == "get" { Mix::Get } else { Mix::SocialNetwork { users: options.users } },
        connections: options.connections as usize,
        timeout: Duration::from_millis(options.timeout),
        check: options.check,
    })
}
