//! Cold starts: of programs that this machine has never seen.

use super::{Bench, Times, once, unseen};
use crate::promise::COLD_START;
use crate::report::{Report, histogram, ms};
use anyhow::Result;
use std::time::Instant;

/// Each leaves a program in the kernel's store.
const ROUNDS: usize = 50;

/// Spawns programs from the realm's files, and others from `/bin`, right after they were uploaded.
pub(super) async fn run(bench: &Bench<'_>, noop: &[u8], report: &mut Report) -> Result<()> {
    let sigma = bench.sigma;
    let mut from_ux = Times::new()?;
    let (mut upload, mut uploaded) = (histogram()?, Times::new()?);
    for round in 0..ROUNDS {
        let path = format!("/ux/~local/bench-cold-{round}");
        sigma.put_file(&path, unseen(noop, round)).await?;
        let start = once(sigma, &path).await?;
        from_ux.record(sigma, &start).await?;
        sigma.remove(&path).await?;

        let program = unseen(noop, round);
        let begun = Instant::now();
        sigma.put_file("/bin/bench-cold", program).await?;
        upload.record(begun.elapsed().as_nanos() as u64)?;
        uploaded.record(sigma, &once(sigma, "/bin/bench-cold").await?).await?;
    }
    sigma.remove("/bin/bench-cold").await?;
    from_ux.print("cold, from /ux", report);
    report.quantiles("cold, by upload: upload to /bin", &upload);
    uploaded.print("cold, by upload", report);
    report.promise(COLD_START, ms(from_ux.median()));
    Ok(())
}
