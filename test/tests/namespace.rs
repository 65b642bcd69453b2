//! Procs of a realm find each other by path, and talk directly; other realms see nothing of it.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::echo::{EchoClient, Text};
use sigma_test::{Tenant, eventually, host, story, within};
use sigmaos::{Code, Pid};

async fn serve(tenant: &Tenant, path: &str) -> (Pid, EchoClient) {
    let pid = tenant.start(&format!("echo serve {path}")).await;
    let echo = within("the device", tenant.sigma.client(&format!("{path}/rpc"))).await.unwrap();
    (pid, echo)
}

fn text(text: &str) -> Text {
    Text { text: text.into() }
}

/// A mount that was renamed, or made by way of a link, once led to nobody: its server knew it by another path.
#[test]
fn a_mount_is_reached_wherever_it_is() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let sigma = &tenant.sigma;
        sigma.create_dir_all("/sn/deep").await.unwrap();
        sigma.symlink("/sn/deep", "/link").await.unwrap();
        let (server, _) = serve(&tenant, "/link/echo").await;
        // Each of these is a client that has no connection yet.
        let ask = async |path: &str| {
            let echo: EchoClient =
                within("the device", machine.client("a").client(&format!("{path}/rpc"))).await?;
            within("an answer", echo.say(text("hello"))).await
        };
        assert_eq!(ask("/sn/deep/echo").await.unwrap(), text("hello"));
        sigma.rename("/sn/deep/echo", "/elsewhere").await.unwrap();
        assert_eq!(ask("/elsewhere").await.unwrap(), text("hello"));
        // Another one at the old path is another one.
        let (second, _) = serve(&tenant, "/link/echo").await;
        assert_ne!(server, second);
        tenant.kill(second).await;
        tenant.wait_exit(second).await;
        assert_eq!(ask("/elsewhere").await.unwrap(), text("hello"));
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
        assert!(ask("/elsewhere").await.is_err(), "nobody is there");
    });
}

#[test]
fn two_procs_call_each_other_by_path() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/sn").await.unwrap();
        let server = tenant.start("echo serve /sn/echo").await;
        let caller = tenant.spawn("echo call /sn/echo hello").await;
        assert!(tenant.wait_exit(caller).await.is_ok(), "{}", tenant.stderr(caller).await);
        assert_eq!(tenant.stdout(caller).await, "hello\n");
        // The server knows who calls, because the kernel says so.
        let caller = tenant.spawn_lc(100, "echo who /sn/echo").await;
        tenant.wait_exit(caller).await;
        assert_eq!(tenant.stdout(caller).await, format!("a owner {caller} LC\n"));
        let caller = tenant.spawn("echo who /sn/echo").await;
        tenant.wait_exit(caller).await;
        assert_eq!(tenant.stdout(caller).await, format!("a owner {caller} BE\n"));
        assert_eq!(machine.ok(&["--realm", "a", "ls", "/sn/echo"]).await.matches("rpc").count(), 3);
        tenant.kill(server).await;
        assert!(tenant.wait_exit(server).await.is_ok());
    });
}

/// Between a server's end and that of its mount, its path once led to the root, and to entries of other names.
#[test]
fn a_path_whose_server_has_just_died_leads_nowhere_else() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        for _ in 0..30 {
            let server = tenant.start("echo serve /echo").await;
            host::kill(host::find(machine.sigmad().await, "echo serve /echo").expect("its process"));
            eventually("the mount is gone", async || {
                // Where there is no server left, there is only the realm's own /bin.
                let error = tenant.sigma.stat("/echo/bin").await.expect_err("/echo/bin is nowhere");
                (error.code == Code::NotFound && tenant.sigma.stat("/echo").await.is_err()).then_some(())
            })
            .await;
            tenant.wait_exit(server).await;
            eventually("the name is free", async || {
                let names = tenant.sigma.read_dir("/").await.unwrap();
                names.iter().all(|entry| entry.name != "echo").then_some(())
            })
            .await;
        }
    });
}

#[test]
fn a_mount_goes_with_its_server_and_is_not_taken_by_another() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, _) = serve(&tenant, "/echo").await;
        let second = tenant.spawn("echo serve /echo").await;
        let status = tenant.wait_exit(second).await.to_string();
        assert!(status.contains("/echo") && status.contains(&server.to_string()), "{status}");
        let nowhere = tenant.run("echo serve /nowhere/echo").await.to_string();
        assert!(nowhere.starts_with("Err: mount /nowhere/echo: "), "{nowhere}");
        tenant.kill(server).await;
        assert!(tenant.wait_exit(server).await.is_ok());
        eventually("the mount is gone", async || {
            let names = tenant.sigma.read_dir("/").await.unwrap();
            names.iter().all(|entry| entry.name != "echo").then_some(())
        })
        .await;
        let missing = tenant.run("echo call /echo hello").await.to_string();
        assert!(missing.contains("/echo"), "{missing}");
    });
}

#[test]
fn realms_do_not_see_each_other() {
    story(async |machine| {
        let (one, other) = (machine.realm("one").await, machine.realm("other").await);
        let (server, _) = serve(&one, "/echo").await;
        one.sigma.put_file("/secret", "of one").await.unwrap();
        let names: Vec<_> =
            other.sigma.read_dir("/").await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["bin", "db", "machine", "mongo", "proc", "s3", "ux"]);
        let status = other.run("echo call /echo hello").await.to_string();
        assert!(status.starts_with("Err: open /echo/rpc: "), "{status}");
        let status = other.run("actor start get:/secret").await.to_string();
        assert!(status.starts_with("Err: get /secret: "), "{status}");
        // The same names are other entries there.
        other.sigma.put_file("/secret", "of other").await.unwrap();
        assert_eq!(one.sigma.get_file("/secret").await.unwrap(), "of one");
        let (other_server, echo) = serve(&other, "/echo").await;
        assert!(echo.who(text("")).await.unwrap().text.starts_with("other "));
        assert!(one.sigma.get_file("/bin/actor").await.is_err(), "a program of another realm");
        for (tenant, pid) in [(one, server), (other, other_server)] {
            tenant.kill(pid).await;
            tenant.wait_exit(pid).await;
        }
    });
}

#[test]
fn files_of_the_namespace_are_shared_within_a_realm() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        tenant.sigma.create_dir_all("/a/b").await.unwrap();
        assert!(tenant.run("actor put:/a/b/note=written").await.is_ok());
        assert_eq!(machine.ok(&["cat", "/a/b/note"]).await, "written");
        let read = tenant.spawn("actor get:/a/b/note").await;
        tenant.wait_exit(read).await;
        assert_eq!(tenant.stdout(read).await, "written\n");
        tenant.sigma.symlink("/a/b", "/link").await.unwrap();
        tenant.sigma.rename("/link/note", "/a/moved").await.unwrap();
        assert_eq!(machine.ok(&["cat", "/a/moved"]).await, "written");
        machine.fails(&["cat", "/a/b/note"], 4, &["/a/b/note"]).await;
        machine.fails(&["rm", "/a"], 1, &["/a"]).await;
        for path in ["/a/moved", "/a/b", "/a", "/link"] {
            machine.ok(&["rm", path]).await;
        }
    });
}

/// What acts on an entry itself once went to the server behind it, when that had been talked to before.
#[test]
fn a_mount_is_an_entry_for_those_who_mean_the_entry() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        assert_eq!(echo.say(text("connected")).await.unwrap().text, "connected");
        let sigma = &tenant.sigma;
        let before = sigma.stat("/").await.unwrap().size;
        assert_eq!(sigma.create_dir("/echo").await.unwrap_err().code, Code::Exists);
        assert_eq!(sigma.read_link("/echo").await.unwrap_err().code, Code::Invalid);
        sigma.rename("/echo", "/voice").await.unwrap();
        let kinds: Vec<_> =
            sigma.read_dir("/").await.unwrap().into_iter().map(|entry| entry.kind()).collect();
        assert_eq!(kinds.last(), Some(&sigmaos::proto::Kind::Mount));
        // Its end is seen by whoever waits for it.
        let (gone, ()) = tokio::join!(within("its end", sigma.watch_remove("/voice")), async {
            host::kill(host::find(machine.sigmad().await, "echo serve /echo").expect("its process"));
        });
        gone.unwrap();
        tenant.wait_exit(server).await;
        let (server, _) = serve(&tenant, "/echo").await;
        sigma.remove("/echo").await.unwrap();
        assert_eq!(sigma.stat("/").await.unwrap().size, before - 1);
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}

/// To wait for the end of a link once ended at once, since what was looked at was where it leads.
#[test]
fn a_link_is_waited_for_itself() {
    story(async |machine| {
        let sigma = machine.realm("a").await.sigma;
        sigma.put_file("/file", "x").await.unwrap();
        sigma.symlink("/file", "/link").await.unwrap();
        let writer = machine.client("a");
        let mut waiting = Box::pin(within("its end", sigma.watch_remove("/link")));
        let others = async {
            writer.put_file("/file", "y").await?;
            writer.rename("/file", "/file-2").await?;
            writer.put_file("/beside", "").await
        };
        tokio::select! {
            biased;
            early = &mut waiting => panic!("the link is there: {early:?}"),
            done = others => drop(done.unwrap()),
        }
        writer.remove("/link").await.unwrap();
        waiting.await.unwrap();
        assert_eq!(sigma.watch_remove("/link").await.unwrap_err().code, Code::NotFound);
    });
}

/// Each opened device once stayed open at its server until the connection ended, and the 1,025th was refused.
#[test]
fn what_is_dropped_is_closed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        tenant.sigma.put_file("/file", "x").await.unwrap();
        tenant.sigma.create("/pipe", sigmaos::Create::pipe()).await.unwrap();
        for number in 0..sigmaos::limits::MAX_HANDLES + 100 {
            let again: EchoClient = tenant.sigma.client("/echo/rpc").await.unwrap();
            drop(again);
            let file = tenant.sigma.open("/file").await.unwrap();
            drop(file);
            drop(tenant.sigma.watch_dir("/").await.unwrap());
            tenant.sigma.create("/file", sigmaos::Create::file().or_existing()).await.unwrap();
            // In the middle, at any moment: before it is sent, on its way, and answered.
            let mut opening = Box::pin(tenant.sigma.open("/file"));
            for _ in 0..number % 4 {
                tokio::select! {
                    biased;
                    done = &mut opening => { done.unwrap(); break }
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        assert_eq!(echo.say(text("still open")).await.unwrap().text, "still open");
        tenant.sigma.open("/file").await.unwrap();
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}
