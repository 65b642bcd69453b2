//! Who may change what in a realm: the kernel, and procs that act as different principals.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Tenant, story};
use sigmaos::{Code, Export, Principal};

/// Runs an actor as a principal; each of its steps must succeed.
async fn act(tenant: &Tenant, principal: &str, line: &str) {
    let mut spec = tenant.spec(&format!("actor {line}")).await;
    spec.principal = Some(Principal::parse(principal).unwrap());
    let pid = tenant.spawn_spec(spec).await;
    let status = tenant.wait_exit(pid).await;
    assert!(status.is_ok(), "{principal}: {line}: {status}, {}", tenant.stderr(pid).await);
}

/// Once any proc could take away what mounts its realm's `/bin`, or put a file there that kept the realm from being laid out.
#[test]
fn what_the_kernel_laid_out_no_tenant_moves() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let sigma = &tenant.sigma;
        let id = sigma.me().await.unwrap().machine.clone();
        let (ux, own) = (format!("/ux/{id}"), format!("/machine/{id}"));
        sigma.put_file("/file", "").await.unwrap();
        for path in ["/bin", "/proc", "/ux", "/machine", &ux, &own] {
            let steps = format!("denied:remove:{path} denied:rename:{path}=/mine denied:rename:/file={path}");
            act(&tenant, "owner", &steps).await;
            // Not by mistake of the operator either.
            assert_eq!(sigma.remove(path).await.unwrap_err().code, Code::Denied, "{path}");
        }
        act(&tenant, "owner", "denied:put:/ux/mine=x denied:mkdir:/machine/mine=66").await;
        let error = sigma.mount("/bin", Export::new()).await.unwrap_err();
        assert_eq!(error.code, Code::Exists, "{error}");
        let mut spec = tenant.spec("actor").await;
        spec.principal = Some(Principal::parse("kernel").unwrap());
        assert_eq!(tenant.try_spawn(spec).await.unwrap_err().code, Code::Invalid, "nobody is the kernel");
        machine.kill_9("named").await;
        sigma.put_file("/ux/~local/x", "served").await.unwrap();
        act(&tenant, "other", "get:/ux/~local/x").await;
    });
}

#[test]
fn principals_of_a_realm_keep_what_is_theirs() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let check = async |principal: &str, line: &str| act(&tenant, principal, line).await;
        check("alice", "mkdir:/own=60 mkdir:/shown=64 mkdir:/shared=66").await;
        check("alice", "touch:/own/f=66 touch:/shown/f=64 touch:/shared/f=60").await;
        check("alice", "put:/own/f=1 put:/shown/f=2 put:/shared/f=3").await;
        // The bits of a file say who reads and writes it, those of its directory who makes and takes away names.
        check("bob", "get:/shown/f get:/own/f put:/own/f=by-bob denied:get:/shared/f").await;
        check("bob", "denied:put:/shown/f=x denied:put:/shared/f=x").await;
        check("bob", "denied:touch:/own/g=66 denied:touch:/shown/g=66 denied:mkdir:/shown/d=66").await;
        check("bob", "denied:remove:/own/f denied:remove:/shown/f denied:rename:/shown/f=/shown/g").await;
        check("bob", "denied:rename:/shown/f=/shared/g denied:rename:/shared/f=/shown/g").await;
        check(
            "bob",
            "rename:/shared/f=/shared/g denied:get:/shared/g touch:/shared/h=00 denied:get:/shared/h",
        )
        .await;
        // What alice made is hers wherever it is now, and a name in a shared directory is anybody's to take away.
        check("alice", "get:/shared/g put:/shared/g=4 denied:put:/shared/h=x remove:/shared/h").await;
        machine.kill_9("named").await;
        check("bob", "denied:get:/shared/g denied:put:/shown/f=x get:/shown/f").await;
        let stat = tenant.sigma.stat("/shared/g").await.unwrap();
        assert_eq!((stat.owner.as_str(), stat.perm), ("alice", 0o60));
        // A child acts as its parent does.
        check("alice", "spawn:/bin/actor,get:/shared/g wait-child").await;
    });
}
