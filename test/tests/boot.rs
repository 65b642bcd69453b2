//! A machine boots, is used, is hurt, and ends.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{eventually, host, story, within};
use sigmaos::Pid;

#[test]
fn up_run_hello_down() {
    story(async |machine| {
        let said = machine.cli(&["run", "hello"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(
            said.stdout.contains("hello from ") && said.stdout.contains("in realm default"),
            "{}",
            said.stdout
        );
        assert!(said.stdout.contains("/ holds bin, db, machine, mongo, proc, s3, ux"), "{}", said.stdout);
        // Its status, and each step of its start (thesis, Figure 4.2).
        for word in [" Ok;", "started in ", "queue ", "binary ", "jail ", "launch ", "start ", "ran "] {
            assert!(said.stderr.contains(word), "{:?} does not say {word:?}", said.stderr);
        }
        assert_eq!(machine.cli(&["down"]).await.code, 0);
        assert!(machine.processes().is_empty());
        assert_eq!(machine.cli(&["status"]).await.code, 3);
        machine.boot_again().await;
    });
}

#[test]
fn a_second_kernel_on_the_same_state_is_refused_and_the_first_unharmed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.start("actor start wait-kill").await;
        let state = machine.state().display().to_string();
        machine.fails(&["up"], 1, &["already runs", &state, "status"]).await;
        machine.ok(&["run", "hello"]).await;
        tenant.kill(pid).await;
        assert!(tenant.wait_exit(pid).await.is_ok(), "it went on as if nothing had happened");
    });
}

/// Bug: a test or a benchmark that was killed left its kernel running for good.
#[test]
fn a_kernel_that_ends_with_its_input_ends_when_who_started_it_has_gone() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/kept", "kept").await.unwrap();
        let pid = tenant.start("actor start wait-kill").await;
        machine.let_go();
        eventually("all its processes end", async || machine.processes().is_empty().then_some(())).await;
        assert!(machine.log_tail().contains("the standard input was closed"), "{}", machine.log_tail());
        machine.boot_again().await;
        let tenant = machine.realm("a").await;
        assert_eq!(tenant.sigma.get_file("/kept").await.unwrap(), "kept");
        let status = tenant.wait_exit(pid).await;
        assert!(!status.is_ok(), "{status}");
        // What is no pipe tells nothing of its end.
        machine.ok(&["down"]).await;
        let refused = within("sigma up", machine.sigma(&["up", "--ends-with-input"]).output()).await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("the standard input is no pipe"), "{said}");
        machine.boot_again().await;
    });
}

/// Bug: the kernel held whatever the shell that started it had open, as a lock, or the pipe of a script that then never ended.
#[test]
fn a_kernel_holds_nothing_of_who_started_it() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        let held = machine.state().join("held");
        let up = machine.sigma(&["up"]);
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-c", "exec 9>\"$0\" && exec \"$@\""])
            .arg(&held)
            .arg(up.as_std().get_program())
            .arg("up");
        let done = within("sigma up", shell.env("SIGMA_STATE", machine.state()).status()).await;
        assert!(done.unwrap().success());
        machine.ok(&["run", "hello"]).await;
        assert_eq!(host::holders(&held), [0; 0], "{:?}", machine.processes());
    });
}

#[test]
fn without_a_kernel_each_command_says_how_to_start_one() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        let state = machine.state().display().to_string();
        let commands: [&[&str]; 10] = [
            &["down"],
            &["status"],
            &["ps"],
            &["ls"],
            &["run", "hello"],
            &["cat", "/x"],
            &["rm", "/x"],
            &["realm", "ls"],
            &["realm", "create", "a"],
            &["bench", "start"],
        ];
        for command in commands {
            machine.fails(command, 3, &["no kernel runs", &state, "up"]).await;
        }
        machine.boot_again().await;
    });
}

#[test]
fn a_killed_kernel_takes_its_processes_along_and_boots_again_on_the_same_state() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let first = tenant.start("actor start forever").await;
        let proc = host::find(machine.sigmad().await, "actor start forever").expect("its process");
        let before = machine.processes();
        assert!(before.len() >= 3, "sigmad, named and a jail hold the lock");
        machine.kill_9_sigmad().await;
        eventually("all its processes end", async || {
            let gone = machine.processes().is_empty() && !host::is_alive(proc);
            gone.then_some(())
        })
        .await;
        machine.boot_again().await;

        let status = machine.status().await;
        assert_eq!(status["boot"], 2);
        assert_eq!(status["realms"][0]["name"], "a", "a realm outlives the kernel");
        let tenant = machine.realm("a").await;
        let second = tenant.start("actor start wait-kill").await;
        assert!(second.epoch > first.epoch, "{second} after {first}: pids never repeat");
        tenant.kill(second).await;
        tenant.wait_exit(second).await;
    });
}

#[test]
fn kernel_processes_that_die_are_restarted_and_the_realm_works_again() {
    story(async |machine| {
        machine.realm("default").await;
        // Proxies are started at first use.
        for mount in ["/s3/~local", "/db", "/mongo"] {
            machine.ok(&["ls", mount]).await;
        }
        let put = machine.cli_with(&["put", "-", "/ux/~local/note"], b"kept").await;
        assert_eq!(put.code, 0, "{}", put.stderr);
        for name in ["named", "jail", "ux", "s3", "db", "mongo"] {
            let died = machine.kill_9(name).await;
            eventually(&format!("{name} is restarted"), async || {
                let sigmad = machine.sigmad().await;
                let again = host::children(sigmad).into_iter().find(|pid| host::name(*pid) == name);
                again.filter(|pid| *pid != died)
            })
            .await;
            // Commands that come in the meantime wait for it.
            machine.ok(&["run", "hello"]).await;
            assert_eq!(machine.ok(&["cat", "/ux/~local/note"]).await, "kept");
        }
    });
}

#[test]
fn a_jail_that_dies_takes_its_procs_along_and_says_so() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.start("actor start forever").await;
        let process = host::find(machine.sigmad().await, "actor start forever").expect("its process");
        machine.kill_9("jail").await;
        let status = tenant.wait_exit(pid).await;
        assert!(status.to_string().contains("jail"), "{status}");
        eventually("its process ends", async || (!host::is_alive(process)).then_some(())).await;
        assert!(tenant.run("actor start").await.is_ok());
    });
}

/// Bug: a jail that was stopped kept its procs for ever: none of their ends was told, and none could be killed.
#[test]
fn a_jail_that_hangs_is_killed_and_made_again() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.start("actor start forever").await;
        let sigmad = machine.sigmad().await;
        let process = host::find(sigmad, "actor start forever").expect("its process");
        let outer = host::children(sigmad).into_iter().filter(|child| host::name(*child) == "jail");
        let first: Vec<_> = outer.flat_map(host::children).collect();
        assert_eq!(first.len(), 1, "pid 1 of the jail");
        host::stop(first[0]);
        let status = tenant.wait_exit(pid).await.to_string();
        assert!(status.contains("jail ended: it hangs: it has not answered for 10s"), "{status}");
        eventually("its process ends", async || (!host::is_alive(process)).then_some(())).await;
        assert!(tenant.run("actor start").await.is_ok());
    });
}

#[test]
fn realms_come_and_go() {
    story(async |machine| {
        machine.ok(&["realm", "create", "acme"]).await;
        machine.fails(&["realm", "create", "acme"], 1, &["acme", "exists"]).await;
        assert!(machine.ok(&["realm", "ls"]).await.contains("acme"));
        for reserved in ["root", "kernel", "sigma"] {
            machine.fails(&["realm", "create", reserved], 1, &[reserved, "reserved"]).await;
        }
        for wrong in ["", "Acme", "1st", "../etc", "a b", &"x".repeat(33)] {
            machine.fails(&["realm", "create", wrong], 1, &["not a realm name", "1 to 32"]).await;
        }
        machine.fails(&["--realm", "other", "run", "hello"], 4, &["other", "sigma realm create other"]).await;

        let tenant = machine.realm("acme").await;
        let pid = tenant.start("actor start forever").await;
        let process = host::find(machine.sigmad().await, "actor start forever").expect("its process");
        machine.ok(&["realm", "rm", "acme"]).await;
        eventually("its procs end", async || (!host::is_alive(process)).then_some(())).await;
        machine.fails(&["realm", "rm", "acme"], 4, &["acme"]).await;
        assert!(!machine.ok(&["realm", "ls"]).await.contains("acme"));

        // A realm of the same name is another realm.
        let tenant = machine.realm("acme").await;
        assert!(tenant.sigma.info(pid).await.is_err(), "it knows nothing of procs of the one before");
        assert!(tenant.run("actor start").await.is_ok());
    });
}

#[test]
fn procs_are_listed_with_what_they_are() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let running = tenant.start("actor start wait-kill").await;
        let ended = tenant.spawn("actor start ok:done").await;
        tenant.wait_exit(ended).await;
        let listed = machine.ok(&["ps"]).await;
        assert!(listed.contains(&running.to_string()) && !listed.contains(&ended.to_string()), "{listed}");
        let all = machine.ok(&["ps", "--all"]).await;
        assert!(all.contains(&ended.to_string()) && all.contains("done"), "{all}");
        let rows: serde_json::Value = serde_json::from_str(&machine.ok(&["ps", "--json"]).await).unwrap();
        assert_eq!(rows[0]["pid"].as_str().map(str::parse::<Pid>), Some(Ok(running)));
        let json = machine.cli(&["--json", "realm", "rm", "nobody"]).await;
        let error: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((json.code, &error["error"]["code"]), (4, &"NotFound".into()));
        within("its end", tenant.sigma.kill(running)).await.unwrap();
    });
}
