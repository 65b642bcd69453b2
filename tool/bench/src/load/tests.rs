//! The load against small servers, each of which is one thread a connection.

use super::*;
use crate::load::asks::DEFAULT_USERS;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

/// What a server does with a request.
pub(crate) enum Does {
    Answers(&'static str, String),
    /// Says that the connection ends, and ends it.
    AnswersOnce,
    /// Answers, and ends the connection without a word.
    Leaves,
    BreaksOff,
}

fn fine() -> Does {
    Does::Answers("200 OK", "[]".into())
}

/// Serves on a port of its own, for as long as the test's process lives; `answer` is told the connection's number and the first line.
pub(crate) fn serve(answer: impl Fn(usize, &str) -> Does + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (answer, stream) = (Arc::clone(&answer), stream.unwrap());
            std::thread::spawn(move || while converse(number, &stream, &*answer).is_some() {});
        }
    });
    address
}

/// Answers one request; `None`: the connection is over.
fn converse(
    number: usize,
    stream: &TcpStream,
    answer: &(impl Fn(usize, &str) -> Does + ?Sized),
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let say = |status: &str, headers: &str, body: &str| {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
        (&*stream).write_all(text.as_bytes()).ok()
    };
    match answer(number, first.trim_end()) {
        Does::Answers(status, body) => say(status, "", &body),
        Does::AnswersOnce => say("200 OK", "connection: close\r\n", "[]").and(None),
        Does::Leaves => say("200 OK", "", "[]").and(None),
        Does::BreaksOff => {
            (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[]").ok().and(None)
        }
    }
}

fn load(address: SocketAddr, rate: f64, time: Duration) -> Load {
    Load {
        servers: vec![Server { address, host: "here".into(), path: "/".into() }],
        plan: Plan { steps: vec![Step { rate, time }], spacing: Spacing::Fixed, seed: 1 },
        mix: Mix::Get,
        connections: 100,
        timeout: Duration::from_secs(20),
        check: true,
    }
}

fn outcome(load: &Load) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(load)).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_mix_reaches_the_server_and_all_of_it_is_counted() {
    let seen: Arc<[AtomicUsize; 3]> = Arc::default();
    let counts = Arc::clone(&seen);
    let address = serve(move |_, line| {
        let starts = [
            "POST /wrk2-api/post/compose ",
            "GET /wrk2-api/home-timeline/read?",
            "GET /wrk2-api/user-timeline/read?",
        ];
        let index = starts.iter().position(|start| line.starts_with(start)).unwrap();
        counts[index].fetch_add(1, Ordering::SeqCst);
        fine()
    });
    let mut load = load(address, 400.0, SECOND);
    load.mix = Mix::SocialNetwork { users: DEFAULT_USERS };
    load.plan.spacing = Spacing::Poisson;
    let Outcome { tally, posts, .. } = outcome(&load);
    assert_eq!((tally.failed_requests(), tally.requests()), (0, load.plan.arrivals().count() as u64));
    for (kind, seen) in [Kind::Compose, Kind::Home, Kind::User].iter().zip(&*seen) {
        assert_eq!(tally.by_kind[kind].len() as usize, seen.load(Ordering::SeqCst), "{kind}");
    }
    assert_eq!(posts.len(), seen[0].load(Ordering::SeqCst));
    assert!(posts.iter().all(|post| post.acknowledged));
}

/// Whoever measures from when a request was sent, one after the other, sees one slow answer here.
#[test]
fn a_stall_is_charged_to_all_that_came_due_meanwhile() {
    for connections in [1, 100] {
        let (begun, stall) = (Instant::now(), Duration::from_millis(250)..Duration::from_millis(750));
        let end = stall.end;
        let address = serve(move |_, _| {
            if stall.contains(&begun.elapsed()) {
                // What is measured is that time passes.
                std::thread::sleep(end.saturating_sub(begun.elapsed()));
            }
            fine()
        });
        let mut load = load(address, 200.0, SECOND);
        load.connections = connections;
        let Outcome { tally, .. } = outcome(&load);
        assert_eq!((tally.failed_requests(), tally.answers()), (0, 200));
        // 100 come due in the stall, and the first half of them waits for 250 ms or more, a little less where the test began late.
        let slow = tally.latency.len() - tally.latency.count_between(0, 200_000_000);
        assert!(slow >= 40, "{connections} connections: {slow} requests were slow");
    }
}

#[test]
fn connections_grow_to_the_bound_and_are_kept() {
    let (bound, rate) = (4, 400.0);
    // The first request of each connection is answered when all of them are there.
    let (barrier, all) = (Barrier::new(bound), Arc::new(Mutex::new(BTreeSet::new())));
    let seen = Arc::clone(&all);
    let address = serve(move |connection, _| {
        let first = seen.lock().unwrap().insert(connection);
        if first {
            barrier.wait();
        }
        fine()
    });
    let mut load = load(address, rate, SECOND / 2);
    load.connections = bound;
    let Outcome { tally, connections, .. } = outcome(&load);
    assert_eq!((tally.failed_requests(), tally.answers()), (0, 200));
    assert_eq!((connections, all.lock().unwrap().len()), (bound, bound));
}

#[test]
fn a_connection_that_the_server_ends_is_not_used_again() {
    for does in [|| Does::AnswersOnce, || Does::Leaves] {
        let mut load = load(serve(move |_, _| does()), 10.0, SECOND / 2);
        load.connections = 1;
        let Outcome { tally, .. } = outcome(&load);
        assert_eq!((tally.failed_requests(), tally.answers()), (0, 5), "{:?}", tally.words);
    }
}

#[test]
fn failures_are_told_by_kind() {
    let check = |address, timeout, failure, word: &str| {
        let mut load = load(address, 20.0, SECOND / 2);
        (load.mix, load.timeout) = (Mix::SocialNetwork { users: 2 }, timeout);
        let Outcome { tally, posts, .. } = outcome(&load);
        assert_eq!(tally.failures.keys().collect::<Vec<_>>(), [&failure], "{:?}", tally.words);
        assert!(tally.words[0].contains(word), "{:?} does not say {word:?}", tally.words);
        assert!(posts.iter().all(|post| !post.acknowledged || failure == Failure::Wrong));
    };
    let long = SECOND * 20;
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(refused, long, Failure::Connect, "refused");
    check(serve(|_, _| Does::BreaksOff), long, Failure::Broken, "end of file");
    let busy = || Does::Answers("503 Service Unavailable", "come back later".into());
    check(serve(move |_, _| busy()), long, Failure::Status(503), "come back later");
    let never = Arc::new(Barrier::new(usize::MAX));
    let hangs = serve(move |_, _| {
        never.wait();
        fine()
    });
    check(hangs, SECOND / 10, Failure::Timeout, "nothing within 0.1 s");
    check(serve(|_, _| Does::Answers("200 OK", "<html>".into())), long, Failure::Wrong, "no timeline");
}

#[test]
fn a_server_is_found_by_its_url() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let find = |url| runtime.block_on(Server::find(url));
    let server = find("http://127.0.0.1:8080/a?b=c").unwrap();
    assert_eq!((server.host.as_str(), server.path.as_str()), ("127.0.0.1:8080", "/a?b=c"));
    assert_eq!(find("http://127.0.0.1").unwrap().address.port(), 80);
    assert_eq!(find("http://[::1]:81/").unwrap().address, "[::1]:81".parse().unwrap());
    for (url, word) in [("https://127.0.0.1", "http://"), ("127.0.0.1:80", "http://"), ("http://", "no URL")]
    {
        let error = find(url).unwrap_err().to_string();
        assert!(error.contains(word), "{url}: {error}");
    }
}
