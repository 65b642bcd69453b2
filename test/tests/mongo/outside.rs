//! What only a MongoDB outside can do: be away, hang, refuse.

use super::*;
use sigma_test::within;
use sigmaos::Code;
use sigmaos::mongo::doc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

#[test]
fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    story(async |machine| {
        let Some(mut nx) = Nx::start().await else { return };
        let tenant = realm_on(machine, "a", &nx.url(), &[]).await;
        let kept = Mongo::open(&tenant.sigma).await.unwrap().collection::<Document>("kept");
        kept.insert_one(&doc! { "_id": 1 }).await.unwrap();
        nx.kill_9();
        let error = within("an error", kept.count(doc! {})).await.unwrap_err();
        assert_eq!(error.code, Code::Unreachable, "{error}");
        assert!(error.message.contains(&format!("MongoDB at {}", nx.server().address())), "{error}");
        nx.start_again().await;
        sigma_test::eventually("it is used again", async || {
            kept.count(doc! {}).await.ok().filter(|count| *count == 1)
        })
        .await;
    });
}

#[test]
fn a_server_that_hangs_holds_up_its_own_callers_alone_and_is_named() {
    story(async |machine| {
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let taking = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = silent.accept().await {
                held.push(connection);
            }
        });
        let tenant = realm_on(machine, "a", &format!("mongodb://{address}"), &[]).await;
        let hanging = Mongo::open(&tenant.sigma).await.unwrap().collection::<Document>("c");
        let waiting = tokio::spawn({
            let hanging = hanging.clone();
            async move { hanging.count(doc! {}).await }
        });
        // What needs no answer of it is answered.
        let wrong = within("another call", hanging.find(doc! { "": 1 }).cursor());
        let garbage =
            within("another call", hanging.with_type::<Document>().create_index(doc! {}, false)).await;
        assert_eq!(garbage.unwrap_err().code, Code::Invalid);
        drop(wrong);
        let other = machine.realm("b").await;
        let embedded = Mongo::open(&other.sigma).await.unwrap().collection::<Document>("c");
        within("another realm", embedded.insert_one(&doc! { "_id": 1 })).await.unwrap();
        let error = within("the deadline", waiting).await.unwrap().unwrap_err();
        assert!(matches!(error.code, Code::Unreachable | Code::Deadline), "{error:?}");
        assert!(error.message.contains(&format!("MongoDB at {address}")), "{error}");
        taking.abort();
    });
}

#[test]
fn a_caller_that_waits_no_longer_is_told_at_its_own_deadline() {
    story(async |machine| {
        let Some(nx) = Nx::start().await else { return };
        let tenant = realm_on(machine, "a", &nx.url(), &[]).await;
        let mongo = Mongo::open(&tenant.sigma).await.unwrap();
        mongo.collection::<Document>("c").insert_one(&doc! { "_id": 1 }).await.unwrap();
        nx.server().freeze();
        let brief = mongo.deadline(Some(Duration::from_millis(300))).collection::<Document>("c");
        let error = within("the deadline", brief.insert_one(&doc! { "_id": 2 })).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Deadline, true), "{error}");
        nx.server().thaw();
        let patient = mongo.collection::<Document>("c");
        sigma_test::eventually("it answers again", async || patient.count(doc! {}).await.ok()).await;
    });
}

#[test]
fn a_user_whom_the_server_does_not_let_in_is_denied() {
    story(async |machine| {
        // NX-27017 lets in nobody who names themselves.
        let Some(nx) = Nx::start().await else { return };
        let hush = "p4ssword-of-the-story".to_owned();
        let credentials = [("user", "me".to_owned()), ("password", hush.clone())];
        let tenant = realm_on(machine, "a", &nx.url(), &credentials).await;
        let error = Mongo::open(&tenant.sigma).await.unwrap().collections().await.unwrap_err();
        assert_eq!(error.code, Code::Denied, "{error}");
        assert!(
            error.message.contains("mongo.password") && error.message.contains(&nx.server().address()),
            "{error}"
        );
        assert!(!error.message.contains(&hush) && !machine.log_tail().contains(&hush), "{error}");
    });
}

#[test]
fn what_is_set_wrongly_is_named_and_no_secret_is_told() {
    story(async |machine| {
        let hush = "p4ssword-of-the-story".to_owned();
        let credentials = [("user", "me".to_owned()), ("password", hush.clone())];
        // Whoever listens hears the user, and answers nothing that the driver takes.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut some = vec![0; 4096];
                let length = connection.read(&mut some).await.unwrap_or(0);
                heard.extend_from_slice(&some[..length]);
            }
            heard
        });
        let tenant = realm_on(machine, "a", &format!("mongodb://{address}"), &credentials).await;
        let mongo = Mongo::open(&tenant.sigma).await.unwrap();
        let error = within("an error", mongo.collections()).await.unwrap_err();
        assert!(!error.message.contains(&hush) && error.message.contains(&address.to_string()), "{error}");
        assert!(!machine.log_tail().contains(&hush), "the log has it");
        listening.abort();
        machine.realm("b").await;
        let looked_up = ["realm", "set", "b", "mongo.url=mongodb+srv://example.org"];
        machine.fails(&looked_up, 1, &["mongo.url", "mongodb://"]).await;
        // A password without a user is no way in.
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("password");
        std::fs::write(&file, &hush).unwrap();
        machine
            .ok(&[
                "realm",
                "set",
                "b",
                "mongo.url=mongodb://127.0.0.1:1",
                &format!("mongo.password=@{}", file.display()),
            ])
            .await;
        let error = Mongo::open(&machine.client("b")).await.unwrap_err();
        assert!(error.code == Code::Invalid && error.message.contains("mongo.user"), "{error}");
        assert!(!error.message.contains(&hush), "{error}");
    });
}
