//! Every call of every service, right and wrong.

use crate::net::{Net, texts};
use sigma_test::{story, within};
use sigmaos::Code;
use sigmaos::rpc::{Bytes, Device};
use socialnet::limits::{HOT_ENTRIES, MAX_DEPTH, MAX_FIND, MAX_LINKS, MAX_PAGE, MAX_PICTURE, MAX_TEXT};
use socialnet::proto::*;

/// A call that must be refused.
async fn refused<T: std::fmt::Debug>(
    call: impl Future<Output = sigmaos::Result<T>>,
    code: Code,
    words: &str,
) {
    let error = within("a refusal", call).await.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(words), "{error} does not say {words:?}");
}

fn new_user(id: Option<i64>, name: &str) -> RegisterRequest {
    let (name, password) = (name.to_owned(), "correct horse".to_owned());
    RegisterRequest { id, name, password, ..Default::default() }
}

fn find(ids: &[i64], names: &[&str]) -> FindRequest {
    FindRequest { ids: ids.to_vec(), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn users() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let users: UserClient = net.client("user").await;
        let ada = users.register(new_user(None, "ada")).await.unwrap();
        assert!(ada.id > 0);
        assert_eq!(users.register(new_user(Some(0), "zero")).await.unwrap().id, 0);
        refused(users.register(new_user(None, "ada")), Code::Exists, "ada").await;
        refused(users.register(new_user(Some(0), "other")), Code::Exists, "0").await;
        for name in ["", "a b", "ада", "a@b", "<b>", &"x".repeat(65)] {
            refused(users.register(new_user(None, name)), Code::Invalid, "name").await;
        }
        refused(users.register(new_user(Some(-1), "minus")), Code::Invalid, "-1").await;
        let short = RegisterRequest { password: "short".into(), ..new_user(None, "short") };
        refused(users.register(short), Code::Invalid, "password").await;
        let long = RegisterRequest { password: "x".repeat(201), ..new_user(None, "long") };
        refused(users.register(long), Code::TooLarge, "password").await;

        let login = |name: &str, password: &str| {
            users.login(LoginRequest { name: name.into(), password: password.into() })
        };
        assert_eq!(login("ada", "correct horse").await.unwrap(), ada);
        refused(login("ada", "wrong"), Code::Denied, "wrong").await;
        refused(login("nobody", "wrong"), Code::Denied, "wrong").await;

        // Twice: from the store, and from the cache.
        for _ in 0..2 {
            let mut found = users.find(find(&[0, 99], &["ada", "none"])).await.unwrap().people;
            found.sort_by_key(|person| person.id);
            assert_eq!(found, [Person { id: 0, name: "zero".into() }, ada.clone()]);
        }
        refused(users.find(find(&vec![1; MAX_FIND + 1], &[])), Code::TooLarge, "at most").await;

        // Of many who want one name, one gets it.
        let many = (0..8).map(|_| users.register(new_user(None, "wanted")));
        let many = within("all of them", futures_util::future::join_all(many)).await;
        assert_eq!(many.iter().filter(|one| one.is_ok()).count(), 1, "{many:?}");
        assert!(many.into_iter().filter_map(Result::err).all(|error| error.code == Code::Exists));
    });
}

#[test]
fn graph() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let graph: GraphClient = net.client("graph").await;
        for id in 1..=3 {
            net.register(id).await;
        }
        let edge = |follower, followee| Edge { follower, followee };
        for pair in [edge(1, 2), edge(1, 2), edge(3, 2), edge(1, 3)] {
            graph.follow(pair).await.unwrap();
        }
        let ids = async |followers: bool, user| {
            let asked = UserId { user };
            let found = if followers { graph.followers(asked).await } else { graph.followees(asked).await };
            let mut ids = found.unwrap().ids;
            ids.sort_unstable();
            ids
        };
        assert_eq!((ids(true, 2).await, ids(false, 1).await), (vec![1, 3], vec![2, 3]));
        graph.unfollow(edge(1, 2)).await.unwrap();
        graph.unfollow(edge(1, 2)).await.unwrap();
        assert_eq!((ids(true, 2).await, ids(false, 1).await), (vec![3], vec![3]));
        refused(graph.follow(edge(1, 1)), Code::Invalid, "oneself").await;
        refused(graph.follow(edge(1, 99)), Code::NotFound, "99").await;
        refused(graph.unfollow(edge(99, 1)), Code::NotFound, "99").await;
        // Whatever follows and unfollows at once, both ends agree.
        let race = (0..20).map(|turn| {
            let graph = &graph;
            async move {
                if turn % 2 == 0 { graph.follow(edge(2, 1)).await } else { graph.unfollow(edge(2, 1)).await }
            }
        });
        for done in within("the race", futures_util::future::join_all(race)).await {
            done.unwrap();
        }
        assert_eq!(ids(true, 1).await.contains(&2), ids(false, 2).await.contains(&1));
        graph.follow_many(Edges { edges: vec![edge(3, 1), edge(2, 2)] }).await.unwrap();
        graph.follow_many(Edges { edges: vec![edge(3, 1), edge(2, 3)] }).await.unwrap();
        assert_eq!(ids(false, 3).await, [1, 2]);
        refused(graph.follow_many(Edges { edges: vec![edge(1, 2); 2001] }), Code::TooLarge, "at most").await;
        assert_eq!(ids(true, 99).await, [0; 0]);
    });
}

#[test]
fn texts_urls_and_media() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        let text: TextClient = net.client("text").await;
        let request = |text: &str| TextRequest { text: text.to_owned() };
        let processed = text.process(request("@username_1 and @none: http://a.b/c. Ende")).await.unwrap();
        assert_eq!(processed.mentions, [Person { id: 1, name: "username_1".into() }]);
        let Link { short, long } = processed.urls[0].clone();
        assert_eq!(long, "http://a.b/c");
        assert_eq!(processed.text, format!("@username_1 and @none: {short}. Ende"));
        assert_eq!(text.process(request("")).await.unwrap(), Processed::default());
        refused(text.process(request(&"x".repeat(MAX_TEXT + 1))), Code::TooLarge, "at most").await;
        let many = "http://a.b ".repeat(MAX_LINKS + 1);
        refused(text.process(request(&many)), Code::Invalid, "links").await;

        let url: UrlClient = net.client("url").await;
        let key = short.rsplit('/').next().unwrap().to_owned();
        assert_eq!(url.expand(ExpandRequest { key }).await.unwrap().long, "http://a.b/c");
        refused(url.expand(ExpandRequest { key: "none".into() }), Code::NotFound, "nowhere").await;
        let again = url.shorten(Urls { urls: vec!["http://a.b/c".into(), "http://b".into()] }).await.unwrap();
        assert_eq!((again.links.len(), &again.links[0].short), (2, &short));
        refused(url.shorten(Urls { urls: vec!["x".repeat(3000)] }), Code::TooLarge, "3000").await;

        let media: MediaClient = net.client("media").await;
        let picture = Bytes::from_static(b"GIF89a and so on");
        let stored = media.store_with(MediaId { id: 5 }, picture.clone()).await.unwrap().message;
        assert_eq!(stored, Attachment { id: 5, r#type: "gif".into() });
        let read = media.read_with(MediaId { id: 5 }, Bytes::new()).await.unwrap();
        assert_eq!((read.message, read.payload), (stored, picture));
        refused(media.read(MediaId { id: 6 }), Code::NotFound, "6").await;
        let no_picture = media.store_with(MediaId { id: 7 }, Bytes::from_static(b"<svg>"));
        refused(async { no_picture.await.map(drop) }, Code::Invalid, "no PNG").await;
        let large = media.store_with(MediaId { id: 7 }, vec![0; MAX_PICTURE + 1].into());
        refused(async { large.await.map(drop) }, Code::TooLarge, "limit").await;
        let describe = |ids: &[i64], types: &[&str]| {
            let types = types.iter().map(|name| (*name).to_owned()).collect();
            media.describe(DescribeRequest { ids: ids.to_vec(), types })
        };
        assert_eq!(describe(&[1, 2], &["png", "jpeg"]).await.unwrap().media.len(), 2);
        refused(describe(&[1], &[]), Code::Invalid, "1 media ids and 0").await;
        refused(describe(&[1], &["exe"]), Code::Invalid, "\"exe\"").await;
        refused(describe(&[1; 21], &["png"; 21]), Code::Invalid, "at most").await;
    });
}

#[test]
fn posts_and_composing() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        net.register(2).await;
        net.follow(2, 1).await;
        let compose: ComposeClient = net.client("compose").await;
        let request = |req_id, text: &str| ComposeRequest {
            req_id,
            creator: Some(Person { id: 1, name: "username_1".into() }),
            text: text.to_owned(),
            ..Default::default()
        };
        // Sent again, it is the same post, and on each timeline once.
        for _ in 0..3 {
            assert_eq!(compose.compose(request(50, "once")).await.unwrap().post, 50);
        }
        compose.compose(request(40, "older, and late")).await.unwrap();
        assert_eq!(net.wrote(1).await, ["once", "older, and late"]);
        assert_eq!(net.sees(2).await, ["once", "older, and late"]);
        refused(compose.compose(request(0, "x")), Code::Invalid, "request 0").await;
        refused(compose.compose(request(9, "")), Code::Invalid, "a text or a picture").await;
        let other = ComposeRequest { post_type: 9, ..request(9, "x") };
        refused(compose.compose(other), Code::Invalid, "post type 9").await;
        let nobody =
            ComposeRequest { creator: Some(Person { id: 99, name: String::new() }), ..request(9, "x") };
        refused(compose.compose(nobody), Code::NotFound, "99").await;
        let liar = ComposeRequest { creator: Some(Person { id: 1, name: "eve".into() }), ..request(9, "x") };
        refused(compose.compose(liar), Code::Invalid, "not called \"eve\"").await;
        assert_eq!(net.wrote(1).await.len(), 2, "what was refused is nowhere");

        let posts: PostClient = net.client("post").await;
        let read = posts.read_with(Ids { ids: vec![40, 99, 50] }, Bytes::new()).await.unwrap();
        assert_eq!(read.message.count, 2);
        refused(posts.read(Ids { ids: vec![1; MAX_PAGE as usize + 1] }), Code::Invalid, "at most").await;
        refused(posts.store(StoreRequest::default()), Code::Invalid, "no number").await;
        let creator = Some(Person { id: 1, name: "username_1".into() });
        let large = StoreRequest { id: 9, creator, text: "\u{1}".repeat(MAX_TEXT), ..Default::default() };
        refused(posts.store(large), Code::TooLarge, "limit").await;
        let newest = |limit| posts.newest(NewestRequest { creators: vec![1, 2], mentioned: None, limit });
        assert_eq!(newest(1).await.unwrap().ids, [50]);
        assert_eq!(newest(0).await.unwrap().ids, [0; 0]);
        refused(newest(MAX_DEPTH + 1), Code::Invalid, "at most").await;
    });
}

#[test]
fn timelines_with_thousands_of_entries() {
    const POSTS: i64 = 3000;
    story(async |machine| {
        let net = Net::start(machine).await;
        for id in 1..=3 {
            net.register(id).await;
        }
        let posts: PostClient = net.client("post").await;
        let store = |id: i64| {
            let creator = Person { id: 1 + id % 2, name: format!("username_{}", 1 + id % 2) };
            posts.store(StoreRequest {
                id,
                creator: Some(creator),
                text: id.to_string(),
                ..Default::default()
            })
        };
        for begin in (1..=POSTS).step_by(100) {
            for stored in
                within("a hundred posts", futures_util::future::join_all((begin..begin + 100).map(store)))
                    .await
            {
                stored.unwrap();
            }
        }
        // Who follows both sees all, in order, page after page.
        net.follow(3, 1).await;
        net.follow(3, 2).await;
        let mut expected = POSTS;
        for start in (0..300).step_by(75) {
            for text in texts(&net.home(3, start, start + 75).await) {
                assert_eq!(text, expected.to_string());
                expected -= 1;
            }
        }
        let from = (POSTS - 10) as u32;
        assert_eq!(
            texts(&net.home(3, from, from + 20).await),
            ["10", "9", "8", "7", "6", "5", "4", "3", "2", "1"]
        );
        assert_eq!(texts(&net.timeline(1, 1498, 1510).await), ["4", "2"]);
        // A new one is at the top of the hot copy, and moves the others.
        net.posted(2, "new").await;
        assert_eq!(texts(&net.home(3, 0, 2).await), ["new", "3000"]);
        assert_eq!(texts(&net.home(3, HOT_ENTRIES - 1, HOT_ENTRIES + 1).await).len(), 2);
    });
}

#[test]
fn timelines_refuse_what_is_no_page() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        let (homes, timelines): (HomeClient, TimelineClient) =
            (net.client("home").await, net.client("timeline").await);
        let page = |start, stop| Page { user: 1, start, stop };
        for (wrong, words) in [
            (page(2, 1), "past stop"),
            (page(0, MAX_PAGE + 1), "at most"),
            (page(MAX_DEPTH, MAX_DEPTH + 1), "read back"),
        ] {
            refused(homes.read(wrong), Code::Invalid, words).await;
            refused(timelines.read(wrong), Code::Invalid, words).await;
        }
        let nobody = Page { user: 99, start: 0, stop: 10 };
        refused(homes.read(nobody), Code::NotFound, "no user 99").await;
        refused(timelines.read(nobody), Code::NotFound, "no user 99").await;
        assert_eq!(homes.read(page(0, 10)).await.unwrap().count, 0);
        // What is no message of the service is refused, and nothing else is disturbed.
        let device: Device = net.client("home").await;
        let garbage = device.call_encoded("Home.Read", Bytes::from_static(b"\xff\xff"), Bytes::new());
        refused(garbage, Code::Invalid, "Home.Read").await;
        let unknown = device.call_encoded("Home.Nothing", Bytes::new(), Bytes::new());
        refused(unknown, Code::Unsupported, "Home.Nothing").await;
        assert_eq!(homes.read(page(0, 10)).await.unwrap().count, 0);
    });
}
