//! What many clients see of one namespace at the same time, judged as a whole.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::followed::{Made, Seen, Told, exact};
use sigma_test::history::{Action, Clock, Operation, Outcome, linearizable};
use sigma_test::{Machine, story, within};
use sigmaos::proto::PutRequest;
use sigmaos::proto::event::Kind;
use sigmaos::{Code, Result, Sigma};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Clients of one history.
const CLIENTS: u64 = 4;

/// Operations of each.
const OPERATIONS: u64 = 120;

/// Names that they fight for.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// How often named dies in a history.
const KILLS: usize = 4;

/// Numbers that look random, from a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn name(&mut self) -> String {
        NAMES[self.roll(NAMES.len() as u64) as usize].to_owned()
    }
}

/// A seed for this run, told so that a failure can be played again with `SIGMA_SEED`.
fn seed() -> u64 {
    let told = std::env::var("SIGMA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = told.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SIGMA_SEED={seed}");
    seed
}

fn random(dice: &mut Dice, value: u64) -> Action {
    match dice.roll(10) {
        0 | 1 => Action::Create { key: dice.name(), value },
        2 | 3 => Action::Put { key: dice.name(), value },
        4..=6 => Action::Get { key: dice.name() },
        7 | 8 => Action::Rename { from: dice.name(), to: dice.name() },
        _ => Action::Remove { key: dice.name() },
    }
}

async fn carry_out(sigma: &Sigma, action: &Action) -> Result<Outcome> {
    let at = |name: &String| format!("/dir/{name}");
    match action {
        Action::Create { key, value } => {
            let once = PutRequest { exclusive: true, perm: 0o66, ..Default::default() };
            sigma.put_with(&at(key), once, value.to_string()).await.map(|_| Outcome::Done)
        }
        Action::Put { key, value } => {
            sigma.put_file(&at(key), value.to_string()).await.map(|_| Outcome::Done)
        }
        Action::Get { key } => {
            let found = sigma.get_file(&at(key)).await?;
            Ok(Outcome::Found(String::from_utf8_lossy(&found).parse().unwrap()))
        }
        Action::Rename { from, to } => sigma.rename(&at(from), &at(to)).await.map(|()| Outcome::Done),
        Action::Remove { key } => sigma.remove(&at(key)).await.map(|()| Outcome::Done),
    }
}

/// Carries out random operations one after the other, and writes down what it was told.
async fn client(sigma: Sigma, clock: Arc<Clock>, mut dice: Dice, number: u64) -> Vec<Operation> {
    let mut history = Vec::new();
    for round in 0..OPERATIONS {
        let action = random(&mut dice, number * OPERATIONS + round);
        let called = clock.now();
        let told = within("an answer", carry_out(&sigma, &action)).await;
        let answered = clock.now();
        let outcome = match told {
            Ok(outcome) => outcome,
            Err(error) if error.maybe_done => Outcome::Unknown,
            Err(error) if error.code == Code::NotFound => Outcome::NotFound,
            Err(error) if error.code == Code::Exists => Outcome::Exists,
            Err(error) => panic!("{action:?}: {error}"),
        };
        history.push(Operation { action, outcome, called, answered });
    }
    history
}

/// Histories of clients that go on while named dies below them.
async fn histories(machine: &Machine, kills: usize) -> Vec<Operation> {
    let (clock, seed) = (Arc::new(Clock::default()), seed());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let dice = Dice(seed.wrapping_add(number << 32));
        clients.spawn(client(machine.client("a"), Arc::clone(&clock), dice, number));
    }
    let witness = machine.client("a");
    for kill in 0..kills {
        within("a change", witness.put_file("/witness", kill.to_string())).await.unwrap();
        machine.kill_9("named").await;
    }
    within("the clients", clients.join_all()).await.concat()
}

#[test]
fn what_clients_see_is_one_history() {
    story(async |machine| {
        machine.realm("a").await.sigma.create_dir("/dir").await.unwrap();
        let mut history = histories(machine, 0).await;
        linearizable(&history).unwrap();
        // The judge is awake: one answer that nobody was given makes it none.
        let found = history.iter_mut().find(|operation| matches!(operation.outcome, Outcome::Found(_)));
        found.unwrap().outcome = Outcome::Found(u64::MAX);
        linearizable(&history).unwrap_err();
    });
}

#[test]
fn what_clients_see_is_one_history_while_named_dies() {
    story(async |machine| {
        machine.realm("a").await.sigma.create_dir("/dir").await.unwrap();
        let history = histories(machine, KILLS).await;
        linearizable(&history).unwrap();
        // The SDK knows what became of each change, whatever died.
        assert!(history.iter().all(|operation| operation.outcome != Outcome::Unknown));
    });
}

/// Each client renames every file to a name of its own: of all who try one wins, and nothing is lost or doubled.
#[test]
fn a_file_that_many_rename_arrives_once() {
    const FILES: usize = 100;
    const MOVERS: usize = 6;
    story(async |machine| {
        let tenant = machine.realm("a").await;
        for dir in ["/from", "/to"] {
            tenant.sigma.create_dir(dir).await.unwrap();
        }
        for file in 0..FILES {
            tenant.sigma.put_file(&format!("/from/{file}"), file.to_string()).await.unwrap();
        }
        let mut movers = JoinSet::new();
        for mover in 0..MOVERS {
            let sigma = machine.client("a");
            movers.spawn(async move {
                let mut moved = Vec::new();
                for step in 0..FILES {
                    let file = (step + mover * 17) % FILES;
                    let to = format!("/to/{file}.{mover}");
                    match sigma.rename(&format!("/from/{file}"), &to).await {
                        Ok(()) => moved.push(format!("{file}.{mover}")),
                        Err(error) => assert_eq!(error.code, Code::NotFound, "{error}"),
                    }
                }
                moved
            });
        }
        // One of them loses its server in between.
        machine.kill_9("named").await;
        let mut moved: Vec<_> = within("the movers", movers.join_all()).await.concat();
        moved.sort();
        let there = tenant.sigma.read_dir("/to").await.unwrap();
        let mut names: Vec<_> = there.into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, moved);
        assert_eq!(names.len(), FILES, "each arrived once");
        assert!(tenant.sigma.read_dir("/from").await.unwrap().is_empty());
        for name in names {
            let file = name.split('.').next().unwrap().to_owned();
            assert_eq!(tenant.sigma.get_file(&format!("/to/{name}")).await.unwrap(), file);
        }
    });
}

/// Makes changes in `/dir` and writes down what they must look like to those who watch it.
async fn churn(sigma: Sigma, clock: Arc<Clock>, who: u64, rounds: u64) -> Vec<Made> {
    let mut made = Vec::new();
    let mut dice = Dice(who);
    let mut note = |what: Vec<Seen>, called: u64| {
        let answered = clock.now();
        made.extend(what.into_iter().map(|what| Made { what, called, answered }));
    };
    for round in 0..rounds {
        let (a, b) = (format!("{who}-{round}a"), format!("{who}-{round}b"));
        // A name that all make and remove: who comes first makes it, and who comes first removes it.
        let shared = format!("shared-{}", dice.roll(3));
        let once = PutRequest { exclusive: true, perm: 0o66, ..Default::default() };
        let called = clock.now();
        if sigma.put_with(&format!("/dir/{shared}"), once, "").await.is_ok() {
            note(vec![Seen::Created(shared.clone())], called);
        }
        let called = clock.now();
        sigma.put_file(&format!("/dir/{a}"), "x").await.unwrap();
        note(vec![Seen::Created(a.clone())], called);
        // A change of contents is none of the directory.
        sigma.put_file(&format!("/dir/{a}"), "y").await.unwrap();
        let called = clock.now();
        sigma.rename(&format!("/dir/{a}"), &format!("/dir/{b}")).await.unwrap();
        note(vec![Seen::Renamed(a, b.clone())], called);
        if dice.roll(2) == 0 {
            let called = clock.now();
            sigma.rename(&format!("/dir/{b}"), &format!("/away/{b}")).await.unwrap();
            note(vec![Seen::Removed(b.clone())], called);
            let called = clock.now();
            sigma.rename(&format!("/away/{b}"), &format!("/dir/{b}")).await.unwrap();
            note(vec![Seen::Created(b.clone())], called);
        }
        let called = clock.now();
        if sigma.remove(&format!("/dir/{shared}")).await.is_ok() {
            note(vec![Seen::Removed(shared)], called);
        }
        let called = clock.now();
        sigma.remove(&format!("/dir/{b}")).await.unwrap();
        note(vec![Seen::Removed(b)], called);
    }
    made
}

async fn names(sigma: &Sigma) -> BTreeSet<String> {
    sigma.read_dir("/dir").await.unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn watchers_are_told_exactly_what_happens() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        for dir in ["/dir", "/away"] {
            tenant.sigma.create_dir(dir).await.unwrap();
        }
        tenant.sigma.put_file("/dir/before", "").await.unwrap();
        let before = names(&tenant.sigma).await;
        let mut watchers = JoinSet::new();
        for watcher in 0..3 {
            let mut watch = tenant.sigma.watch_dir("/dir").await.unwrap();
            watchers.spawn(async move {
                let mut told = Told::new();
                loop {
                    let event = within("an event", watch.next()).await.unwrap();
                    if event.name == "the-end" {
                        return told;
                    }
                    told.push((
                        event.version,
                        match event.kind() {
                            Kind::Created => Seen::Created(event.name),
                            Kind::Removed => Seen::Removed(event.name),
                            Kind::Renamed => Seen::Renamed(event.name, event.to),
                        },
                    ));
                    // One that is slow, and one that others overtake.
                    for _ in 0..watcher * 3 {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        let clock = Arc::new(Clock::default());
        let mut clients = JoinSet::new();
        for who in 0..CLIENTS {
            clients.spawn(churn(machine.client("a"), Arc::clone(&clock), who, 25));
        }
        let made = within("the clients", clients.join_all()).await.concat();
        let after = names(&tenant.sigma).await;
        tenant.sigma.put_file("/dir/the-end", "").await.unwrap();
        for told in within("the watchers", watchers.join_all()).await {
            exact(&before, &made, &told, &after).unwrap();
        }
    });
}
