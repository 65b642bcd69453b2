//! Past a limit a tenant is told, or waits, and the proxy goes on.

use super::*;
use crate::writer::PART;
use futures_util::future::{Either, select};

#[tokio::test]
async fn open_objects_have_a_limit() {
    let s3 = S3::with(MEMORY, 2, u64::MAX);
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/f", "x").await.unwrap();
    let first = s3.open("/shop/f", to_read()).await.unwrap();
    s3.open("/shop/g", to_replace()).await.unwrap();
    refused(s3.open("/shop/f", to_read()).await, Code::Busy, "close some");
    s3.close(first).await.unwrap();
    s3.open("/shop/f", to_read()).await.unwrap();
}

#[tokio::test]
async fn the_disk_has_a_limit_that_what_is_dropped_gives_back() {
    let s3 = S3::with(MEMORY, 10, 2 * 4096 + 100);
    s3.make_directory("/shop").await.unwrap();
    refused(s3.put("/shop/f", vec![0; 101]).await, Code::Quota, "/shop/f");
    s3.put("/shop/f", vec![0; 60]).await.unwrap();
    refused(s3.put("/shop/f", vec![0; 60]).await, Code::Quota, "no room");
    refused(s3.make_directory("/other").await, Code::Quota, "other");
    let handle = s3.open("/shop/g", to_replace()).await.unwrap();
    s3.write(handle, 0, vec![0; 40]).await.unwrap();
    refused(s3.write(handle, 40, vec![0; 1]).await, Code::Quota, "/shop/g");
    refused(s3.close(handle).await, Code::Quota, "cannot be made");
    assert_eq!(s3.used(), 2 * 4096 + 60);
    s3.remove("/shop/f").await.unwrap();
    s3.put("/shop/f", vec![0; 100]).await.unwrap();
    assert_eq!(s3.used(), 2 * 4096 + 100);
}

#[tokio::test]
async fn whoever_finds_no_memory_waits_until_others_give_theirs_back() {
    let s3 = S3::with(PART, 10, u64::MAX);
    s3.make_directory("/shop").await.unwrap();
    let [first, second] = [s3.open("/shop/f", to_replace()).await, s3.open("/shop/g", to_replace()).await];
    let (first, second) = (first.unwrap(), second.unwrap());
    s3.write(first, 0, vec![0; 4 << 20]).await.unwrap();
    let mut writing = std::pin::pin!(s3.write(second, 0, "x"));
    // Whoever is asked later is answered meanwhile: the writer waits.
    let listing = std::pin::pin!(s3.names("/shop"));
    let written_first = matches!(select(&mut writing, listing).await, Either::Left(_));
    assert!(!written_first, "there was no memory for it");
    s3.close(first).await.unwrap();
    writing.await.unwrap();
    s3.close(second).await.unwrap();
    assert_eq!(s3.get("/shop/g").await.unwrap(), "x");
}

/// What was written and not closed once kept others from reading, too.
#[tokio::test(start_paused = true)]
async fn what_is_written_and_not_closed_makes_writers_busy_and_no_readers() {
    let s3 = S3::with(PART, 10, u64::MAX);
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/f", "kept").await.unwrap();
    let lying = s3.open("/shop/g", to_replace()).await.unwrap();
    s3.write(lying, 0, vec![0; 4 << 20]).await.unwrap();
    let late = s3.open("/shop/h", to_replace()).await.unwrap();
    // On a paused clock this ends when every task waits.
    refused(s3.write(late, 0, "x").await, Code::Busy, "close what is written");
    refused(s3.put("/shop/f", "x").await, Code::Busy, "close what is written");
    assert_eq!(s3.get("/shop/f").await.unwrap(), "kept");
    s3.client.close(proto::CloseRequest { handle: lying, discard: true }).await.unwrap();
    s3.put("/shop/f", "new").await.unwrap();
    refused(s3.close(late).await, Code::Busy, "cannot be made");
    assert_eq!(s3.get("/shop/f").await.unwrap(), "new");
}

/// A write whose caller had given up once left a hole that the close did not see.
#[tokio::test]
async fn an_object_with_a_write_that_was_given_up_is_not_made() {
    let s3 = S3::with(PART, 10, u64::MAX);
    s3.make_directory("/shop").await.unwrap();
    let lying = s3.open("/shop/g", to_replace()).await.unwrap();
    s3.write(lying, 0, vec![0; 4 << 20]).await.unwrap();
    let cut = s3.open("/shop/f", to_replace()).await.unwrap();
    {
        let mut writing = std::pin::pin!(s3.write(cut, 0, "x"));
        let listing = std::pin::pin!(s3.names("/shop"));
        assert!(matches!(select(&mut writing, listing).await, Either::Right(_)), "there is no memory for it");
    }
    s3.client.close(proto::CloseRequest { handle: lying, discard: true }).await.unwrap();
    // What was given up is dropped at the server when it hears of it, before what comes later.
    refused(s3.close(cut).await, Code::Deadline, "cannot be made");
    refused(s3.get("/shop/f").await, Code::NotFound, "/shop/f");
}

/// A change whose caller was gone was once counted as not made, though it was.
#[tokio::test]
async fn a_change_whose_caller_is_gone_is_made_and_counted() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    for turn in 0..20 {
        let path = format!("/shop/{turn}");
        let handle = s3.open(&path, to_replace()).await.unwrap();
        s3.write(handle, 0, vec![7; 1 << 20]).await.unwrap();
        {
            let mut closing = std::pin::pin!(s3.close(handle));
            let listing = std::pin::pin!(s3.names("/"));
            let _ = select(&mut closing, listing).await;
        }
        while s3.get(&path).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    while s3.store.used() != s3.store.on_disk() {
        tokio::task::yield_now().await;
    }
    assert_eq!((s3.drafts(), s3.used()), (0, 21 * 4096 + (20 << 20)));
}
