//! How much to do, when to begin, and what is printed.

use anyhow::{Context, Result};
use clap::Args;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// Operations that are measured
    #[arg(long)]
    pub(crate) count: usize,
    /// Operations before them that are not
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up: usize,
    /// Operations at a time; each is timed where it is one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) in_flight: u32,
    /// Bytes of each
    #[arg(long, default_value_t = 64)]
    pub(crate) bytes: usize,
}

/// Says that this can begin.
pub(crate) fn ready() -> Result<()> {
    println!("ready");
    std::io::stdout().flush().context("say that it is ready")
}

/// Says so, and waits for the word to begin.
pub(crate) fn wait() -> Result<()> {
    ready()?;
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for the word to begin")?;
    Ok(())
}

/// Does one operation after the other, and prints how long each took.
pub(crate) fn one_by_one(load: &Load, mut operation: impl FnMut() -> Result<()>) -> Result<()> {
    wait()?;
    for _ in 0..load.warm_up {
        operation()?;
    }
    let (mut times, begun) = (Vec::with_capacity(load.count), Instant::now());
    for _ in 0..load.count {
        let started = Instant::now();
        operation()?;
        times.push(started.elapsed());
    }
    print(&times, begun.elapsed())
}

/// What each operation took, where that was measured, and all of them together.
pub(crate) fn print(times: &[Duration], total: Duration) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for time in times {
        writeln!(out, "{}", time.as_nanos())?;
    }
    writeln!(out, "total {}", total.as_nanos())?;
    out.flush().context("print what was measured")
}
