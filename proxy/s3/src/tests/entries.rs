//! Buckets, directories, and what is told of them.

use super::*;
use sigmaos::limits::DIR_PAGE;

#[tokio::test]
async fn a_bucket_is_a_directory_that_is_made_and_removed() {
    let s3 = S3::new();
    assert_eq!(s3.names("/").await, [""; 0]);
    for bucket in ["/shop", "/archive"] {
        s3.make_directory(bucket).await.unwrap();
    }
    assert_eq!(s3.names("/").await, ["archive", "shop"]);
    assert_eq!(s3.page("/", "archive", 0).await.unwrap().entries[0].name, "shop");
    let first = s3.page("/", "", 1).await.unwrap();
    assert_eq!((first.entries[0].name.as_str(), first.more), ("archive", true));
    refused(s3.make_directory("/shop").await, Code::Exists, "/shop");
    s3.put("/shop/a", "x").await.unwrap();
    refused(s3.remove("/shop").await, Code::NotEmpty, "/shop");
    s3.remove("/shop/a").await.unwrap();
    s3.remove("/shop").await.unwrap();
    refused(s3.remove("/shop").await, Code::NotFound, "shop");
    assert_eq!((s3.names("/").await, s3.used()), (vec!["archive".to_owned()], 4096));
}

#[tokio::test]
async fn directories_are_what_objects_are_below() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    for key in ["d/e/1", "d/2", "d-1", "100%", "a b#7", "%2e%2e", "ü"] {
        s3.put(&format!("/shop/{key}"), key).await.unwrap();
        assert_eq!(s3.get(&format!("/shop/{key}")).await.unwrap(), key);
    }
    assert_eq!(s3.names("/shop").await, ["%2e%2e", "100%", "a b#7", "d", "d-1", "ü"]);
    assert_eq!(s3.names("/shop/d").await, ["2", "e"]);
    let directory = s3.client.stat(request("/shop/d")).await.unwrap();
    assert_eq!((directory.name.as_str(), directory.kind()), ("d", proto::Kind::Directory));
    let object = s3.client.stat(request("/shop/d/2")).await.unwrap();
    assert_eq!((object.name.as_str(), object.kind(), object.size), ("2", proto::Kind::File, 3));
    assert!(object.modified_ms > 1_700_000_000_000);
    refused(s3.remove("/shop/d").await, Code::NotEmpty, "/shop/d");
    s3.remove("/shop/d/e/1").await.unwrap();
    assert_eq!(s3.names("/shop/d").await, ["2"]);
    s3.remove("/shop/d/2").await.unwrap();
    refused(s3.page("/shop/d", "", 0).await, Code::NotFound, "/shop/d");
}

#[tokio::test]
async fn a_directory_is_listed_page_by_page_in_order() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    let mut expected: Vec<_> = (0..DIR_PAGE + 500).map(|number| format!("n{number}")).collect();
    std::fs::create_dir(s3.directory.path().join("shop/d")).unwrap();
    for name in &expected {
        std::fs::write(s3.directory.path().join("shop/d").join(name), "").unwrap();
    }
    expected.sort();
    let first = s3.page("/shop/d", "", 0).await.unwrap();
    assert_eq!((first.entries.len(), first.more), (DIR_PAGE, true));
    let second = s3.page("/shop/d", &first.entries[DIR_PAGE - 1].name, u32::MAX).await.unwrap();
    assert_eq!((second.entries.len(), second.more), (500, false));
    let names: Vec<_> = first.entries.into_iter().chain(second.entries).map(|entry| entry.name).collect();
    assert_eq!(names, expected);
    assert!(s3.page("/shop/d", "z", 0).await.unwrap().entries.is_empty());
}
