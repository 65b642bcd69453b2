//! `sigma rpc`: any service, called by somebody who has never seen its `.proto`.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::story;
use std::fs;

#[test]
fn a_service_says_what_it_can_be_asked_and_is_asked() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let server = tenant.start("echo serve /echo").await;
        for path in ["/echo", "/echo/rpc"] {
            let shape = machine.ok(&["rpc", path]).await;
            for line in
                ["service Echo {\n  rpc Say(Text) returns (Text);", "message Text {\n  string text = 1;\n}"]
            {
                assert!(shape.contains(line), "{shape}");
            }
        }
        let shape = machine.ok(&["--json", "rpc", "/echo"]).await;
        assert!(shape.contains(r#"{"name":"Working","reply":"Count","request":"Count"}"#), "{shape}");

        let say = machine.ok(&["rpc", "/echo", "Echo.Say", r#"{"text": "hello"}"#]).await;
        assert_eq!(say, "{\n  \"text\": \"hello\"\n}\n");
        let say = machine.ok(&["--json", "rpc", "/echo/rpc", "echo.Echo.Say"]).await;
        assert_eq!(say, "{\"text\":\"\"}\n", "fields that are not set are shown");
        let said =
            machine.cli_with(&["--json", "rpc", "/echo", "Echo.Say", "-"], br#"{"text": "piped"}"#).await;
        assert_eq!((said.code, said.stdout.as_str()), (0, "{\"text\":\"piped\"}\n"), "{}", said.stderr);
        // What every tree answers itself.
        tenant.sigma.create_dir("/d").await.unwrap();
        let stat = machine.ok(&["--json", "rpc", "/", "Namespace.Stat", r#"{"path": "/d"}"#]).await;
        assert!(stat.contains(r#""name":"d","kind":"DIRECTORY""#), "{stat}");
        assert!(machine.ok(&["rpc", "/d"]).await.contains("rpc ReadDir(ReadDirRequest) returns (DirPage);"));
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}

#[test]
fn raw_bytes_go_beside_the_message_both_ways() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let server = tenant.start("echo serve /echo").await;
        let (sent, kept) = (machine.state().join("sent"), machine.state().join("kept"));
        let raw: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&sent, &raw).unwrap();
        let (sent, kept) = (sent.to_str().unwrap(), kept.to_str().unwrap());
        let call = ["--json", "rpc", "/echo", "Echo.Say"];
        let said = machine.cli(&[&call[..], &["--payload", sent, "--output", kept]].concat()).await;
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "{\"text\":\"\"}\n", ""));
        assert!(fs::read(kept).unwrap() == raw);
        // Without a place for them they are told of, and standard output holds the message alone.
        let said = machine.cli(&[&call[..], &["--payload", sent]].concat()).await;
        assert_eq!(said.stdout, "{\"text\":\"\"}\n");
        assert!(said.stderr.contains("400000 bytes") && said.stderr.contains("--output"), "{}", said.stderr);
        // With standard output as their place, they have it alone.
        let said =
            machine.cli_with(&[&call[..], &["--payload", "-", "--output", "-"]].concat(), b"raw\n").await;
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("raw\n", "{\"text\":\"\"}\n"));
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}

#[test]
fn what_does_not_fit_is_named_with_what_may_have_been_meant() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let server = tenant.start("echo serve /echo").await;
        let cases: [(&[&str], i32, &[&str]); 10] = [
            (&["/echo", "Echo.Sya"], 4, &["no method Echo.Sya", "did you mean Echo.Say?"]),
            (&["/echo", "Ehco.Say"], 4, &["no method Ehco.Say", "did you mean Echo.Say?"]),
            (&["/echo", "say"], 4, &["did you mean Echo.Say?"]),
            (&["/echo", "Fly.Away"], 4, &["no method Fly.Away", "'sigma rpc /echo/rpc' lists"]),
            (
                &["/echo", "Echo.Say", r#"{"txt": "x"}"#],
                1,
                &["txt: Text has no such field", "did you mean \"text\"?"],
            ),
            (&["/echo", "Echo.Say", r#"{"text": 5}"#], 1, &["text: it is string, not 5"]),
            (&["/echo", "Echo.Say", "text"], 1, &["the request is not JSON"]),
            (&["/echo", "Echo.Hang", "--deadline", "50"], 1, &["Echo.Hang: no reply within 50 ms"]),
            (&["/nothing", "Echo.Say"], 4, &["/nothing"]),
            (&["/bin/echo", "Echo.Say"], 1, &["/bin/echo is not an rpc device"]),
        ];
        for (args, code, words) in cases {
            machine.fails(&[&["rpc"], args].concat(), code, words).await;
        }
        let twice = ["rpc", "/echo", "Echo.Say", "-", "--payload", "-"];
        machine.fails(&twice, 1, &["standard input is either the request or the payload"]).await;
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}
