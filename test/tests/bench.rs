//! Benchmarks of starts, an idle kernel, the scheduler, calls, names, objects, isolation and the social network, small: so that none of them rots. How fast anything is here is
//! not held against anything.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use sigma_test::outside::weed::{ACCESS_KEY, SECRET_KEY, Weed};
use sigma_test::{Machine, eventually, story, within};

/// Runs a benchmark, and gives the names of its rows and of its promises.
async fn bench(machine: &Machine, args: &[&str]) -> (Vec<String>, Vec<String>) {
    let said = machine.ok(&[&["bench", "--json"], args].concat()).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    let names = |part: &str| -> Vec<String> {
        let part = report[part].as_array().unwrap();
        let named = part.iter().map(|row| (row["name"].as_str().unwrap(), row["value"].as_f64().unwrap()));
        // Two entries may find room in memory that is there; of few calls those that go further may take less time, and all the same.
        let may_be_none =
            ["memory an entry", "memory of the kernel", "past the bare client", " sd", "step ", "CPU"];
        let timed = named.clone().filter(|(name, _)| !may_be_none.iter().any(|words| name.contains(words)));
        timed.for_each(|(name, value)| assert!(value > 0.0, "{name} takes no time: {said}"));
        named.map(|(name, _)| name.to_owned()).collect()
    };
    (names("rows"), names("promises"))
}

fn has(names: &[String], words: &[&str]) {
    for word in words {
        assert!(names.iter().any(|name| name.contains(word)), "no row says {word:?}: {names:#?}");
    }
}

#[test]
fn starts_and_an_idle_kernel_are_measured() {
    story(async |machine| {
        let (rows, promises) = bench(machine, &["start", "--count", "8"]).await;
        has(&rows, &["warm", "cold", "first in a realm: making the realm p50", "step launch p50", "floor"]);
        has(&promises, &["cold start p50", "first start in a new realm p50", "warm start p50 / floor p50"]);
        let (rows, promises) = bench(machine, &["start", "--throughput", "--count", "8"]).await;
        has(&rows, &["procs spawned, run and reaped", "memory of the kernel for a running proc"]);
        has(&promises, &["floor per second / procs per second", "bare loop per second / procs per second"]);
        let (rows, promises) = bench(machine, &["idle", "--seconds", "1"]).await;
        has(&rows, &["sigmad", "named", "all of them: memory"]);
        has(&promises, &["memory of an idle kernel", "CPU of an idle kernel"]);
        let (rows, promises) = bench(machine, &["sched"]).await;
        has(&rows, &["wait of a modest realm's proc p99"]);
        assert!(promises.len() >= 2, "{promises:?}");
    });
}

#[test]
fn calls_are_measured_beside_a_socket_and_tonic() {
    story(async |machine| {
        // What a benchmark that was killed has left once stood in the way of the next.
        let tenant = machine.realm("default").await;
        let left = tenant.spawn_lc(100, "echo poll /bench-rpc 0").await;
        tenant.sigma.wait_start(left).await.unwrap();
        let (rows, promises) = bench(machine, &["rpc", "--count", "20"]).await;
        assert!(within("the end of what was left", tenant.sigma.wait_exit(left)).await.unwrap().is_ok());
        has(&rows, &["ping-pong of 64 bytes p50", "call between procs p99", "tonic unary call sd"]);
        has(&rows, &["calls, 64 in flight", "1 MiB there and back", "thesis, one machine: SigmaOS mean"]);
        has(&promises, &["light call p50 / ping-pong p50", "light call p50 / tonic p50"]);
    });
}

#[test]
fn names_are_measured_beside_a_socket_the_disk_and_the_store() {
    story(async |machine| {
        let (rows, promises) = bench(machine, &["ns", "--count", "20"]).await;
        for operation in ["get", "stat", "put", "create", "rename", "watch notification"] {
            for store in ["memory", "redb"] {
                has(&rows, &[&format!("{operation} ({store}) p50")]);
            }
        }
        has(&rows, &["get, 64 in flight (redb)", "fdatasync, one at a time", "dial of a new endpoint p50"]);
        has(&promises, &["get p50 / ping-pong p50", "durable puts, 64 in flight / bare redb"]);
        let left = std::fs::read_dir(machine.state()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.starts_with("bench")), "nothing stays behind: {left:?}");
    });
}

#[test]
fn names_are_measured_as_they_grow() {
    story(async |machine| {
        let args = ["ns", "--scale", "--count", "10", "--entries", "2000", "--watches", "100"];
        let (rows, promises) = bench(machine, &args).await;
        has(&rows, &["2 entries: get p50", "2000 entries: memory an entry", "100 watches: notification p50"]);
        has(&promises, &["get p50 at the largest", "notification p50 beside most watches"]);
    });
}

#[test]
fn objects_are_measured_beside_a_bare_client_and_nothing_stays_at_the_server() {
    story(async |machine| {
        let needed = machine.cli(&["bench", "s3", "--endpoint", "http://127.0.0.1:1"]).await;
        assert!(needed.code == 2 && needed.stderr.contains("--access-key"), "{}", needed.stderr);
        let Some(weed) = Weed::start().await else { return };
        let secret = machine.state().join("secret");
        std::fs::write(&secret, SECRET_KEY).unwrap();
        let (url, secret) = (weed.url(), secret.to_str().unwrap().to_owned());
        let server = ["--endpoint", &url, "--access-key", ACCESS_KEY, "--secret-file", &secret];
        let (rows, promises) = bench(machine, &[&["s3", "--count", "8"], &server[..]].concat()).await;
        for operation in
            ["read of 1 KiB", "write of 1 KiB", "read of 64 MiB", "write of 64 MiB", "list of 1500 keys"]
        {
            for side in ["through /s3", "bare"] {
                has(&rows, &[&format!("{operation}, {side} p50")]);
            }
            has(&promises, &[operation]);
        }
        let realm = machine.realm("a").await.sigma;
        let settings = [
            format!("s3.endpoint={url}"),
            format!("s3.access-key={ACCESS_KEY}"),
            format!("s3.secret-key=@{secret}"),
        ];
        machine.ok(&["realm", "set", "a", &settings[0], &settings[1], &settings[2]]).await;
        let left = within("a listing", realm.read_dir("/s3/~local")).await.unwrap();
        assert!(left.is_empty(), "nothing stays at the server: {left:?}");
        let left = std::fs::read_dir(machine.state()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!left.into_iter().any(|name| name == "bench"), "nothing stays on the disk");
    });
}

#[test]
fn a_load_is_told_by_second_and_what_fails_by_kind() {
    story(async |machine| {
        // A port on which nobody listens any more.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let csv = machine.state().join("load.csv");
        let url = format!("http://{closed}");
        let args = ["bench", "--json", "load", &url, "--rates", "30,60", "--seconds", "1", "--scale", "0.5"];
        let said = machine.cli(&[&args[..], &["--csv", csv.to_str().unwrap(), "--check"]].concat()).await;
        assert_eq!(said.code, 1, "{}", said.stderr);
        let report: Value = serde_json::from_str(&said.stdout).unwrap();
        let rows = report["rows"].as_array().unwrap();
        let row =
            |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["value"].as_f64().unwrap();
        assert!(row("requests") > 0.0 && row("requests") == row("failed: no connection"), "{report}");
        // Where nothing was answered, no row says that it took no time.
        assert!(!rows.iter().any(|row| row["name"].as_str().unwrap().starts_with("all ")), "{report}");
        let csv = std::fs::read_to_string(csv).unwrap();
        assert!(csv.starts_with("second,planned,") && csv.lines().count() >= 3, "{csv}");
        machine.ok(&args).await;
        let wrong = machine.fails(&["bench", "load", "https://127.0.0.1"], 1, &["http://"]).await;
        assert!(wrong.contains("https://127.0.0.1"), "{wrong}");
    });
}

#[test]
fn a_service_is_measured_alone_and_beside_best_effort_work() {
    story(async |machine| {
        let (rows, promises) = bench(machine, &["isolation", "--seconds", "1", "--runs", "1"]).await;
        for kernel in ["", "sched-idle=off: "] {
            let row = |name: &str| format!("{kernel}{name}");
            let calls =
                ["burn alone: p99", "burn beside BE: p99", "empty alone: mean", "empty beside BE: mean"];
            has(&rows, &calls.map(row).each_ref().map(String::as_str));
            let shares = ["cores busy alone", "BE procs", "BE of what LC leaves"].map(row);
            has(&rows, &shares.each_ref().map(String::as_str));
        }
        has(&promises, &["burning call, p99 beside BE / alone", "CPU that BE gets / that LC leaves"]);
    });
}

#[test]
fn the_social_network_is_measured_while_a_part_of_it_is_killed() {
    story(async |machine| {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let bench = async |part: &str, processes: f64| {
            let args = ["bench", "--json", "socialnet", "--port", &port, "--scale", "0.1", "--seconds", "1"];
            let said = machine.ok(&[&args[..], &["--kill", part, "--keep"]].concat()).await;
            let report: Value = serde_json::from_str(&said).unwrap();
            let value = |name: &str| {
                let all =
                    ["rows", "promises"].map(|part| report[part].as_array().unwrap()).into_iter().flatten();
                let mut named = all.filter(|row| row["name"].as_str().unwrap().contains(name));
                named.next().unwrap_or_else(|| panic!("no row says {name:?}: {said}"))["value"].as_f64()
            };
            assert_eq!(value("processes that were killed"), Some(processes), "{said}");
            // In the middle of the third of four seconds, and not before.
            assert!(value("killed at").unwrap() > 2.4, "{said}");
            assert!(value("posts that were acknowledged").unwrap() > 0.0, "{said}");
            for never in ["wrong answers", "are lost", "not on a home timeline"] {
                assert_eq!(value(never), Some(0.0), "{never}: {said}");
            }
            assert!(value("recovery from a kill").is_some(), "{said}");
        };
        bench("cache", 2.0).await;
        let sigma = machine.client("bench-socialnet");
        eventually("the shards live again", async || {
            let procs = within("the procs", sigma.procs(false)).await.unwrap();
            let shards = procs.iter().filter(|proc| proc.spec.as_ref().unwrap().binary == "/bin/cache-shard");
            (shards.map(|proc| proc.restarts).collect::<Vec<_>>() == [1, 1]).then_some(())
        })
        .await;
        bench("mongo", 1.0).await;
        let log = machine.log_tail();
        let ended = log.lines().filter(|line| line.contains("mongo of bench-socialnet"));
        assert_eq!(ended.filter(|line| line.contains("signal: 9")).count(), 1, "{log}");
    });
}
