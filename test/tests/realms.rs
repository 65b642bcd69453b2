//! Realms: what the operator sets for them, and that they go, whatever happens meanwhile.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::geteuid;
use sigma_test::{Machine, Tenant, eventually, host, story, within};
use sigmaos::{Code, proto};
use std::ffi::CString;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The directories of realms on the disk of a machine.
fn on_disk(machine: &Machine) -> Vec<String> {
    let realms = fs::read_dir(machine.state().join("realm")).unwrap();
    let mut names: Vec<_> = realms.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn setting(machine: &Machine, realm: &str, key: &str) -> serde_json::Value {
    let shown = machine.ok(&["--json", "realm", "show", realm]).await;
    serde_json::from_str::<serde_json::Value>(&shown).unwrap()["settings"][key].clone()
}

#[test]
fn what_the_operator_sets_is_kept_and_shown() {
    story(async |machine| {
        machine.ok(&["realm", "create", "a"]).await;
        let said = machine.ok(&["realm", "set", "a", "limit.disk=1G", "publish.ports=8080,9000-9010"]).await;
        assert!(
            said.contains("limit.disk") && said.contains("1G") && said.contains("8080,9000-9010"),
            "{said}"
        );
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let disk = setting(machine, "a", "limit.disk").await;
        assert_eq!((disk["value"].as_str(), disk["limit"].as_u64()), (Some("1G"), Some(1 << 30)));
        machine.ok(&["realm", "set", "a", "limit.disk="]).await;
        assert!(setting(machine, "a", "limit.disk").await["value"].is_null(), "the default again");
    });
}

#[test]
fn a_secret_is_read_from_a_file_and_shown_to_nobody_again() {
    story(async |machine| {
        machine.ok(&["realm", "create", "a"]).await;
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("secret");
        fs::write(&file, "hush-hush\n").unwrap();
        let set = format!("s3.secret-key=@{}", file.display());
        let said = machine.ok(&["realm", "set", "a", "s3.endpoint=http://127.0.0.1:1", &set]).await;
        assert!(said.contains("http://127.0.0.1:1") && said.contains("set, and not shown"), "{said}");
        let secret = setting(machine, "a", "s3.secret-key").await;
        assert_eq!((secret["value"].as_str(), secret["hidden"].as_bool()), (None, Some(true)), "{secret}");
        let shown = machine.ok(&["--json", "realm", "show", "a"]).await;
        assert!(!said.contains("hush-hush") && !shown.contains("hush-hush"));
        let kept = machine.state().join("realm/a/realm.toml");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&kept).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "the owner alone reads it");
        assert!(fs::read_to_string(kept).unwrap().contains("hush-hush\""), "without the end of the line");
        machine
            .fails(
                &["realm", "set", "a", "s3.secret-key=@/no/such/file"],
                1,
                &["@/no/such/file", "cannot read"],
            )
            .await;
        machine
            .fails(&["realm", "set", "a", "mongo.url=mongodb://me:hush@host"], 1, &["mongo.url", "password"])
            .await;
    });
}

#[test]
fn a_wrong_setting_is_named_and_nothing_is_changed() {
    story(async |machine| {
        machine.ok(&["realm", "create", "a"]).await;
        let set = ["realm", "set", "a"];
        machine
            .fails(
                &[&set[..], &["limit.procs=5", "limit.proc=5"]].concat(),
                1,
                &["limit.proc", "did you mean \"limit.procs\""],
            )
            .await;
        machine.fails(&[&set[..], &["limit.memory=much"]].concat(), 1, &["limit.memory=much", "512M"]).await;
        machine.fails(&[&set[..], &["publish.ports=0"]].concat(), 1, &["publish.ports=0", "no port"]).await;
        assert_eq!(machine.cli(&[&set[..], &["limit.procs"]].concat()).await.code, 2);
        machine.fails(&["realm", "set", "nobody", "limit.procs=5"], 4, &["nobody"]).await;
        machine.fails(&["realm", "show", "nobody"], 4, &["nobody"]).await;
        assert!(setting(machine, "a", "limit.procs").await["value"].is_null());
        for name in ["kernel", "../a", "/a", ".removing-a", "A"] {
            machine.fails(&["realm", "create", name], 1, &[name]).await;
        }
        machine.fails(&["realm", "create", "a"], 1, &["a exists"]).await;
    });
}

#[test]
fn a_limit_of_procs_below_what_runs_kills_none_and_lets_none_start() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pids = [tenant.start("actor start wait-kill").await, tenant.start("actor start wait-kill").await];
        let said = machine.cli(&["realm", "set", "a", "limit.procs=1"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stderr.contains("limit.procs is 1, and 2 are in use"), "{}", said.stderr);
        let refused = tenant.try_spawn(tenant.spec("actor").await).await.unwrap_err();
        assert_eq!(refused.code, Code::Quota, "{refused}");
        for pid in pids {
            tenant.kill(pid).await;
            assert!(tenant.wait_exit(pid).await.is_ok(), "it was not killed by the limit");
        }
        let pid = eventually("room for one", async || {
            tenant.try_spawn(tenant.spec("actor start").await).await.ok()
        });
        tenant.wait_exit(pid.await).await;
    });
}

#[test]
fn entries_of_a_namespace_are_limited_at_once_and_after_a_restart_of_named() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let used = setting(machine, "a", "limit.entries").await["used"].as_u64().unwrap();
        machine.ok(&["realm", "set", "a", &format!("limit.entries={}", used + 1)]).await;
        tenant.sigma.put_file("/one", "x").await.unwrap();
        let full = async || within("an answer", tenant.sigma.put_file("/two", "x")).await.unwrap_err().code;
        assert_eq!(full().await, Code::Quota);
        machine.kill_9("named").await;
        assert_eq!(full().await, Code::Quota);
        machine.ok(&["realm", "set", "a", "limit.entries="]).await;
        tenant.sigma.put_file("/two", "x").await.unwrap();
    });
}

async fn put(tenant: &Tenant, path: &str, bytes: usize) -> sigmaos::Result<()> {
    within("a put", tenant.sigma.put_file(path, vec![1; bytes])).await.map(drop)
}

#[test]
fn files_and_programs_share_a_limit_of_disk() {
    const MIB: usize = 1 << 20;
    // The namespace's file counts, and its length changes by itself: the sizes leave it some room.
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.upload("plain").await;
        let used = setting(machine, "a", "limit.disk").await["used"].as_u64().unwrap() as usize;
        machine.ok(&["realm", "set", "a", &format!("limit.disk={}", used + 10 * MIB)]).await;
        put(&tenant, "/ux/~local/one", 4 * MIB).await.unwrap();
        put(&tenant, "/ux/~local/two", 4 * MIB).await.unwrap();
        let full = put(&tenant, "/ux/~local/three", 4 * MIB).await.unwrap_err();
        assert_eq!((full.code, full.message.contains("three")), (Code::Quota, true), "{full}");
        // A program is refused for what files hold, as they are for what programs hold.
        let full = put(&tenant, "/bin/large", 4 * MIB).await.unwrap_err();
        assert_eq!((full.code, full.message.contains("limit.disk")), (Code::Quota, true), "{full}");
        assert!(
            setting(machine, "a", "limit.disk").await["used"].as_u64().unwrap() as usize <= used + 10 * MIB
        );
        tenant.sigma.get_file("/ux/~local/one").await.unwrap();
        // After a restart of everything what is there counts as before.
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let tenant = machine.realm("a").await;
        assert_eq!(put(&tenant, "/ux/~local/three", 4 * MIB).await.unwrap_err().code, Code::Quota);
        tenant.sigma.remove("/ux/~local/one").await.unwrap();
        put(&tenant, "/ux/~local/three", 4 * MIB).await.unwrap();
    });
}

#[test]
fn output_counts_for_the_limit_of_disk_and_that_of_ended_procs_makes_room() {
    const MIB: usize = 1 << 20;
    // Of so much a little more than 384 KiB is kept.
    let line = format!("actor start stdout:{}", MIB / 2);
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let used = async || setting(machine, "a", "limit.disk").await["used"].as_u64().unwrap() as usize;
        tenant.upload("actor").await;
        let before = used().await;
        let limit = before + 8 * MIB;
        machine.ok(&["realm", "set", "a", &format!("limit.disk={limit}")]).await;
        let mut ended = Vec::new();
        for _ in 0..8 {
            let pid = tenant.spawn(&line).await;
            assert!(tenant.wait_exit(pid).await.is_ok());
            ended.push(pid);
        }
        let lives = tenant.start(&format!("{line} wait-kill")).await;
        tenant.said(lives, "0065535").await;
        let kept = used().await - before;
        assert!((3 * MIB..5 * MIB).contains(&kept), "{kept} bytes are counted for nine outputs");
        // The namespace's file counts, and its length changes by itself: the sizes leave it some room.
        put(&tenant, "/ux/~local/file", 6 * MIB + MIB / 2).await.unwrap();
        assert!(used().await <= limit);
        assert_eq!(tenant.stdout(ended[0]).await, "", "of those that ended the first makes room");
        for pid in [ended[7], lives] {
            assert!(tenant.sigma.get_file(&format!("/proc/{pid}/stdout")).await.unwrap().len() > MIB / 4);
        }
        // What lives makes no room, and is told so as for files and programs.
        let full = put(&tenant, "/ux/~local/more", 2 * MIB).await.unwrap_err();
        assert_eq!(full.code, Code::Quota, "{full}");
        tenant.kill(lives).await;
        assert!(tenant.wait_exit(lives).await.is_ok());
    });
}

#[test]
fn programs_that_nobody_names_are_deleted() {
    story(async |machine| {
        let dir = machine.state().join("blob");
        let blobs = || fs::read_dir(&dir).unwrap().count();
        let (one, two) = (machine.realm("a").await, machine.realm("b").await);
        for tenant in [&one, &two] {
            tenant.upload("actor").await;
        }
        assert_eq!(blobs(), 1, "the same program is there once");
        let pid = one.start("actor start wait-kill").await;
        one.sigma.remove("/bin/actor").await.unwrap();
        assert_eq!(blobs(), 1);
        machine.ok(&["realm", "rm", "b"]).await;
        assert_eq!(blobs(), 0);
        one.kill(pid).await;
        assert!(one.wait_exit(pid).await.is_ok(), "what runs goes on without it");
        // What an upload left that was cut off goes at the next boot.
        fs::write(machine.state().join("blob/draft-9"), "half").unwrap();
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        assert_eq!(blobs(), 0);
    });
}

#[test]
fn a_realm_goes_with_procs_that_do_not_want_to() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("actor start forever").await.grace(Duration::from_secs(600));
        let pid = tenant.spawn_spec(spec).await;
        tenant.wait_start(pid).await.unwrap();
        tenant.start("plain ignore-term wait").await;
        let process = host::find(machine.sigmad().await, "actor start forever").unwrap();
        put(&tenant, "/ux/~local/file", 10).await.unwrap();
        // Two at once: the second waits for the same removal.
        let (first, second) = tokio::join!(machine.cli(&["realm", "rm", "a"]), async {
            let operator = machine.operator();
            within("a removal", operator.realm_remove(proto::RealmRequest { name: "a".into() })).await
        });
        assert_eq!(first.code, 0, "{}", first.stderr);
        assert!(
            second.is_ok() || second.as_ref().is_err_and(|error| error.code == Code::NotFound),
            "{second:?}"
        );
        assert!(!host::is_alive(process));
        assert_eq!(on_disk(machine), [""; 0]);
        let again = machine.realm("a").await;
        assert_eq!(again.sigma.procs(true).await.unwrap(), []);
        assert_eq!(again.sigma.get_file("/ux/~local/file").await.unwrap_err().code, Code::NotFound);
    });
}

#[test]
fn while_a_realm_is_being_removed_its_name_is_taken_and_it_says_so() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        // It ends when its grace period is over, which is longer than the removal waits: there is time to look.
        let spec = tenant.spec("actor start forever").await.grace(Duration::from_secs(600));
        let pid = tenant.spawn_spec(spec).await;
        tenant.wait_start(pid).await.unwrap();
        let mut removal = machine.sigma(&["realm", "rm", "a"]).spawn().unwrap();
        let state = eventually("the removal has begun", async || {
            let realms = machine.operator().realm_list(proto::Empty {}).await.unwrap().realms;
            realms.into_iter().find(|realm| !realm.removing.is_empty()).map(|realm| realm.removing)
        });
        let state = state.await;
        assert!(state.contains("being removed: "), "{state}");
        let create =
            machine.operator().realm_create(proto::RealmRequest { name: "a".into() }).await.unwrap_err();
        assert_eq!(
            (create.code, create.message.contains("is being removed")),
            (Code::Busy, true),
            "{create}"
        );
        let spawn = tenant.try_spawn(sigmaos::ProcSpec::new("/bin/actor").unwrap()).await.unwrap_err();
        assert!(spawn.message.contains("is being removed"), "{spawn}");
        assert!(within("the removal", removal.wait()).await.unwrap().success());
    });
}

/// Numbers that look random and come again with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn a_kernel_that_is_killed_while_realms_come_and_go_leaves_each_whole_or_gone() {
    story(async |machine| {
        let seed: u64 = std::env::var("SIGMA_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
        println!("SIGMA_SEED={seed}");
        let mut dice = Dice(seed | 1);
        for _ in 0..6 {
            machine.ok(&["realm", "create", "old"]).await;
            let tenant = machine.realm("old").await;
            put(&tenant, "/ux/~local/file", 10).await.unwrap();
            tenant.start("actor start wait-kill").await;
            let sigmad = machine.sigmad().await;
            // Both are cut off somewhere; what each says no longer matters.
            let mut commands = ["rm old", "create new"].map(|command| {
                let (verb, name) = command.split_once(' ').unwrap();
                machine.sigma(&["realm", verb, name]).spawn().unwrap()
            });
            // The moment is what is random here: while they run, or just after.
            let moment = Duration::from_micros(dice.throw() % 150_000);
            let _ = tokio::time::timeout(moment, commands[1].wait()).await;
            host::kill(sigmad);
            for command in &mut commands {
                within("the end of a command", command.wait()).await.unwrap();
            }
            machine.boot_again().await;
            eventually("no removal is under way", async || {
                let realms = machine.operator().realm_list(proto::Empty {}).await.unwrap().realms;
                realms.iter().all(|realm| realm.removing.is_empty()).then_some(())
            })
            .await;
            let listed = machine.operator().realm_list(proto::Empty {}).await.unwrap().realms;
            let listed: Vec<_> = listed.into_iter().map(|realm| realm.name).collect();
            assert_eq!(on_disk(machine), listed, "nothing but the realms that there are");
            for name in &listed {
                let tenant = machine.realm(name).await;
                assert!(tenant.run("actor start").await.is_ok(), "{name} works");
                if name == "old" {
                    tenant.sigma.get_file("/ux/~local/file").await.expect("a realm that is there is whole");
                }
                machine.ok(&["realm", "rm", name]).await;
            }
            assert_eq!(on_disk(machine), [""; 0]);
        }
    });
}

#[test]
fn a_proc_spawns_as_itself_and_as_those_that_the_operator_allows() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let path = tenant.upload("plain").await;
        let line = format!("actor spawn-as:{path},web");
        let refused = tenant.run(&line).await.to_string();
        assert!(refused.contains("principal web") && refused.contains("spawn.principals=web"), "{refused}");
        assert!(tenant.run(&format!("actor spawn-as:{path},owner")).await.is_ok(), "its own");
        machine.ok(&["realm", "set", "a", "spawn.principals=db,web"]).await;
        assert!(tenant.run(&line).await.is_ok());
    });
}

/// A file system of its own for a state directory. Dropping it takes it away again.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: &std::path::Path, options: &str) -> Self {
        let flags = MountFlags::empty();
        mount("tmpfs", at, "tmpfs", flags, CString::new(options).unwrap().as_c_str()).unwrap();
        Self(at.to_owned())
    }

    async fn read_only(&self, read_only: bool) {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        // A kernel that has ended may have files open for a moment longer.
        eventually("the disk can be changed", async || mount_remount(&self.0, flags, c"").ok()).await;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it goes on without its name.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn on_a_full_disk_what_grows_is_refused_and_on_a_read_only_one_a_kernel_says_why_it_does_not_boot() {
    if !geteuid().is_root() {
        println!("an ordinary user cannot mount a disk: nothing is told");
        return;
    }
    story(async |machine| {
        machine.ok(&["down"]).await;
        let disk = Disk::mount(machine.state(), "size=96m");
        machine.boot_again().await;
        let tenant = machine.realm("a").await;
        tenant.upload("actor").await;
        let mut number = 0;
        let full = loop {
            match put(&tenant, &format!("/ux/~local/{number}"), 4 << 20).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((full.code, full.message.contains("reserve")), (Code::Quota, true), "{full}");
        assert!((1..8).contains(&number), "{number} files of 4 MiB beside a reserve of 64");
        let upload = put(&tenant, "/bin/large", 4 << 20).await.unwrap_err();
        assert_eq!((upload.code, upload.message.contains("reserve")), (Code::Quota, true), "{upload}");
        tenant.sigma.get_file("/ux/~local/0").await.unwrap();
        assert!(tenant.run("actor start").await.is_ok(), "procs run");
        tenant.sigma.remove("/ux/~local/0").await.unwrap();
        put(&tenant, "/ux/~local/0", 1 << 20).await.unwrap();

        machine.ok(&["realm", "rm", "a"]).await;
        machine.ok(&["down"]).await;
        disk.read_only(true).await;
        machine.fails(&["up"], 1, &["Read-only"]).await;
        disk.read_only(false).await;
        machine.boot_again().await;
        machine.ok(&["down"]).await;
        drop(disk);
        machine.boot_again().await;
    });
}
