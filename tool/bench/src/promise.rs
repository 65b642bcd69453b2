//! The promises on numbers. Each stands in SPECIFICATION.md under the name of its constant, and no looser than here asked.

use std::fmt;

/// On which side of a number a value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A bound that a benchmark holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// As the benchmark's report names it.
    pub name: &'static str,
    pub bound: Bound,
    pub unit: &'static str,
}

impl Bound {
    /// The number itself.
    pub fn value(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }

    /// Whether a value keeps it. One that could not be computed keeps nothing.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value.is_finite() && value <= bound,
            Self::AtLeast(bound) => value.is_finite() && value >= bound,
        }
    }

    /// `at most`, `at least`.
    pub fn side(self) -> &'static str {
        match self {
            Self::AtMost(_) => "at most",
            Self::AtLeast(_) => "at least",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:.2}", self.side(), self.value())
    }
}

const fn at_most(name: &'static str, bound: f64) -> Promise {
    Promise { name, bound: Bound::AtMost(bound), unit: "x" }
}

const fn at_least(name: &'static str, bound: f64) -> Promise {
    Promise { name, bound: Bound::AtLeast(bound), unit: "x" }
}

const fn past(name: &'static str, bound: f64) -> Promise {
    Promise { name, bound: Bound::AtMost(bound), unit: "us" }
}

const fn none(name: &'static str) -> Promise {
    Promise { name, bound: Bound::AtMost(0.0), unit: "" }
}

/// A warm start of an SDK proc with every layer of the sandbox, beside vfork, exec, exit and wait of a tiny program.
pub const WARM_START: Promise = at_most("warm start p50 / floor p50", 8.0);

/// A start of a program that this machine has never seen, from the realm's files.
pub const COLD_START: Promise = Promise { name: "cold start p50", bound: Bound::AtMost(8.0), unit: "ms" };

/// Making a realm, uploading a program to it and starting a proc, one right after the other.
pub const FIRST_START: Promise =
    Promise { name: "first start in a new realm p50", bound: Bound::AtMost(30.0), unit: "ms" };

/// Tiny bare processes a second, beside SDK procs with every layer, from 8 spawners at a time.
pub const THROUGHPUT_FLOOR: Promise = at_most("floor per second / procs per second", 10.0);

/// Processes with the same layers a second, without kernel, wire and records, beside SDK procs.
pub const THROUGHPUT_BARE: Promise = at_most("bare loop per second / procs per second", 2.5);

/// The memory of all kernel processes together, with one realm and no procs.
pub const IDLE_MEMORY: Promise =
    Promise { name: "memory of an idle kernel", bound: Bound::AtMost(50.0), unit: "MB" };

/// The CPU of all kernel processes together, with one realm and no procs.
pub const IDLE_CPU: Promise =
    Promise { name: "CPU of an idle kernel", bound: Bound::AtMost(0.5), unit: "% of a core" };

/// Calls of a latency-critical service that is busy for 300 µs each, beside BE work of another realm and alone: the mean.
pub const ISOLATION_MEAN: Promise = at_most("burning call, mean beside BE / alone", 1.1);

/// See [`ISOLATION_MEAN`]: of 99 of 100 calls.
pub const ISOLATION_P99: Promise = at_most("burning call, p99 beside BE / alone", 1.1);

/// See [`ISOLATION_MEAN`]: of calls of a service that answers at once.
pub const ISOLATION_EMPTY_MEAN: Promise = at_most("empty call, mean beside BE / alone", 1.1);

/// See [`ISOLATION_EMPTY_MEAN`]: of 99 of 100 calls.
pub const ISOLATION_EMPTY_P99: Promise = at_most("empty call, p99 beside BE / alone", 1.1);

/// The same without `cpu.idle` and SCHED_IDLE: that they are what keeps BE work back shows in a p99 of at least twice.
pub const ISOLATION_OFF: Promise =
    Promise { name: "p99 beside BE / alone, with --sched-idle=off", bound: Bound::AtLeast(2.0), unit: "x" };

/// What BE work gets of the CPU that a latency-critical load leaves.
pub const BE_SHARE: Promise =
    Promise { name: "CPU that BE gets / that LC leaves", bound: Bound::AtLeast(0.95), unit: "x" };

/// 48 best-effort workers of the image job, beside one plain process that runs the same worker code on all cores.
pub const IMAGE_MAKESPAN: Promise = at_most("job makespan / plain makespan", 1.10);

/// Decisions a second of the scheduler's policy on one core, with a thousand realms and a hundred thousand queued procs.
pub const SCHED_DECISIONS: Promise =
    Promise { name: "decisions of the policy, slowest mix", bound: Bound::AtLeast(200_000.0), unit: "1/s" };

/// The longest wait of a realm that queues a proc now and then beside one that has queued a hundred thousand, each of which
/// runs for the same time.
pub const FAIR_WAIT: Promise = at_most("longest wait of a modest realm / run of one proc", 1.0);

/// A light call between two procs on one core, beside a blocking ping-pong of 64 bytes.
pub const RPC_PING_PONG: Promise = at_most("light call p50 / ping-pong p50, one core", 3.0);

/// The same call, beside a unary call by tonic.
pub const RPC_TONIC: Promise = at_most("light call p50 / tonic p50, one core", 0.5);

/// The same across cores, where client and server poll before they sleep.
pub const RPC_TONIC_ACROSS: Promise = at_most("light call p50 / tonic p50, across cores, polling", 0.5);

/// A get at a named, beside a blocking ping-pong of 64 bytes, both on one core.
pub const NS_GET: Promise = at_most("get p50 / ping-pong p50, one core", 3.0);

/// The same across cores.
pub const NS_GET_ACROSS: Promise = at_most("get p50 / ping-pong p50, across cores", 3.0);

/// Durable puts with 64 in flight, beside one block after the other made durable on the same disk.
pub const NS_PUT_FDATASYNC: Promise = at_least("durable puts, 64 in flight / fdatasync, one at a time", 4.0);

/// The same, beside a bare redb that is given batches of 64.
pub const NS_PUT_REDB: Promise = at_least("durable puts, 64 in flight / bare redb, batches of 64", 0.5);

/// A get among a million entries, beside one among a thousand.
pub const SCALE_GET: Promise = at_most("get p50 at the largest / at the smallest", 2.0);

/// A create there.
pub const SCALE_CREATE: Promise = at_most("create p50 at the largest / at the smallest", 2.0);

/// A notification there.
pub const SCALE_WATCH: Promise = at_most("notification p50 at the largest / at the smallest", 2.0);

/// A notification beside ten thousand watches, and beside none.
pub const SCALE_WATCHES: Promise = at_most("notification p50 beside most watches / beside none", 2.0);

/// Documents found by their `_id` in the embedded store, beside gets at named, both with 64 in flight.
pub const MONGO_FIND: Promise = at_least("finds by id / gets at named, 64 in flight", 0.2);

/// Durable upserts there with 64 in flight, beside one block after the other made durable on the same disk.
pub const MONGO_WRITES: Promise = at_least("durable upserts, 64 in flight / fdatasync, one at a time", 2.0);

/// An object of 1 KiB read through `/s3`: how much longer that takes than by a bare client of the same server.
pub const S3_GET: Promise = past("read of 1 KiB p50, past the bare client", 100.0);

/// The same, written.
pub const S3_PUT: Promise = past("write of 1 KiB p50, past the bare client", 100.0);

/// Bytes a second of an object of 64 MiB read through `/s3`, beside those by a bare client of the same server.
pub const S3_READ: Promise = at_least("read of 64 MiB, bytes a second / bare client", 0.9);

/// The same, written.
pub const S3_WRITE: Promise = at_least("write of 64 MiB, bytes a second / bare client", 0.9);

/// A listing of 1,500 keys through `/s3`, beside one by a bare client.
pub const S3_LIST: Promise = at_most("list of 1500 keys p50 / bare client", 1.5);

/// The staircase of the thesis' Figure 4.5 times so much, with no failed request and a p99 below 50 ms.
pub const SOCIALNET_SCALE: Promise =
    at_least("greatest scale without a failure and with p99 below 50 ms", 0.5);

/// Posts that were acknowledged, and are not on their user's timeline in the end.
pub const SOCIALNET_LOST: Promise = none("posts that were acknowledged and are lost");

/// Answers that are not what was asked for, or refuse what is right; also while a part of the network is killed.
pub const SOCIALNET_WRONG: Promise = none("wrong answers");

/// Acknowledged posts that are not on the home timeline of a user whom they mention, after a part of the network was killed.
pub const SOCIALNET_UNSEEN: Promise = none("mentions of acknowledged posts that are not on a home timeline");

/// From the kill of the cache or of `/mongo`, under the staircase, to the last tenth of a second with a failure or a p99 past 50 ms.
pub const SOCIALNET_RECOVERY: Promise =
    Promise { name: "recovery from a kill", bound: Bound::AtMost(2.0), unit: "s" };

/// What 99 of 100 requests take after that, beside before the kill, at the same rate.
pub const SOCIALNET_RECOVERED: Promise = at_most("p99 after the recovery / before the kill", 2.0);

/// All of them, with the loosest bound that was ever asked of each.
pub const ALL: &[(&str, Promise, Bound)] = &[
    ("WARM_START", WARM_START, Bound::AtMost(8.0)),
    ("COLD_START", COLD_START, Bound::AtMost(8.0)),
    ("FIRST_START", FIRST_START, Bound::AtMost(30.0)),
    ("THROUGHPUT_FLOOR", THROUGHPUT_FLOOR, Bound::AtMost(10.0)),
    ("THROUGHPUT_BARE", THROUGHPUT_BARE, Bound::AtMost(2.5)),
    ("IDLE_MEMORY", IDLE_MEMORY, Bound::AtMost(50.0)),
    ("IDLE_CPU", IDLE_CPU, Bound::AtMost(0.5)),
    ("ISOLATION_MEAN", ISOLATION_MEAN, Bound::AtMost(1.1)),
    ("ISOLATION_P99", ISOLATION_P99, Bound::AtMost(1.1)),
    ("ISOLATION_EMPTY_MEAN", ISOLATION_EMPTY_MEAN, Bound::AtMost(1.1)),
    ("ISOLATION_EMPTY_P99", ISOLATION_EMPTY_P99, Bound::AtMost(1.1)),
    ("ISOLATION_OFF", ISOLATION_OFF, Bound::AtLeast(2.0)),
    ("BE_SHARE", BE_SHARE, Bound::AtLeast(0.95)),
    ("IMAGE_MAKESPAN", IMAGE_MAKESPAN, Bound::AtMost(1.10)),
    ("SCHED_DECISIONS", SCHED_DECISIONS, Bound::AtLeast(200_000.0)),
    ("FAIR_WAIT", FAIR_WAIT, Bound::AtMost(1.0)),
    ("RPC_PING_PONG", RPC_PING_PONG, Bound::AtMost(3.0)),
    ("RPC_TONIC", RPC_TONIC, Bound::AtMost(0.5)),
    ("RPC_TONIC_ACROSS", RPC_TONIC_ACROSS, Bound::AtMost(0.5)),
    ("NS_GET", NS_GET, Bound::AtMost(3.0)),
    ("NS_GET_ACROSS", NS_GET_ACROSS, Bound::AtMost(3.0)),
    ("NS_PUT_FDATASYNC", NS_PUT_FDATASYNC, Bound::AtLeast(4.0)),
    ("NS_PUT_REDB", NS_PUT_REDB, Bound::AtLeast(0.5)),
    ("SCALE_GET", SCALE_GET, Bound::AtMost(2.0)),
    ("SCALE_CREATE", SCALE_CREATE, Bound::AtMost(2.0)),
    ("SCALE_WATCH", SCALE_WATCH, Bound::AtMost(2.0)),
    ("SCALE_WATCHES", SCALE_WATCHES, Bound::AtMost(2.0)),
    ("MONGO_FIND", MONGO_FIND, Bound::AtLeast(0.2)),
    ("MONGO_WRITES", MONGO_WRITES, Bound::AtLeast(2.0)),
    ("S3_GET", S3_GET, Bound::AtMost(100.0)),
    ("S3_PUT", S3_PUT, Bound::AtMost(100.0)),
    ("S3_READ", S3_READ, Bound::AtLeast(0.9)),
    ("S3_WRITE", S3_WRITE, Bound::AtLeast(0.9)),
    ("S3_LIST", S3_LIST, Bound::AtMost(1.5)),
    ("SOCIALNET_SCALE", SOCIALNET_SCALE, Bound::AtLeast(0.5)),
    ("SOCIALNET_LOST", SOCIALNET_LOST, Bound::AtMost(0.0)),
    ("SOCIALNET_WRONG", SOCIALNET_WRONG, Bound::AtMost(0.0)),
    ("SOCIALNET_UNSEEN", SOCIALNET_UNSEEN, Bound::AtMost(0.0)),
    ("SOCIALNET_RECOVERY", SOCIALNET_RECOVERY, Bound::AtMost(2.0)),
    ("SOCIALNET_RECOVERED", SOCIALNET_RECOVERED, Bound::AtMost(2.0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_has_two_sides() {
        for (bound, kept, broken) in
            [(Bound::AtMost(2.0), [2.0, 0.1], 2.001), (Bound::AtLeast(2.0), [2.0, 9.0], 1.999)]
        {
            for value in kept {
                assert!(bound.holds(value), "{value} is {bound}");
            }
            for value in [broken, f64::NAN, f64::INFINITY] {
                assert!(!bound.holds(value), "{value} is not {bound}");
            }
        }
        assert_eq!(Bound::AtLeast(4.0).to_string(), "at least 4.00");
    }

    #[test]
    fn every_promise_is_in_the_specification_and_no_looser_than_asked() {
        let specification = include_str!("../../../SPECIFICATION.md");
        for (constant, promise, asked) in ALL {
            assert_eq!(promise.bound.side(), asked.side(), "{constant}");
            assert!(asked.holds(promise.bound.value()), "{constant} promises less than was asked");
            let row = specification
                .lines()
                .find(|line| line.contains(&format!("`{constant}`")))
                .unwrap_or_else(|| panic!("SPECIFICATION.md has no row for {constant}"));
            let bound = promise.bound.to_string();
            assert!(row.contains(&bound), "the row of {constant} does not say {bound}: {row}");
        }
    }
}
