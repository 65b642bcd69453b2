//! Pipes block and close as POSIX ones do.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Tenant, host, story, within};
use sigmaos::proto::OpenRequest;
use sigmaos::rpc::Bytes;
use sigmaos::{Code, Create, File, Result};

fn to_write() -> OpenRequest {
    OpenRequest { write: true, ..Default::default() }
}

/// Both ends of a pipe.
async fn pipe(tenant: &Tenant, path: &str) -> (File, File) {
    tenant.sigma.create(path, Create::pipe()).await.unwrap();
    let (reader, writer) = tokio::join!(tenant.sigma.open(path), tenant.sigma.open_with(path, to_write()));
    (reader.unwrap(), writer.unwrap())
}

#[test]
fn two_procs_talk_through_a_pipe() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create("/pipe", Create::pipe()).await.unwrap();
        // Each waits for the other to open it.
        let reader = tenant.start("actor start read-pipe:/pipe").await;
        let writer = tenant.start("actor start write-pipe:/pipe=hello").await;
        assert!(tenant.wait_exit(writer).await.is_ok());
        assert!(tenant.wait_exit(reader).await.is_ok());
        assert_eq!(tenant.stdout(reader).await, "hello\n");
    });
}

#[test]
fn a_writer_waits_for_room_and_a_reader_for_bytes() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (mut reader, mut writer) = pipe(&tenant, "/pipe").await;
        let all = Bytes::from((0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let sent = all.clone();
        let write = async move {
            writer.write(sent).await?;
            writer.close().await
        };
        let (read, written) = tokio::join!(within("all bytes", reader.read_to_end()), write);
        written.unwrap();
        assert_eq!(read.unwrap(), all);
    });
}

#[test]
fn the_death_of_one_end_is_seen_at_the_other() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create("/pipe", Create::pipe()).await.unwrap();
        let process = async |line: &str| host::find(machine.sigmad().await, line).unwrap();
        // A writer that dies: the reader comes to the end.
        let dies = tenant.spawn("actor write-pipe:/pipe=last start forever").await;
        let mut reader = within("a writer", tenant.sigma.open("/pipe")).await.unwrap();
        tenant.wait_start(dies).await.unwrap();
        host::kill(process("actor write-pipe:/pipe=last start forever").await);
        assert_eq!(within("the end", reader.read_to_end()).await.unwrap(), "last");
        drop(reader);
        // A reader that dies: the writer is told, also while it waits for room.
        let dies = tenant.spawn("actor keep-pipe:/pipe start forever").await;
        let mut writer = within("a reader", tenant.sigma.open_with("/pipe", to_write())).await.unwrap();
        tenant.wait_start(dies).await.unwrap();
        let (written, ()) = tokio::join!(within("the end", writer.write(vec![0; 1 << 20])), async {
            host::kill(process("actor keep-pipe:/pipe start forever").await);
        });
        assert_eq!(written.unwrap_err().code, Code::Closed);
    });
}

#[test]
fn a_pipe_that_loses_its_server_says_so() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (mut reader, mut writer) = pipe(&tenant, "/pipe").await;
        machine.kill_9("named").await;
        let read: Result<_> = within("an error", reader.read(1)).await;
        assert_eq!(read.unwrap_err().code, Code::Closed);
        let error = within("an error", writer.write("x")).await.unwrap_err();
        assert_eq!(error.code, Code::Closed, "{error}");
        assert!(error.message.contains("lost"), "{error}");
        // The pipe itself is there, for new ends.
        let (read, written) =
            tokio::join!(tenant.sigma.open("/pipe"), tenant.sigma.open_with("/pipe", to_write()));
        assert!(read.is_ok() && written.is_ok());
    });
}
