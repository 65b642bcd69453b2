//! Whether an answer is right: its status, its shape, and all that can be told of posts without knowing who wrote what.

mod post;

use super::asks::{Ask, Kind, PAGE, user_name};
use super::text;
use post::{List, Post};
use std::collections::BTreeSet;

/// Whether a body answers a request, where its status says that it does.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn check(ask: &Ask, body: &[u8]) -> Result<(), String> {
    match ask.kind {
        Kind::Get | Kind::Compose => Ok(()),
        Kind::Home | Kind::User => {
            let posts = posts(body)?;
            if posts.len() as u64 > PAGE {
                return Err(format!("{} posts, where {PAGE} were asked for", posts.len()));
            }
            in_order(&posts)?;
            posts.iter().try_for_each(|post| whole(post, (ask.kind == Kind::User).then_some(ask.user)))
        }
    }
}

/// The keys of the posts of a page that the load has written.
///
/// # Errors
/// Where it is no page of a timeline.
pub fn keys(body: &[u8]) -> Result<Vec<u64>, String> {
    let key = |post: &Post<'_>| {
        let user = u32::try_from(post.creator.user_id.0).ok()?;
        text::written_by(&post.text, user).map(text::key)
    };
    Ok(posts(body)?.iter().filter_map(key).collect())
}

fn posts(body: &[u8]) -> Result<List<Post<'_>>, String> {
    serde_json::from_slice(body).map_err(|error| format!("no timeline: {error}"))
}

/// Newest first, and none twice.
fn in_order(posts: &[Post<'_>]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut last = u64::MAX;
    for post in posts {
        let (id, time) = (post.post_id.0, post.timestamp.0);
        if !seen.insert(id) {
            return Err(format!("post {id} is there twice"));
        }
        if time > last {
            return Err(format!("post {id} is newer than the one before it"));
        }
        last = time;
    }
    Ok(())
}

/// All of it that its text tells, and that it is by `creator`, where only one can be.
fn whole(post: &Post<'_>, creator: Option<u32>) -> Result<(), String> {
    let id = post.post_id.0;
    let user = post.creator.user_id.0;
    let user = u32::try_from(user).map_err(|_| format!("post {id} is by user {user}"))?;
    if creator.is_some_and(|creator| creator != user) {
        return Err(format!("post {id} is by user {user}"));
    }
    if post.creator.username != user_name(user) {
        return Err(format!("post {id} calls user {user} {:?}", post.creator.username));
    }
    let Some(written) = text::written_by(&post.text, user) else {
        return Err(format!("the text of post {id} is not what user {user} wrote"));
    };
    let words: Vec<_> = post.text[written.len()..].split_ascii_whitespace().collect();
    let of = |prefix: char| words.iter().filter(move |word| word.starts_with(prefix));
    let mentioned: BTreeSet<_> = of('@').map(|word| &word[1..]).collect();
    let told: BTreeSet<_> = post.user_mentions.iter().map(|user| &*user.username).collect();
    if mentioned != told {
        return Err(format!("post {id} mentions {mentioned:?}, and is said to mention {told:?}"));
    }
    for user in &*post.user_mentions {
        if *user.username != user_name(u32::try_from(user.user_id.0).unwrap_or(0)) {
            return Err(format!("post {id} mentions {:?} by a wrong number", user.username));
        }
    }
    let shown: BTreeSet<_> = of('h').copied().collect();
    let short: BTreeSet<_> = post.urls.iter().map(|url| &*url.shortened_url).collect();
    if shown != short || post.urls.iter().any(|url| !url.expanded_url.starts_with("http://")) {
        return Err(format!("post {id} shows the URLs {shown:?}, and is said to show {short:?}"));
    }
    for media in &*post.media {
        if media.media_type != "png" {
            return Err(format!("post {id} has a medium of type {:?}", media.media_type));
        }
    }
    if post.post_type != 0 {
        return Err(format!("post {id} is of type {}", post.post_type));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::asks::{Asks, Mix};
    use crate::random::Random;
    use serde_json::{Value, json};

    fn ask(kind: Kind, user: u32) -> Ask {
        let mut asks = Asks::new(Mix::SocialNetwork { users: 9 }, 1);
        let mut ask = asks.next_ask();
        while ask.kind != kind {
            ask = asks.next_ask();
        }
        ask.user = user;
        ask
    }

    /// A post of user 3.
    fn post(id: u64, timestamp: u64) -> Value {
        let text = text::compose(&mut Random::new(id), 3);
        json!({
            "post_id": id.to_string(), "req_id": "1", "timestamp": timestamp.to_string(), "post_type": 0,
            "creator": { "user_id": "3", "username": "username_3" },
            "text": format!("{text} @username_4 http://short/x"),
            "user_mentions": [{ "user_id": "4", "username": "username_4" }],
            "media": [{ "media_id": "018446744073709551", "media_type": "png" }],
            "urls": [{ "shortened_url": "http://short/x", "expanded_url": "http://long" }],
        })
    }

    fn verdict(kind: Kind, user: u32, page: &Value) -> Result<(), String> {
        check(&ask(kind, user), page.to_string().as_bytes())
    }

    #[test]
    fn a_page_of_whole_posts_newest_first_is_right() {
        let page = json!([post(3, 30), post(2, 20), post(1, 20)]);
        assert_eq!(verdict(Kind::Home, 1, &page), Ok(()));
        assert_eq!(verdict(Kind::User, 3, &page), Ok(()));
        assert_eq!(keys(page.to_string().as_bytes()).unwrap().len(), 3);
        let mut plain = post(9, 9);
        (plain["post_id"], plain["timestamp"]) = (json!(9), json!(1_700_000_000_123u64));
        (plain["urls"], plain["user_mentions"], plain["media"]) = (json!({}), json!({}), json!([]));
        plain["text"] = json!(&post(9, 9)["text"].as_str().unwrap()[..text::LENGTH]);
        for page in [json!([plain]), json!([]), json!({})] {
            assert_eq!(verdict(Kind::User, 3, &page), Ok(()), "{page}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_and_said() {
        let wrong = |page: Value, word: &str| {
            let said = verdict(Kind::User, 3, &page).unwrap_err();
            assert!(said.contains(word), "{said:?} does not say {word:?}");
        };
        wrong(json!([post(1, 10), post(2, 20)]), "newer");
        wrong(json!([post(1, 10), post(1, 10)]), "twice");
        wrong(Value::Array((0..11).map(|id| post(id, 5)).collect()), "11 posts");
        wrong(json!({ "posts": [] }), "an object is no list");
        wrong(json!("sorry"), "no timeline");
        let with = |name: &str, value: Value| {
            let mut post = post(1, 10);
            post[name] = value;
            json!([post])
        };
        wrong(with("post_id", json!("x")), "no number");
        wrong(with("post_type", json!("0")), "no timeline");
        wrong(with("post_type", json!(1)), "of type 1");
        wrong(with("text", json!("hello")), "not what user 3 wrote");
        wrong(
            with("text", post(1, 10)["text"].as_str().unwrap().replace("@username_4", "").into()),
            "mentions {}",
        );
        wrong(with("user_mentions", json!([{ "user_id": "5", "username": "username_4" }])), "wrong number");
        wrong(with("urls", json!([])), "URLs");
        wrong(with("media", json!([{ "media_id": "1", "media_type": "exe" }])), "exe");
        wrong(with("creator", json!({ "user_id": "4", "username": "username_4" })), "by user 4");
        wrong(with("creator", json!({ "user_id": "3", "username": "eve" })), "eve");
        let mut less = post(1, 10);
        less.as_object_mut().unwrap().remove("req_id");
        wrong(json!([less]), "req_id");
        assert_eq!(verdict(Kind::Home, 7, &json!([post(1, 10)])), Ok(()), "on a home timeline all may be");
    }
}
