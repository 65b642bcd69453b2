//! The first start in a realm: the realm is made, its jail with it, its program uploaded, and then a proc is spawned at once.

use super::{Bench, NOOP, Times, once};
use crate::promise::FIRST_START;
use crate::realm;
use crate::report::{Report, histogram, ms};
use anyhow::Result;
use sigmaos::{Realm, Sigma};
use std::path::Path;
use std::time::Instant;

const ROUNDS: usize = 20;

pub(super) async fn run(bench: &Bench<'_>, noop: &[u8], report: &mut Report) -> Result<()> {
    let state = Path::new(&bench.kernel.state_dir);
    let admin = realm::operator(state)?;
    let (mut create, mut upload, mut all, mut times) =
        (histogram()?, histogram()?, histogram()?, Times::new()?);
    for round in 0..ROUNDS {
        let name = format!("bench-first-{round}");
        realm::remove(&admin, &name).await?;
        let begun = Instant::now();
        admin.realm_create(realm::named(&name)).await?;
        create.record(begun.elapsed().as_nanos() as u64)?;
        let sigma = Sigma::connect(state, Some(&Realm::parse(&name)?))?;
        let put = Instant::now();
        sigma.put_file(NOOP, noop.to_vec()).await?;
        upload.record(put.elapsed().as_nanos() as u64)?;
        let spawned = begun.elapsed();
        let start = once(&sigma, NOOP).await?;
        all.record((spawned + start.started).as_nanos() as u64)?;
        times.record(&sigma, &start).await?;
        admin.realm_remove(realm::named(&name)).await?;
    }
    report.quantiles("first in a realm: making the realm", &create);
    report.quantiles("first in a realm: upload of the program", &upload);
    times.print("first in a realm", report);
    report.quantiles("first in a realm: all of it, to wait_start", &all);
    report.promise(FIRST_START, ms(all.value_at_quantile(0.5) as f64));
    Ok(())
}
