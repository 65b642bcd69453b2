//! What ends with its proc, and who leads.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Tenant, eventually, host, story, within};
use sigmaos::db::{Db, values};
use sigmaos::{Code, Create, Leader, proto};

async fn gone(tenant: &Tenant, path: &str) {
    match within("the end of an entry", tenant.sigma.watch_remove(path)).await {
        Err(error) if error.code == Code::NotFound => {}
        done => done.unwrap(),
    }
}

#[test]
fn an_ephemeral_entry_ends_with_its_proc() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let ends = tenant.start("actor hold:/ends start wait-kill").await;
        let dies = tenant.start("actor hold:/dies start forever").await;
        assert_eq!(tenant.sigma.stat("/ends").await.unwrap().lease, ends.to_string());
        tenant.kill(ends).await;
        gone(&tenant, "/ends").await;
        host::kill(host::find(machine.sigmad().await, "actor hold:/dies start forever").unwrap());
        gone(&tenant, "/dies").await;
        tenant.wait_exit(dies).await;
    });
}

#[test]
fn a_lease_moves_with_a_rename_and_ends_with_a_remove() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/dir").await.unwrap();
        let holder = tenant.start("actor hold:/a hold:/b start wait-kill").await;
        tenant.sigma.rename("/a", "/dir/moved").await.unwrap();
        tenant.sigma.remove("/b").await.unwrap();
        tenant.sigma.put_file("/b", "somebody else's").await.unwrap();
        assert_eq!(tenant.sigma.stat("/dir/moved").await.unwrap().lease, holder.to_string());
        tenant.kill(holder).await;
        gone(&tenant, "/dir/moved").await;
        assert_eq!(tenant.sigma.get_file("/b").await.unwrap(), "somebody else's");
    });
}

#[test]
fn leases_are_kept_while_named_starts_again_and_end_if_their_procs_did() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.start("actor hold:/kept start forever").await;
        tenant.start("actor hold:/lost start forever").await;
        let lost = host::find(machine.sigmad().await, "actor hold:/lost start forever").unwrap();
        let named = machine.kill_9("named").await;
        // Named may be dead or alive again when it ends: it is told in any case.
        host::kill(lost);
        gone(&tenant, "/lost").await;
        assert!(tenant.sigma.stat("/kept").await.is_ok());
        assert_ne!(Some(named), host::children(machine.sigmad().await).into_iter().find(|pid| *pid == named));
    });
}

#[test]
fn a_tools_entries_end_with_it() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let tool = machine.client("a");
        tool.create("/tool", Create::file().ephemeral()).await.unwrap();
        assert!(tenant.sigma.stat("/tool").await.is_ok());
        drop(tool);
        gone(&tenant, "/tool").await;
    });
}

#[test]
fn leaders_follow_each_other_and_old_ones_are_shut_out() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir_all("/a/b").await.unwrap();
        tenant.sigma.create_dir("/ab").await.unwrap();
        let tool = machine.client("a");
        let old = within("an election", tool.elect("/leader", "/a", "first")).await.unwrap();
        old.sigma().put_file("/a/x", "first").await.unwrap();
        let error = tenant.sigma.try_elect("/leader", "/a", "x").await.unwrap_err();
        assert_eq!(error.code, Code::Exists, "{error}");
        // The next one waits for its turn; it is removed as a leader that nobody hears of would be.
        let next = tenant.spawn("actor start lead:/leader,/a wait-kill").await;
        tenant.wait_start(next).await.unwrap();
        tenant.sigma.remove("/leader").await.unwrap();
        tenant.said(next, "epoch").await;
        for path in ["/a/x", "/a/b/y", "/a/new"] {
            let error = old.sigma().put_file(path, "late").await.unwrap_err();
            assert_eq!(error.code, Code::Stale, "{path}: {error}");
        }
        assert_eq!(old.sigma().rename("/a/x", "/ab/x").await.unwrap_err().code, Code::Stale);
        assert_eq!(old.sigma().rename("/ab", "/a/ab").await.unwrap_err().code, Code::Stale);
        assert_eq!(old.sigma().remove("/a/b").await.unwrap_err().code, Code::Stale);
        // Beside the fence it may do what anybody may.
        old.sigma().put_file("/ab/x", "beside").await.unwrap();
        // A fence outlives named and its election.
        machine.kill_9("named").await;
        assert_eq!(old.sigma().put_file("/a/x", "late").await.unwrap_err().code, Code::Stale);
        tenant.kill(next).await;
        let third = within("an election", tenant.sigma.elect("/leader", "/a", "third")).await.unwrap();
        assert!(third.epoch() > old.epoch());
        third.sigma().put_file("/a/x", "third").await.unwrap();
        assert_eq!(tenant.sigma.get_file("/a/x").await.unwrap(), "third");
    });
}

/// A leader that had lost the election without knowing once removed its successor when it resigned.
#[test]
fn a_leader_of_before_does_its_successor_no_harm() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let old = within("an election", machine.client("a").elect("/leader", "/a", "old")).await.unwrap();
        tenant.sigma.remove("/leader").await.unwrap();
        let new = within("an election", tenant.sigma.elect("/leader", "/a", "new")).await.unwrap();
        assert_eq!(old.resign().await.unwrap_err().code, Code::NotFound);
        assert_eq!(tenant.sigma.get_file("/leader").await.unwrap(), "new");
        new.resign().await.unwrap();
    });
}

/// A fence that was named by a link once held back nobody, since it is compared with where paths lead.
#[test]
fn a_fence_holds_by_whatever_name_it_was_asked_for() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir_all("/a/b").await.unwrap();
        tenant.sigma.symlink("/a", "/link").await.unwrap();
        let elect =
            async || within("an election", machine.client("a").elect("/leader", "/link/b", "x")).await;
        let old = elect().await.unwrap();
        let late = old.sigma().clone();
        old.resign().await.unwrap();
        let new = elect().await.unwrap();
        for path in ["/a/b/x", "/link/b/x"] {
            assert_eq!(late.put_file(path, "late").await.unwrap_err().code, Code::Stale, "{path}");
            new.sigma().put_file(path, "new").await.unwrap();
        }
        late.put_file("/link/beside", "late").await.unwrap();
    });
}

#[test]
fn leases_that_are_kept_outlive_everything_but_their_proc() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/dir").await.unwrap();
        let holder = tenant.start("actor hold:/dir/held start wait-kill").await;
        // It is a file like any other, for as long as it is there: others write to it, rename it, and replace what they like.
        tenant.sigma.put_file("/dir/held", "by somebody else").await.unwrap();
        tenant.sigma.rename("/dir/held", "/dir/again").await.unwrap();
        tenant.sigma.rename("/dir", "/moved").await.unwrap();
        for _ in 0..3 {
            machine.kill_9("named").await;
            assert_eq!(tenant.sigma.stat("/moved/again").await.unwrap().lease, holder.to_string());
        }
        tenant.sigma.put_file("/other", "").await.unwrap();
        tenant.sigma.rename("/other", "/moved/again").await.unwrap();
        tenant.kill(holder).await;
        tenant.wait_exit(holder).await;
        // What replaced it has no lease. The end of the proc is told before its next change is answered.
        let next = tenant.start("actor hold:/next start wait-kill").await;
        tenant.kill(next).await;
        gone(&tenant, "/next").await;
        assert_eq!(tenant.sigma.stat("/moved/again").await.unwrap().lease, "");
    });
}

#[test]
fn old_leaders_change_no_files_of_ux_that_their_successor_has_changed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let files = tenant.sigma.clone();
        files.create_dir("/ux/~local/data").await.unwrap();
        files.put_file("/ux/~local/data/kept", "before").await.unwrap();
        let old = machine.client("a").elect("/leader", "/ux/~local/data", "old").await.unwrap();
        old.sigma().put_file("/ux/~local/data/x", "old").await.unwrap();
        // A file that is being written is not there yet.
        let draft = proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
        let mut late = old.sigma().open_with("/ux/~local/data/late", draft).await.unwrap();
        late.write("late").await.unwrap();
        files.remove("/leader").await.unwrap();
        let new = files.elect("/leader", "/ux/~local/data", "new").await.unwrap();
        new.sigma().put_file("/ux/~local/data/x", "new").await.unwrap();
        let refused = async |when: &str| {
            let old = old.sigma();
            let stale = [
                old.put_file("/ux/~local/data/x", "late").await.err(),
                old.put_file("/ux/~local/data/y", "late").await.err(),
                old.create_dir("/ux/~local/data/z").await.err(),
                old.remove("/ux/~local/data/kept").await.err(),
                old.rename("/ux/~local/data/kept", "/ux/~local/beside").await.err(),
                old.rename("/ux/~local/data", "/ux/~local/elsewhere").await.err(),
            ];
            for (number, error) in stale.into_iter().enumerate() {
                assert_eq!(error.map(|error| error.code), Some(Code::Stale), "{when}: {number}");
            }
        };
        refused("once its successor was heard of").await;
        assert_eq!(late.close().await.unwrap_err().code, Code::Stale);
        // Beside the fence it may do what anybody may.
        old.sigma().put_file("/ux/~local/data-too", "beside").await.unwrap();
        // What ux has heard is lost with it, and asked for anew.
        machine.kill_9("ux").await;
        for client in [old.sigma(), &files] {
            eventually("ux is back", async || client.stat("/ux/~local/data/x").await.ok()).await;
        }
        refused("after a crash of ux").await;
        machine.kill_9("named").await;
        refused("after a crash of named").await;
        assert_eq!(files.get_file("/ux/~local/data/x").await.unwrap(), "new");
        assert_eq!(files.get_file("/ux/~local/data/kept").await.unwrap(), "before");
        assert_eq!(files.stat("/ux/~local/data/late").await.unwrap_err().code, Code::NotFound);
        new.sigma().put_file("/ux/~local/data/x", "again").await.unwrap();
    });
}

#[test]
fn old_leaders_change_no_objects_that_their_successor_has_changed() {
    story(async |machine| {
        let objects = machine.realm("a").await.sigma;
        let shop = "/s3/~local/shop";
        objects.create_dir(shop).await.unwrap();
        objects.put_file(&format!("{shop}/data/kept"), "before").await.unwrap();
        let old = machine.client("a").elect("/leader", &format!("{shop}/data"), "old").await.unwrap();
        old.sigma().put_file(&format!("{shop}/data/x"), "old").await.unwrap();
        // An object that is being written is not there yet.
        let draft = proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
        let mut late = old.sigma().open_with(&format!("{shop}/data/late"), draft.clone()).await.unwrap();
        late.write("late").await.unwrap();
        objects.remove("/leader").await.unwrap();
        let new = objects.elect("/leader", &format!("{shop}/data"), "new").await.unwrap();
        new.sigma().put_file(&format!("{shop}/data/x"), "new").await.unwrap();
        let refused = async |when: &str| {
            let (old, at) = (old.sigma(), |name: &str| format!("{shop}/data/{name}"));
            let stale = [
                old.put_file(&at("x"), "late").await.err(),
                old.put_file(&at("y"), "late").await.err(),
                old.open_with(&at("z"), draft.clone()).await.err(),
                old.remove(&at("kept")).await.err(),
                // With the bucket would go what lies below the fence.
                old.remove(shop).await.err(),
            ];
            for (number, error) in stale.into_iter().enumerate() {
                assert_eq!(error.map(|error| error.code), Some(Code::Stale), "{when}: {number}");
            }
        };
        refused("once its successor was heard of").await;
        assert_eq!(late.close().await.unwrap_err().code, Code::Stale);
        // Beside the fence it may do what anybody may.
        old.sigma().put_file(&format!("{shop}/data-too"), "beside").await.unwrap();
        // What s3 has heard is lost with it, and asked for anew.
        machine.kill_9("s3").await;
        for client in [old.sigma(), &objects] {
            eventually("s3 is back", async || client.stat(&format!("{shop}/data/x")).await.ok()).await;
        }
        refused("after a crash of s3").await;
        assert_eq!(objects.get_file(&format!("{shop}/data/x")).await.unwrap(), "new");
        assert_eq!(objects.get_file(&format!("{shop}/data/kept")).await.unwrap(), "before");
        assert_eq!(objects.stat(&format!("{shop}/data/late")).await.unwrap_err().code, Code::NotFound);
        new.sigma().put_file(&format!("{shop}/data/x"), "again").await.unwrap();
    });
}

#[test]
fn old_leaders_change_no_database_that_their_successor_has_changed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let old = machine.client("a").elect("/leader", "/db/main", "old").await.unwrap();
        let of = async |leader: &Leader| Db::open(leader.sigma(), "/db/main").await.unwrap();
        let old_db = of(&old).await;
        old_db.execute("CREATE TABLE t (x INTEGER)", values![]).await.unwrap();
        let open = old_db.begin().await.unwrap();
        open.execute("INSERT INTO t VALUES (1)", values![]).await.unwrap();
        tenant.sigma.remove("/leader").await.unwrap();
        let new = tenant.sigma.elect("/leader", "/db/main", "new").await.unwrap();
        let new_db = of(&new).await;
        new_db.query("SELECT 1", values![]).await.unwrap();
        assert_eq!(open.commit().await.unwrap_err().code, Code::Stale);
        let refused = async |when: &str| {
            for sql in ["INSERT INTO t VALUES (2)", "DROP TABLE t", "SELECT x FROM t"] {
                let stale = old_db.execute(sql, values![]).await.unwrap_err();
                assert_eq!(stale.code, Code::Stale, "{when}: {sql}: {stale}");
            }
        };
        refused("once its successor was heard of").await;
        // Beside the fence it may do what anybody may.
        old.sigma().create_dir("/db/side").await.unwrap();
        Db::open(old.sigma(), "/db/side")
            .await
            .unwrap()
            .execute("CREATE TABLE t (x)", values![])
            .await
            .unwrap();
        old.sigma().remove("/db/side").await.unwrap();
        // What db has heard is lost with it, and asked for anew.
        machine.kill_9("db").await;
        eventually("db is back", async || tenant.sigma.stat("/db/main").await.ok()).await;
        refused("after a crash of db").await;
        new_db.execute("INSERT INTO t VALUES (3)", values![]).await.unwrap();
        let row = new_db.query("SELECT sum(x) FROM t", values![]).await.unwrap().first().await.unwrap();
        assert_eq!(row.unwrap().at::<i64>(0).unwrap(), 3, "nothing of the transaction");
        // A fence of all databases.
        new.resign().await.unwrap();
        let old = machine.client("a").elect("/leader", "/db", "old").await.unwrap();
        old.sigma().create_dir("/db/side").await.unwrap();
        tenant.sigma.remove("/leader").await.unwrap();
        let new = tenant.sigma.elect("/leader", "/db", "new").await.unwrap();
        of(&new).await.query("SELECT 1", values![]).await.unwrap();
        assert_eq!(old.sigma().remove("/db/side").await.unwrap_err().code, Code::Stale);
        assert_eq!(old.sigma().create_dir("/db/other").await.unwrap_err().code, Code::Stale);
        new.sigma().remove("/db/side").await.unwrap();
    });
}

/// Some servers do not ask who was elected: rather than to carry out what could be too late, they refuse it.
#[test]
fn where_no_fence_holds_a_leader_changes_nothing() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = tenant.sigma.elect("/leader", "/", "x").await.unwrap();
        all.sigma().put_file("/here", "x").await.unwrap();
        all.sigma().put_file("/ux/~local/there", "x").await.unwrap();
        assert_eq!(all.sigma().put_file("/bin/there", "x").await.unwrap_err().code, Code::Unsupported);
        all.resign().await.unwrap();
        // What lies beside the fence is no business of it.
        tenant.sigma.create_dir("/data").await.unwrap();
        let some = tenant.sigma.elect("/leader", "/data", "x").await.unwrap();
        some.sigma().put_file("/ux/~local/there", "x").await.unwrap();
        some.sigma().rename("/ux/~local/there", "/ux/~local/then").await.unwrap();
        some.sigma().remove("/ux/~local/then").await.unwrap();
    });
}
