//! Watches lose nothing and invent nothing.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{story, within};
use sigmaos::Code;
use sigmaos::proto::Event;
use sigmaos::proto::event::Kind;

/// What an event says, as the story writes down its changes.
fn line(event: &Event) -> String {
    match event.kind() {
        Kind::Created => format!("+{}", event.name),
        Kind::Removed => format!("-{}", event.name),
        Kind::Renamed => format!("{}>{}", event.name, event.to),
    }
}

#[test]
fn a_watch_goes_on_over_the_death_of_named_or_says_version() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/dir").await.unwrap();
        let mut watch = tenant.sigma.watch_dir("/dir").await.unwrap();
        tenant.sigma.put_file("/dir/before", "").await.unwrap();
        assert_eq!(line(&within("an event", watch.next()).await.unwrap()), "+before");
        // Nothing has changed since: it goes on.
        machine.kill_9("named").await;
        let writer = machine.client("a");
        let (event, put) = tokio::join!(within("an event", watch.next()), async {
            // The watch is asked for first; which of the two comes first at named is left open.
            writer.put_file("/dir/after", "").await
        });
        put.unwrap();
        match event {
            Ok(event) => assert_eq!(line(&event), "+after"),
            Err(error) => assert_eq!(error.code, Code::Version, "{error}"),
        }
        // What is listed after that answer, and what comes then, is all there is.
        let names: Vec<_> =
            tenant.sigma.read_dir("/dir").await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["after", "before"]);
        writer.put_file("/dir/last", "").await.unwrap();
        loop {
            let event = within("an event", watch.next()).await.unwrap();
            if line(&event) == "+last" {
                break;
            }
            assert_eq!(line(&event), "+after");
        }
    });
}

#[test]
fn a_watch_ends_with_its_directory() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/dir").await.unwrap();
        let mut watch = tenant.sigma.watch_dir("/dir").await.unwrap();
        tenant.sigma.remove("/dir").await.unwrap();
        let error = within("the end of the watch", watch.next()).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound, "{error}");
        assert_eq!(tenant.sigma.watch_dir("/dir").await.unwrap_err().code, Code::NotFound);
        tenant.sigma.put_file("/file", "").await.unwrap();
        assert_eq!(tenant.sigma.watch_dir("/file").await.unwrap_err().code, Code::NotDir);
    });
}

#[test]
fn a_file_is_waited_for_where_even_its_directory_is_missing() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let writer = machine.client("a");
        let read = async { tenant.sigma.open_watch("/jobs/1/result").await?.read_to_end().await };
        let write = async {
            writer.create_dir("/prepared").await?;
            writer.create_dir("/prepared/1").await?;
            writer.put_file("/prepared/1/result", "42").await?;
            // It appears by a rename far above it.
            writer.rename("/prepared", "/jobs").await
        };
        let (read, written) = tokio::join!(within("the file", read), write);
        written.unwrap();
        assert_eq!(read.unwrap(), "42");
        let (gone, renamed) =
            tokio::join!(within("its end", tenant.sigma.watch_remove("/jobs/1/result")), async {
                machine.kill_9("named").await;
                writer.rename("/jobs", "/done").await
            });
        renamed.unwrap();
        gone.unwrap();
    });
}
