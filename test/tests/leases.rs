//! What ends with its proc, and who leads.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Tenant, host, story, within};
use sigmaos::{Code, Create};

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
