//! Programs that never heard of SigmaOS, as a C compiler makes them, and those that the system refuses to execute.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Tenant, compiled, story, within};
use sigmaos::{Cause, Code, Pid, ProcSpec, Status};
use std::time::Duration;

const PATH: &str = "/bin/c";

/// More program headers than Linux reads: 64 KiB of 56 bytes each.
const TOO_MANY_HEADERS: u16 = 1200;

async fn put(tenant: &Tenant, program: Vec<u8>) {
    within("an upload", tenant.sigma.put_file(PATH, program)).await.unwrap();
}

async fn play(tenant: &Tenant, how: &str, grace: Duration) -> Pid {
    tenant.spawn_spec(ProcSpec::new(PATH).unwrap().args([how]).env("TOLD", "a variable").grace(grace)).await
}

#[test]
fn a_c_program_ends_by_its_code_by_signals_and_on_request() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        put(&tenant, compiled("plain.c")).await;
        let crashed = Status::crashed;
        let table = [
            ("0", Status::ok()),
            ("3", crashed(Cause::ExitCode(3))),
            // A launcher that fails has this code too; here it is the program's own.
            ("126", crashed(Cause::ExitCode(126))),
            ("abort", crashed(Cause::Signal(6))),
            ("segv", crashed(Cause::Signal(11))),
        ];
        for (how, status) in table {
            let pid = play(&tenant, how, Duration::ZERO).await;
            assert_eq!(tenant.wait_exit(pid).await, status, "{how}");
            let code = how.parse::<i32>().is_ok();
            let said = if code { "c with a variable\n" } else { "" };
            assert_eq!(tenant.stdout(pid).await, said, "{how}");
        }
        for (how, grace, signal) in [
            ("wait", Duration::from_secs(10), "by signal 15"),
            ("ignore-term", Duration::from_millis(100), "by signal 9"),
        ] {
            let pid = play(&tenant, how, grace).await;
            tenant.wait_start(pid).await.unwrap();
            tenant.said(pid, "waiting").await;
            let asked = std::time::Instant::now();
            tenant.kill(pid).await;
            assert_eq!(tenant.wait_exit(pid).await, Status::killed(format!("on request, {signal}")), "{how}");
            let waited = asked.elapsed();
            assert_eq!(waited >= grace, how == "ignore-term", "{how}: {waited:?}");
        }
    });
}

/// A program that is in order, but for more headers than the system takes at its execution.
fn refused_at_execution() -> Vec<u8> {
    let mut program = compiled("plain.c");
    let headers = program.len() as u64;
    // e_phoff and e_phnum, elf(5); headers of zeros say nothing.
    program[32..40].copy_from_slice(&headers.to_le_bytes());
    program[56..58].copy_from_slice(&TOO_MANY_HEADERS.to_le_bytes());
    program.resize(program.len() + 56 * usize::from(TOO_MANY_HEADERS), 0);
    program
}

/// Bug: where the end of a launcher was seen before its word on the door, its proc had started and ended with exit code 126.
#[test]
fn a_launch_that_fails_says_why_however_busy_the_kernel_is() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        put(&tenant, refused_at_execution()).await;
        let noop = tenant.spec("noop").await;
        for _ in 0..10 {
            let mut refused = Vec::new();
            for _ in 0..50 {
                refused.push(play(&tenant, "0", Duration::ZERO).await);
                tenant.spawn_spec(noop.clone()).await;
            }
            for pid in refused {
                let status = tenant.wait_exit(pid).await;
                let Status::Crashed { cause: Cause::NotStarted(why), .. } = &status else {
                    panic!("{pid}: {status}");
                };
                assert!(why.starts_with("exec: Exec format error"), "{why}");
                assert_eq!(tenant.wait_start(pid).await.map_err(|error| error.code), Err(Code::Ended));
            }
        }
    });
}
