//! `sigma bench sched`: the scheduler's policy by itself. How many decisions it makes on one core, with as many realms and queued
//! procs as a machine may have; and how long, on a simulated machine, a realm waits beside one that queues without end.
//!
//! It needs no kernel: the policy that is measured is the one that sigmad runs.

use crate::promise::{FAIR_WAIT, SCHED_DECISIONS};
use crate::report::Report;
use anyhow::{Result, ensure};
use sigma_abi::{Class, MachineId, Pid, Realm};
use sigma_schedd::sim::{self, Arrival, Trace};
use sigma_schedd::{Action, Event, Load, Machine, Policy};
use std::time::Instant;

const REALMS: u64 = 1_000;
const PROCS: u64 = 100_000;

/// Each mix of procs is decided so often; the median counts.
const RUNS: usize = 5;

const MACHINE: Machine = Machine { cores: 16, memory_bytes: 64 << 30, procs: 10_000 };

const MEMORY_BYTES: u64 = 4 << 20;

/// How long each proc of the simulated machine runs, and how often the modest realm queues one.
const RUN_US: u64 = 10_000;
const EVERY_US: u64 = 50_000;

/// Procs of the modest realm.
const MODEST: u64 = 500;

/// What the procs are, by number.
type Mix = fn(u64) -> Class;

const MIXES: [(&str, Mix); 4] = [
    ("BE", |_| Class::Be),
    ("LC of one size", |_| Class::Lc { mcpu: 100 }),
    ("LC of many sizes", |number| Class::Lc { mcpu: 10 + (number * 7919 % 4000) as u32 }),
    ("LC and BE in turn", |number| if number % 2 == 0 { Class::Be } else { Class::Lc { mcpu: 250 } }),
];

/// Measures both.
///
/// # Errors
/// Where the policy does not do what it promises: that is a bug.
pub fn run() -> Result<Report> {
    let mut report = Report::new("sched");
    report.environment(
        "decisions",
        format!("{PROCS} procs of {REALMS} realms queued, then ended, on one core"),
    );
    let mut least = f64::INFINITY;
    for (name, mix) in MIXES {
        let mut rates = (0..RUNS).map(|_| decisions_per_second(mix)).collect::<Result<Vec<_>>>()?;
        rates.sort_by(f64::total_cmp);
        let median = rates[RUNS / 2];
        report.row(format!("decisions: {name}"), median, "1/s");
        least = least.min(median);
    }
    let waits = fair_waits()?;
    report.environment(
        "fairness",
        format!(
            "simulated: {} cores; one realm queues {PROCS} BE procs of {} ms",
            MACHINE.cores,
            RUN_US / 1000
        ),
    );
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    report.row("wait of a modest realm's proc p50", at(0.5), "ms");
    report.row("wait of a modest realm's proc p99", at(0.99), "ms");
    report.row("wait of a modest realm's proc, longest", at(1.0), "ms");
    report.promise(SCHED_DECISIONS, least);
    report.promise(FAIR_WAIT, at(1.0) * 1000.0 / RUN_US as f64);
    Ok(report)
}

/// Queues [`PROCS`] procs of [`REALMS`] realms, then ends what runs until nothing is left. Each of both is a decision.
fn decisions_per_second(mix: Mix) -> Result<f64> {
    let mut policy = Policy::new(MACHINE);
    let realms =
        (0..REALMS).map(|number| Realm::parse(&format!("r{number}"))).collect::<Result<Vec<_>, _>>()?;
    let (mut actions, mut decisions, mut next) = (Vec::new(), 0, 0);
    let begun = Instant::now();
    for number in 0..PROCS {
        let pid = Pid { home: MachineId(1), epoch: 1, number };
        let realm = realms[(number % REALMS) as usize].clone();
        policy.handle(
            Event::Queued { pid, realm, class: mix(number), memory_bytes: MEMORY_BYTES },
            &mut actions,
        );
        decisions += 1;
    }
    while let Some(action) = actions.get(next) {
        let Action::Start { pid } = *action else { anyhow::bail!("the policy decides {action:?}") };
        policy.handle(Event::Ended { pid }, &mut actions);
        (decisions, next) = (decisions + 1, next + 1);
    }
    let elapsed = begun.elapsed();
    ensure!(actions.len() as u64 == PROCS && policy.load() == Load::default(), "not every proc ran");
    Ok(f64::from(decisions) / elapsed.as_secs_f64())
}

/// How long each proc of a realm waits that queues one now and then, beside a realm that has queued [`PROCS`], sorted.
fn fair_waits() -> Result<Vec<u64>> {
    let (greedy, modest) = (Realm::parse("greedy")?, Realm::parse("modest")?);
    let proc = |realm: &Realm, at_us| Arrival {
        at_us,
        realm: realm.clone(),
        class: Class::Be,
        memory_bytes: MEMORY_BYTES,
        run_us: RUN_US,
        child: false,
    };
    let mut arrivals: Vec<_> = (0..PROCS).map(|_| proc(&greedy, 0)).collect();
    // Not in step with the others, so that it comes at any time between two of their ends.
    arrivals.extend((1..=MODEST).map(|number| proc(&modest, number * EVERY_US + number * 37)));
    let trace = Trace { seed: 0, machine: MACHINE, arrivals, limits: Vec::new(), measured: false };
    let outcome = sim::run(&trace)?;
    let of_modest = outcome.waits_us.into_iter().filter(|(realm, _)| *realm == modest);
    let mut waits: Vec<u64> = of_modest.map(|(_, wait_us)| wait_us).collect();
    ensure!(waits.len() as u64 == MODEST, "{} of {MODEST} procs started", waits.len());
    waits.sort_unstable();
    Ok(waits)
}
