//! Watches lose nothing and invent nothing.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{story, within};
use sigmaos::proto::Event;
use sigmaos::proto::event::Kind;
use sigmaos::{Code, Sigma};

/// What an event says, as the story writes down its changes.
fn line(event: &Event) -> String {
    match event.kind() {
        Kind::Created => format!("+{}", event.name),
        Kind::Removed => format!("-{}", event.name),
        Kind::Renamed => format!("{}>{}", event.name, event.to),
    }
}

/// Makes changes in `/dir` one after the other, and writes down what they must look like.
async fn churn(sigma: &Sigma, who: usize, rounds: usize) -> Vec<String> {
    let mut made = Vec::new();
    for round in 0..rounds {
        let (a, b) = (format!("{who}-{round}a"), format!("{who}-{round}b"));
        sigma.put_file(&format!("/dir/{a}"), "x").await.unwrap();
        sigma.put_file(&format!("/dir/{a}"), "a change of contents is none of the directory").await.unwrap();
        sigma.rename(&format!("/dir/{a}"), &format!("/dir/{b}")).await.unwrap();
        made.extend([format!("+{a}"), format!("{a}>{b}")]);
        if round % 2 == 0 {
            sigma.rename(&format!("/dir/{b}"), &format!("/away/{b}")).await.unwrap();
            sigma.rename(&format!("/away/{b}"), &format!("/dir/{b}")).await.unwrap();
            made.extend([format!("-{b}"), format!("+{b}")]);
        }
        sigma.remove(&format!("/dir/{b}")).await.unwrap();
        made.push(format!("-{b}"));
    }
    made
}

#[test]
fn every_change_of_a_directory_comes_once_and_in_order() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        for dir in ["/dir", "/away"] {
            tenant.sigma.create_dir(dir).await.unwrap();
        }
        let mut watch = tenant.sigma.watch_dir("/dir").await.unwrap();
        let clients: Vec<_> = (0..4).map(|_| machine.client("a")).collect();
        let changes = async {
            let all = clients.iter().enumerate().map(|(who, sigma)| churn(sigma, who, 20));
            futures_join(all).await
        };
        let events = async {
            let mut seen = Vec::new();
            while seen.last().map(String::as_str) != Some("+the-end") {
                let event = within("an event", watch.next()).await.unwrap();
                seen.push(line(&event));
            }
            seen.pop();
            seen
        };
        let changed = async {
            let made = changes.await;
            tenant.sigma.put_file("/dir/the-end", "").await.unwrap();
            made
        };
        let (made, seen) = tokio::join!(changed, events);
        // Each client's changes come in its order; nothing else comes.
        for (who, made) in made.iter().enumerate() {
            let of_client: Vec<_> = seen
                .iter()
                .filter(|line| {
                    line[1..].starts_with(&format!("{who}-")) || line.starts_with(&format!("{who}-"))
                })
                .collect();
            assert_eq!(of_client, made.iter().collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), made.iter().map(Vec::len).sum::<usize>());
    });
}

async fn futures_join<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
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
