//! Requests that are wrong, too large or too slow: each has its answer, and disturbs nobody.

use crate::http::{ask, connect, parse};
use crate::net::Net;
use sigma_test::{story, within};
use socialnet::limits::{HEAD_DEADLINE, MAX_HEAD};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// What a server says until it closes; nothing where it just closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A connection that is cut has said what it has said.
    let _ = stream.read_to_end(&mut all).await;
    all
}

#[test]
fn each_wrong_request_has_its_status_and_its_sentence() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        for path in ["home-timeline", "user-timeline"] {
            let read = async |query: &str| net.get(&format!("/wrk2-api/{path}/read?{query}")).await;
            read("user_id=1&start=0").await.refused(400, "stop is missing");
            read("user_id=1&start=-1&stop=5").await.refused(400, "start \"-1\"");
            read("user_id=1&start=9&stop=5").await.refused(400, "start 9 is past stop 5");
            read("user_id=x&start=0&stop=5").await.refused(400, "user_id \"x\"");
            read("user_id=1&start=0&stop=101").await.refused(400, "at most 100");
            read("user_id=1&start=10000&stop=10001").await.refused(400, "10000");
            read("user_id=7&start=0&stop=5").await.refused(404, "no user 7");
        }
        let post = [("user_id", "1"), ("username", "username_1"), ("text", "x"), ("post_type", "0")];
        let compose = async |name: &str, value: &str| {
            let mut fields: Vec<_> = post.iter().copied().filter(|(other, _)| *other != name).collect();
            fields.push((name, value));
            net.form("/wrk2-api/post/compose", &fields).await
        };
        compose("media_ids", "[1").await.refused(400, "media_ids");
        compose("media_ids", "{\"a\": 1}").await.refused(400, "media_ids");
        compose("media_types", "[\"png\"]").await.refused(400, "0 media ids and 1 media types");
        compose("text", "").await.refused(400, "text is missing");
        compose("username", "eve").await.refused(400, "not called");
        compose("user_id", "9").await.refused(404, "no user 9");
        compose("post_type", "x").await.refused(400, "post_type");
        let mut media = post.to_vec();
        media.extend([("media_ids", "[1]"), ("media_types", "[\"exe\"]")]);
        net.form("/wrk2-api/post/compose", &media).await.refused(400, "no media type");
        let follow = async |fields: &[(&str, &str)]| net.form("/wrk2-api/user/follow", fields).await;
        follow(&[("user_name", "username_1")]).await.refused(400, "followee_name");
        follow(&[("user_name", "username_1"), ("followee_name", "eve")]).await.refused(404, "\"eve\"");
        follow(&[("user_id", "1"), ("followee_id", "1")]).await.refused(400, "oneself");
        net.form("/wrk2-api/user/register", &[("username", "a")]).await.refused(400, "missing");

        let json = [("Content-Type", "application/json")];
        ask(net.port, "POST", "/api/login", &json, b"{").await.refused(400, "JSON");
        ask(net.port, "POST", "/api/login", &json, br#"{"user": 1}"#).await.refused(400, "JSON");
        ask(net.port, "POST", "/api/login", &[FORM], b"a=b").await.refused(400, "application/json");
        assert_eq!(ask(net.port, "PUT", "/api/login", &json, b"{}").await.status, 405);
        assert_eq!(net.wrote(1).await, [""; 0], "nothing of it was posted");
    });
}

#[test]
fn how_long_a_login_takes_does_not_tell_who_is_known() {
    story(async |machine| {
        let net = Net::start_with(machine, "").await;
        net.register(1).await;
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            for (name, times) in [("username_1", &mut known), ("username_2", &mut unknown)] {
                let begun = Instant::now();
                net.form("/login", &[("username", name), ("password", "wrong horse")])
                    .await
                    .refused(401, "wrong");
                times.push(begun.elapsed());
            }
        }
        known.sort_unstable();
        unknown.sort_unstable();
        // Hashing is most of it: without that an unknown name would be answered in a tenth of the time.
        let ratio = known[4].as_secs_f64() / unknown[4].as_secs_f64();
        assert!((0.4..2.5).contains(&ratio), "{known:?} and {unknown:?}");
    });
}

#[test]
fn floods_are_refused_and_others_are_served() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        // 10 MB of text.
        let text = format!("user_id=1&username=username_1&post_type=0&text={}", "x".repeat(10_000_000));
        let refused = ask(net.port, "POST", "/wrk2-api/post/compose", &[FORM], text.as_bytes()).await;
        refused.refused(413, "too large");
        net.compose(1, &"x".repeat(10_001)).await.refused(413, "at most 10000");
        net.posted(1, &"x".repeat(10_000)).await;
        // A head without an end.
        let mut stream = connect(net.port).await;
        let flood = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(2 * MAX_HEAD));
        let _ = stream.write_all(flood.as_bytes()).await;
        let answer = parse(&within("the refusal", rest(stream)).await);
        assert!(matches!(answer.status, 0 | 431), "{}", answer.head);
        let many: Vec<_> = (0..200).map(|number| format!("X-{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "y")).collect();
        assert!(matches!(ask(net.port, "GET", "/", &many, b"").await.status, 0 | 431));
        let mut stream = connect(net.port).await;
        stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.unwrap();
        assert!(matches!(parse(&within("the refusal", rest(stream)).await).status, 0 | 400));
        // A body that never ends.
        let mut stream = connect(net.port).await;
        let head = "POST /wrk2-api/post/compose HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
        let mut sent = 0usize;
        while sent < 100 << 20 && stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
        }
        assert!(sent < 100 << 20, "all of it was read");
        assert_eq!(net.wrote(1).await.len(), 1);
    });
}

/// A client with many connections makes them all at once.
#[test]
fn two_hundred_connections_at_once_are_all_served() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let all = (0..200).map(|_| net.get("/style.css"));
        let all = within("all answers", futures_util::future::join_all(all)).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 200);
    });
}

#[test]
fn slow_clients_are_cut_off() {
    story(async |machine| {
        let net = Net::start(machine).await;
        // Heads that do not end, and connections that say nothing, before others ask.
        let mut slow = Vec::new();
        for begin in ["", "GET / HTTP/1.1\r\nHost: ", "POST /login HTTP/1.1\r\n"] {
            let mut stream = connect(net.port).await;
            stream.write_all(begin.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        assert_eq!(net.get("/").await.status, 200);
        let begun = Instant::now();
        for stream in slow {
            within("the end of a slow connection", rest(stream)).await;
        }
        assert!(begun.elapsed() < HEAD_DEADLINE * 2);
        assert_eq!(net.get("/").await.status, 200);
    });
}
