//! The wire as PROTOCOL.md writes it: a client in another language that knows nothing else.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{python, script, story, within};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

#[test]
fn a_client_in_python_does_as_the_document_says() {
    let Some(python) = python() else { return };
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/sn").await.unwrap();
        let server = tenant.start("echo serve /sn/echo").await;
        let mut client = Command::new(&python)
            .arg(script("client.py"))
            .args([machine.state().to_str().unwrap(), "a", "/sn/echo"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
        // It makes changes until named has died below it.
        if within("it makes changes", said.next_line()).await.unwrap().as_deref() == Some("changing") {
            machine.kill_9("named").await;
        }
        let mut stderr = String::new();
        let read = client.stderr.take().unwrap().read_to_string(&mut stderr).await;
        let status = within("the end of the client", client.wait()).await.unwrap();
        assert!(read.is_ok() && status.success(), "{status}: {stderr}");
        assert_eq!(said.next_line().await.unwrap().as_deref(), Some("all as written"));
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}
