//! How long it takes to make launchers and to launch: `cargo test --profile dist -p sigma-jail --test speed -- --ignored
//! --nocapture`, with the musl target. Notes, not promises: SPECIFICATION.md has those.

#![allow(unsafe_code, clippy::unwrap_used)]

mod driver;

use driver::{Jail, program, ways};
use sigma_abi::proto;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const ROUNDS: usize = 500;

#[test]
#[ignore = "a measurement"]
fn launchers_and_launches() {
    let binary = program("nothing");
    for way in ways() {
        let start = Instant::now();
        let mut jail = Jail::start(way, "");
        println!("{way:?}: jail ready in {:?}", start.elapsed());
        let (mut making, mut launching, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let launcher = jail.make();
            making.push(start.elapsed());
            // Until it waits on its door.
            std::thread::sleep(Duration::from_millis(2));
            let (mut reader, writer) = std::io::pipe().unwrap();
            let start = Instant::now();
            launcher.send_launch(&["x"], &["A=b"], false, &[binary.as_raw_fd(), writer.as_raw_fd()]);
            drop(writer);
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
            launching.push(start.elapsed());
            assert_eq!(jail.exited().exit_code, Some(0));
            whole.push(start.elapsed());
        }
        show("make → Jail.Launcher", &mut making);
        show("Launch → exec done, seen by the sender", &mut launching);
        show("Launch → Jail.Exited", &mut whole);
        let start = Instant::now();
        jail.send("Jail.Make", &proto::MakeLaunchers { class: 0, count: ROUNDS as u32 });
        let mut launchers: Vec<_> = (0..ROUNDS).map(|_| jail.launcher()).collect();
        let last = launchers.pop().unwrap();
        last.launch(&binary, &["x"], &[], false);
        jail.exited();
        println!("  {ROUNDS} launchers at once: {:?} each", start.elapsed() / ROUNDS as u32);
    }
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    println!(
        "  {what}: least {:?}, p50 {:?}, p99 {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}
