//! Each wrong request has its code and a sentence that names the path.

use super::*;

#[tokio::test]
async fn wrong_names_are_told() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/d/f", "x").await.unwrap();
    for path in ["/none/a", "/No_such/a", "/shop/none", "/shop/d/f/below"] {
        refused(s3.get(path).await, Code::NotFound, "does not exist");
        refused(s3.open(path, to_read()).await, Code::NotFound, "does not exist");
        refused(s3.client.stat(request(path)).await, Code::NotFound, "does not exist");
        refused(s3.remove(path).await, Code::NotFound, "does not exist");
        refused(s3.page(path, "", 0).await, Code::NotFound, "does not exist");
    }
    refused(s3.put("/none/a", "x").await, Code::NotFound, "the bucket none does not exist");
    refused(s3.open("/none/a", to_replace()).await, Code::NotFound, "the bucket none does not exist");
    refused(s3.page("/none", "", 0).await, Code::NotFound, "none");
    refused(s3.make_directory("/No_such").await, Code::Invalid, "small letters");
    refused(s3.make_directory("/shop/d/e").await, Code::Unsupported, "put one");
    refused(s3.make_directory("/").await, Code::Exists, "there");
    refused(s3.remove("/").await, Code::Invalid, "always");
    refused(s3.get("/").await, Code::IsDir, "buckets");
    refused(s3.get("/shop").await, Code::IsDir, "/shop");
    refused(s3.put("/shop", "x").await, Code::IsDir, "/shop");
    refused(s3.get("/shop/d").await, Code::IsDir, "/shop/d");
    refused(s3.open("/shop/d", to_read()).await, Code::IsDir, "/shop/d");
    refused(s3.put("/shop/d", "x").await, Code::IsDir, "/shop/d");
    refused(s3.put("/shop/d/f/below", "x").await, Code::NotDir, "/shop/d/f/below");
    refused(s3.page("/shop/d/f", "", 0).await, Code::NotDir, "/shop/d/f");
    refused(s3.get("/shop/a\nb").await, Code::Invalid, "control characters");
    refused(
        s3.put(&format!("/shop/{}", "ü".repeat(127)), "x")
            .await
            .and(s3.put(&format!("/shop/{}", "ü".repeat(128)), "x").await),
        Code::TooLarge,
        "256",
    );
    refused(s3.client.read_link(request("/shop/d/f")).await, Code::Invalid, "no symbolic link");
    assert_eq!(s3.drafts(), 0, "what found no place is gone");
    s3.used();
}

#[tokio::test]
async fn what_an_object_store_cannot_do_is_told() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/f", "x").await.unwrap();
    let in_place = proto::OpenRequest { write: true, ..Default::default() };
    refused(s3.open("/shop/f", in_place.clone()).await, Code::Unsupported, "truncated");
    refused(s3.open("/shop/none", in_place.clone()).await, Code::NotFound, "/shop/none");
    let both = proto::OpenRequest { read: true, ..to_replace() };
    refused(s3.open("/shop/f", both).await, Code::Unsupported, "not both");
    refused(s3.open("/shop/f", proto::OpenRequest::default()).await, Code::Invalid, "to read or to write");
    let rename = proto::RenameRequest { from: "/shop/f".into(), to: "/shop/g".into(), ..Default::default() };
    refused(s3.client.rename(rename).await, Code::Unsupported, "copy it");
    let link = proto::CreateRequest {
        path: "/shop/l".into(),
        target: "/etc".into(),
        kind: proto::Kind::Symlink.into(),
        ..Default::default()
    };
    refused(s3.client.create(link).await, Code::Unsupported, "SYMLINK");
    let ephemeral = proto::PutRequest { path: "/shop/e".into(), ephemeral: true, ..Default::default() };
    refused(s3.client.put(ephemeral).await, Code::Unsupported, "/shop/e");
    let handle = s3.open("/shop/f", to_replace()).await.unwrap();
    s3.write(handle, 0, "ab").await.unwrap();
    refused(s3.write(handle, 0, "ab").await, Code::Unsupported, "from its start to its end");
    refused(s3.read(handle, 0, 1).await, Code::Denied, "reading");
    s3.write(handle, 2, "cd").await.unwrap();
    s3.close(handle).await.unwrap();
    let handle = s3.open("/shop/f", to_read()).await.unwrap();
    refused(s3.write(handle, 0, "y").await, Code::Denied, "writing");
    assert_eq!(s3.get("/shop/f").await.unwrap(), "abcd");
}

#[tokio::test]
async fn what_shall_be_new_takes_no_name_that_is_taken() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put_new("/shop/f", "first").await.unwrap();
    refused(s3.put_new("/shop/f", "second").await, Code::Exists, "/shop/f");
    let create =
        |path: &str| proto::CreateRequest { path: path.into(), exclusive: true, ..Default::default() };
    refused(s3.client.create(create("/shop/f")).await, Code::Exists, "/shop/f");
    let handle = s3.client.create(create("/shop/g")).await.unwrap().handle;
    s3.write(handle, 0, "mine").await.unwrap();
    s3.put("/shop/g", "faster").await.unwrap();
    refused(s3.close(handle).await, Code::Exists, "/shop/g");
    assert_eq!(s3.get("/shop/g").await.unwrap(), "faster");
    s3.used();
}
