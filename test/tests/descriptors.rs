//! A proc that has as many descriptors as it may have: it loses what it would have been given, and nothing else.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{story, within};
use sigmaos::{Code, proto};

/// Bug: the door of a proc closed when a descriptor came for which it had no room, and with it went its mounts and all that it asked.
#[test]
fn a_server_out_of_descriptors_loses_connections_and_not_its_door() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/ux/~local/note", "a note").await.unwrap();
        // Its own dial finds no room either, and says what is the matter.
        let steps = "actor serve:/tips start hoard busy:get:/ux/~local/note say:refused wait-kill get:/ux/~local/note ok:well";
        let pid = tenant.spawn_followed(steps).await;
        tenant.wait_start(pid).await.unwrap();
        let said = tenant.said(pid, "hoards").await;
        let hoarded: usize = said.trim().strip_prefix("hoards ").unwrap().parse().unwrap();
        assert!((900..1000).contains(&hoarded), "{said}");
        tenant.said(pid, "refused").await;
        for _ in 0..3 {
            let server = tenant.server("/tips").await;
            let get = server.get(proto::PathRequest { path: "/first".into() });
            let lost = within("an answer", get).await.unwrap_err();
            assert_eq!(lost.code, Code::Unreachable, "{lost}");
        }
        tenant.feed(pid, "").await.unwrap();
        tenant.said(pid, "gave back").await;
        let found = within("a dial", machine.client("a").get_file("/tips/first")).await.unwrap();
        assert_eq!(found, "look twice", "it serves as before");
        tenant.kill(pid).await;
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: well");
        assert!(tenant.stdout(pid).await.ends_with("a note\n"));
        assert_eq!(tenant.info(pid).await.restarts, 0);
    });
}
