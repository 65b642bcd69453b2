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
    s3.put("/shop/f", "x").await.unwrap();
    let handle = s3.open("/shop/g", to_replace()).await.unwrap();
    s3.write(handle, 0, vec![0; 4 << 20]).await.unwrap();
    s3.write(handle, 4 << 20, vec![0; 4 << 20]).await.unwrap();
    let mut reading = std::pin::pin!(s3.get("/shop/f"));
    // Whoever is asked later is answered meanwhile: the reader waits.
    let listing = std::pin::pin!(s3.names("/shop"));
    let read_first = matches!(select(&mut reading, listing).await, Either::Left(_));
    assert!(!read_first, "there was no memory for it");
    s3.close(handle).await.unwrap();
    assert_eq!(reading.await.unwrap(), "x");
}
