//! Procs of the social network, and the document database, are killed while people post and read: nothing that was answered for
//! is lost, and no answer is wrong.

use crate::net::{Net, REALM, texts};
use sigma_test::outside::nx::Nx;
use sigma_test::{eventually, host, story, within};
use std::cell::{Cell, RefCell};

/// Those who post; each follows the one before.
const USERS: i64 = 4;

/// Posts and reads until it is told to stop; what was answered for, by who posted it.
async fn load(net: &Net, stop: &Cell<bool>, answered: &RefCell<Vec<(i64, String)>>) {
    let mut number = 0;
    while !stop.get() {
        number += 1;
        let user = number % USERS;
        let text = format!("post {number}");
        let posted = net.compose(user, &text).await;
        match posted.status {
            200 => answered.borrow_mut().push((user, text)),
            // Nobody was told that it is there.
            0 | 500..600 => {}
            status => panic!("{status}: {}", posted.body),
        }
        let follower = (user + 1) % USERS;
        let (start, stop) = (0, 100);
        let seen = net.home(follower, start, stop).await;
        if seen.status != 200 {
            assert!(matches!(seen.status, 0 | 500..600), "{}: {}", seen.status, seen.body);
            continue;
        }
        // What was answered for is seen at once.
        let seen = texts(&seen);
        let mine = answered.borrow().iter().rev().find(|(by, _)| *by == user).map(|(_, text)| text.clone());
        assert!(mine.is_none_or(|text| seen.contains(&text)), "{seen:?}");
        in_order(&seen);
    }
}

/// Newest first, none twice.
fn in_order(texts: &[String]) {
    let numbers: Vec<u32> =
        texts.iter().map(|text| text.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|newer, older| newer > older), "{texts:?}");
}

/// Kills something under load, waits until posts are answered again, and looks for all of them.
async fn survives(net: &Net, victims: &[&str], kill: impl AsyncFn(&str)) {
    for id in 0..USERS {
        net.register(id).await;
        if id > 0 {
            net.follow(id, id - 1).await;
        }
    }
    net.follow(0, USERS - 1).await;
    let (stop, answered) = (Cell::new(false), RefCell::new(Vec::new()));
    let more = async |count: usize| {
        let before = answered.borrow().len();
        eventually("posts are answered", async || (answered.borrow().len() >= before + count).then_some(()))
            .await;
    };
    let story = async {
        more(5).await;
        for victim in victims {
            kill(victim).await;
            more(3).await;
        }
        stop.set(true);
    };
    tokio::join!(load(net, &stop, &answered), story);
    for user in 0..USERS {
        let (wrote, seen) = (all(net, user, false).await, all(net, (user + 1) % USERS, true).await);
        for (_, text) in answered.borrow().iter().filter(|(by, _)| *by == user) {
            assert!(wrote.contains(text) && seen.contains(text), "{text:?} of {user} is lost");
        }
        in_order(&wrote);
        in_order(&seen);
    }
}

/// All of a timeline.
async fn all(net: &Net, user: i64, home: bool) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (start, stop) = (all.len() as u32, all.len() as u32 + 100);
        let page =
            if home { net.home(user, start, stop).await } else { net.timeline(user, start, stop).await };
        let page = texts(&page);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn kill_proc(net: &Net, name: &str) {
    let (pid, process) = net.proc(name).await;
    let restarts = net.tenant.info(pid).await.restarts;
    host::kill(process);
    eventually("it is started again", async || {
        (net.tenant.info(pid).await.restarts > restarts).then_some(())
    })
    .await;
    within("its start", net.tenant.sigma.wait_start(pid)).await.unwrap();
}

#[test]
fn the_services_of_users_and_of_who_follows_whom_are_killed() {
    story(async |machine| {
        let net = Net::start(machine).await;
        survives(&net, &["user", "graph", "media"], async |name| kill_proc(&net, name).await).await;
    });
}

#[test]
fn the_services_of_posts_and_timelines_are_killed() {
    story(async |machine| {
        let net = Net::start(machine).await;
        survives(&net, &["post", "timeline", "home"], async |name| kill_proc(&net, name).await).await;
    });
}

#[test]
fn the_services_of_texts_and_the_front_end_are_killed() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let victims = ["url", "text", "compose", "front"];
        survives(&net, &victims, async |name| kill_proc(&net, name).await).await;
    });
}

#[test]
fn a_shard_of_the_cache_and_the_database_are_killed() {
    story(async |machine| {
        let net = Net::start(machine).await;
        survives(&net, &["cache", "mongo", "cache", "mongo"], async |name| match name {
            "mongo" => drop(machine.kill_9("mongo").await),
            name => kill_proc(&net, name).await,
        })
        .await;
    });
}

#[test]
fn the_whole_machine_is_killed_and_all_posts_are_there() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        net.register(2).await;
        net.follow(2, 1).await;
        net.posted(1, "before").await;
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let net = Net { tenant: machine.realm(REALM).await, ..net };
        net.run(&format!("socialnet up --port {} --password-cost cheap", net.port)).await;
        assert_eq!(
            (net.wrote(1).await, net.sees(2).await),
            (vec!["before".to_owned()], vec!["before".to_owned()])
        );
    });
}

#[test]
fn it_works_on_a_mongodb_and_outlives_its_end() {
    story(async |machine| {
        let Some(mut nx) = Nx::start().await else { return };
        machine.realm(REALM).await;
        machine.ok(&["realm", "set", REALM, &format!("mongo.url={}", nx.url())]).await;
        let net = Net::start(machine).await;
        net.register(1).await;
        net.register(2).await;
        net.follow(2, 1).await;
        net.posted(1, "first @username_2").await;
        assert_eq!(net.wrote(1).await, ["first @username_2"]);
        nx.kill_9();
        // What the cache has is still shown; what needs the database says which system it waited for.
        assert_eq!(net.wrote(1).await, ["first @username_2"]);
        let refused = net.compose(1, "not now").await;
        assert!(matches!(refused.status, 503 | 504), "{}", refused.body);
        assert!(refused.body.contains("MongoDB at 127.0.0.1"), "{}", refused.body);
        nx.start_again().await;
        let posted = async || (net.compose(1, "second").await.status == 200).then_some(());
        eventually("a post is answered for again", posted).await;
        kill_proc(&net, "cache").await;
        let (wrote, seen) = (net.wrote(1).await, net.sees(2).await);
        assert!(
            wrote.contains(&"second".to_owned()) && wrote.contains(&"first @username_2".to_owned()),
            "{wrote:?}"
        );
        assert_eq!(wrote, seen);
        in_order_of_time(&net).await;
    });
}

/// Whatever was carried out without an answer, each post is there once, newest first.
async fn in_order_of_time(net: &Net) {
    let posts = net.timeline(1, 0, 100).await.posts();
    let ids: Vec<i64> = posts.iter().map(|post| post["post_id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
}
