//! `/ux` while its proxy is killed: what was acknowledged is there, no file is seen by half, and a program that is being fetched is run
//! as it was, or not at all.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, host, story, within};
use sigmaos::proto::OpenRequest;
use sigmaos::{Cause, Code, Error, Pid, ProcSpec, Result, Sigma, Status};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::{JoinHandle, JoinSet};

/// How often ux is killed below its clients.
const KILLS: usize = 5;

/// Bytes of the files that clients put: one that goes in one frame and is written at once, one in one frame that is written aside, and
/// one in pieces.
const SIZES: [usize; 3] = [20_000, 300_000, 3 << 20];

/// Bytes of a program whose fetch takes long enough to be caught in the middle.
const LARGE: usize = 128 << 20;

/// What a client may be told whose server dies.
fn is_its_end(error: &Error) -> bool {
    matches!(error.code, Code::Unreachable | Code::Closed)
}

/// Contents that tell which they are, and where they were torn.
fn contents(round: u64, size: usize) -> Vec<u8> {
    round.to_le_bytes().into_iter().cycle().take(size / 8 * 8).collect()
}

/// The round of what was put, which is whole.
fn round_of(contents: &[u8], size: usize) -> u64 {
    assert_eq!(contents.len(), size / 8 * 8);
    assert!(contents.chunks(8).all(|chunk| chunk == &contents[..8]), "a torn file");
    u64::from_le_bytes(contents[..8].try_into().unwrap())
}

/// Puts a file again and again, and reads it back. Gives the last round that was acknowledged, and the last that was tried.
async fn put_and_get(sigma: Sigma, size: usize, stop: Arc<AtomicBool>) -> (u64, u64) {
    let path = format!("/ux/~local/file-{size}");
    let (mut known, mut round) = (0, 0);
    // The last kill may have come before a large file was ever whole.
    while known == 0 || !stop.load(Ordering::Relaxed) {
        round += 1;
        match within("a put", sigma.put_file(&path, contents(round, size))).await {
            Ok(_) => known = round,
            Err(error) => assert!(is_its_end(&error), "{error}"),
        }
        match within("a get", sigma.get_file(&path)).await {
            Ok(seen) => {
                let seen = round_of(&seen, size);
                assert!((known..=round).contains(&seen), "{seen} after {known} was acknowledged");
            }
            Err(error) if error.code == Code::NotFound => assert_eq!(known, 0, "it is there: {error}"),
            Err(error) => assert!(is_its_end(&error), "{error}"),
        }
    }
    (known, round)
}

/// Reads what others put, again and again: whatever it sees is whole.
async fn look(sigma: Sigma, size: usize, stop: Arc<AtomicBool>) {
    let path = format!("/ux/~local/file-{size}");
    while !stop.load(Ordering::Relaxed) {
        match within("a get", sigma.get_file(&path)).await {
            Ok(seen) => drop(round_of(&seen, size)),
            Err(error) => assert!(error.code == Code::NotFound || is_its_end(&error), "{error}"),
        }
    }
}

/// Writes numbers one behind the other into a file in its place; one that failed is written again. Gives how many were acknowledged.
async fn log(sigma: Sigma, stop: Arc<AtomicBool>) -> u64 {
    let how = || OpenRequest { write: true, create: true, ..Default::default() };
    let mut written = 0;
    while written == 0 || !stop.load(Ordering::Relaxed) {
        let done: Result<()> = async {
            let mut file = within("an open", sigma.open_with("/ux/~local/log", how())).await?;
            while written == 0 || !stop.load(Ordering::Relaxed) {
                file.lseek(written * 8);
                within("a write", file.write(written.to_le_bytes().to_vec())).await?;
                written += 1;
            }
            Ok(())
        }
        .await;
        if let Err(error) = done {
            assert!(is_its_end(&error), "{error}");
        }
    }
    written
}

#[test]
fn a_ux_that_is_killed_loses_nothing_that_was_acknowledged_and_shows_nothing_by_half() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let stop = Arc::new(AtomicBool::new(false));
        let (mut putters, mut lookers) = (JoinSet::new(), JoinSet::new());
        for size in SIZES {
            let work = put_and_get(machine.client("a"), size, Arc::clone(&stop));
            putters.spawn(async move { (size, work.await) });
            lookers.spawn(look(machine.client("a"), size, Arc::clone(&stop)));
        }
        let logger = tokio::spawn(log(machine.client("a"), Arc::clone(&stop)));
        let witness = machine.client("a");
        for kill in 0..KILLS {
            // Each dies only when it serves, whatever the clients do.
            eventually("ux serves", async || {
                witness.put_file("/ux/~local/witness", kill.to_string()).await.ok()
            })
            .await;
            machine.kill_9("ux").await;
        }
        eventually("ux serves", async || witness.get_file("/ux/~local/witness").await.ok()).await;
        stop.store(true, Ordering::Relaxed);
        for (size, (known, tried)) in within("the clients", putters.join_all()).await {
            assert!(known > 0, "{size}: nothing was acknowledged");
            let kept = tenant.sigma.get_file(&format!("/ux/~local/file-{size}")).await.unwrap();
            let kept = round_of(&kept, size);
            assert!((known..=tried).contains(&kept), "{size}: {kept} is kept of {known} and {tried}");
        }
        within("the lookers", lookers.join_all()).await;
        let written = within("the log", logger).await.unwrap();
        let kept = tenant.sigma.get_file("/ux/~local/log").await.unwrap();
        let kept: Vec<u64> =
            kept.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect();
        // The last one may have been written and not acknowledged.
        assert!(written > 0 && kept.len() as u64 >= written, "{} of {written}", kept.len());
        assert!(kept.iter().copied().eq(0..kept.len() as u64));
        let names: Vec<_> =
            tenant.sigma.read_dir("/ux/~local").await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["file-20000", "file-300000", "file-3145728", "log", "witness"]);
        assert!(drafts(&files(machine).join(".sigma-drafts")).is_empty(), "nothing half-written is left");
    });
}

/// The realm's files, as the disk has them.
fn files(machine: &Machine) -> PathBuf {
    machine.state().join("realm/a/ux")
}

fn drafts(directory: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Programs on their way in.
fn fetched(machine: &Machine) -> Vec<PathBuf> {
    let mut all = drafts(&machine.state().join("blob"));
    all.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("draft-"));
    all
}

const PROGRAM: &str = "/ux/~local/program";

/// A plain program that is large, for what follows it that nobody reads.
fn large(machine: &Machine) -> Vec<u8> {
    let mut program = std::fs::read(machine.program("plain")).unwrap();
    program.resize(LARGE, 0);
    program
}

/// Spawns the program, and stops ux while it is being fetched.
async fn stopped_amid_fetch(machine: &Machine, tenant: &Tenant) -> (JoinHandle<Result<Pid>>, u32) {
    let ux = host::find_all(machine.sigmad().await, "ux")[0];
    loop {
        let (sigma, spec) = (tenant.sigma.clone(), ProcSpec::new(PROGRAM).unwrap().args(["exit:3"]));
        let spawn = tokio::spawn(async move { sigma.spawn(spec).await });
        eventually("a part of it is there, or all", async || {
            let part =
                fetched(machine).iter().any(|draft| draft.metadata().is_ok_and(|draft| draft.len() > 0));
            (part || spawn.is_finished()).then_some(())
        })
        .await;
        host::stop(ux);
        let whole = fetched(machine)
            .iter()
            .all(|draft| draft.metadata().is_ok_and(|draft| draft.len() == LARGE as u64));
        if !spawn.is_finished() && !whole {
            return (spawn, ux);
        }
        // It was too quick this time.
        host::go_on(ux);
        let pid = within("a spawn", spawn).await.unwrap().unwrap();
        tenant.wait_exit(pid).await;
    }
}

async fn spawned(spawn: JoinHandle<Result<Pid>>) -> Result<Pid> {
    within("a spawn", spawn).await.unwrap()
}

#[test]
fn a_program_that_changes_while_it_is_fetched_runs_as_it_was_or_not_at_all() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let old = Status::crashed(Cause::ExitCode(3));
        within("a large put", tenant.sigma.put_file(PROGRAM, large(machine))).await.unwrap();
        let on_disk = files(machine).join("program");

        // Replaced, as by a put: what was opened is what runs; the next spawn has the new one.
        let (spawn, ux) = stopped_amid_fetch(machine, &tenant).await;
        std::fs::copy(machine.program("noop"), on_disk.with_extension("new")).unwrap();
        std::fs::rename(on_disk.with_extension("new"), &on_disk).unwrap();
        host::go_on(ux);
        assert_eq!(tenant.wait_exit(spawned(spawn).await.unwrap()).await, old);
        assert!(tenant.wait_exit(tenant.spawn_spec(ProcSpec::new(PROGRAM).unwrap()).await).await.is_ok());

        // Removed: likewise, and then it is not there.
        within("a large put", tenant.sigma.put_file(PROGRAM, large(machine))).await.unwrap();
        let (spawn, ux) = stopped_amid_fetch(machine, &tenant).await;
        std::fs::remove_file(&on_disk).unwrap();
        host::go_on(ux);
        assert_eq!(tenant.wait_exit(spawned(spawn).await.unwrap()).await, old);
        let gone = tenant.try_spawn(ProcSpec::new(PROGRAM).unwrap()).await.unwrap_err();
        assert_eq!(gone.code, Code::NotFound, "{gone}");
        assert!(gone.message.contains(PROGRAM), "{gone}");

        // Cut in its place: no part of a program runs.
        within("a large put", tenant.sigma.put_file(PROGRAM, large(machine))).await.unwrap();
        let (spawn, ux) = stopped_amid_fetch(machine, &tenant).await;
        std::fs::File::options().write(true).open(&on_disk).unwrap().set_len(8192).unwrap();
        host::go_on(ux);
        match spawned(spawn).await {
            // What was read before the cut may have been the whole program but for zeros.
            Ok(pid) => assert_eq!(tenant.wait_exit(pid).await, old),
            Err(error) => assert_eq!(error.code, Code::Invalid, "{error}"),
        }
        let cut = tenant.try_spawn(ProcSpec::new(PROGRAM).unwrap()).await.unwrap_err();
        assert_eq!(cut.code, Code::Invalid, "{cut}");
        assert!(cut.message.contains("truncated") && cut.message.contains(PROGRAM), "{cut}");

        // ux dies: the spawn says so, and the next one finds all that it needs.
        within("a large put", tenant.sigma.put_file(PROGRAM, large(machine))).await.unwrap();
        let (spawn, ux) = stopped_amid_fetch(machine, &tenant).await;
        host::kill(ux);
        let error = spawned(spawn).await.unwrap_err();
        assert!(error.code == Code::Unreachable && error.message.contains(PROGRAM), "{error}");
        assert!(fetched(machine).is_empty(), "the part that was there is gone");
        let again = eventually("ux is back", async || {
            tenant.try_spawn(ProcSpec::new(PROGRAM).unwrap().args(["exit:3"])).await.ok()
        });
        assert_eq!(tenant.wait_exit(again.await).await, old);
    });
}
