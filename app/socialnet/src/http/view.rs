//! What the web page shows, as its templates take it. They escape all that they are given.

use crate::service::url::SHORT_PATH;
use crate::words::{self, parts};
use serde::Deserialize;
use sigmaos::{Code, Error, Result};

/// A post as the services give it.
#[derive(Debug, Deserialize)]
struct Json {
    creator: User,
    text: String,
    user_mentions: Vec<User>,
    media: Vec<Media>,
    urls: Vec<Url>,
    timestamp: String,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Deserialize)]
struct Media {
    media_id: String,
}

#[derive(Debug, Deserialize)]
struct Url {
    shortened_url: String,
    expanded_url: String,
}

/// A post as it is shown.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) creator: String,
    /// Its first letter, for the place of a picture.
    pub(super) initial: char,
    /// One of the colours of the style sheet.
    pub(super) colour: u8,
    pub(super) age: String,
    pub(super) parts: Vec<Part>,
    pub(super) pictures: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Link {
        to: String,
        shown: String,
    },
    /// A user's name, which is shown behind an `@`.
    Mention(String),
}

/// Characters of a link that are shown.
const SHOWN: usize = 40;

/// Colours of the style sheet.
const COLOURS: u32 = 6;

/// The posts of a page.
///
/// # Errors
/// `Internal` for what is no list of posts.
pub(super) fn posts(json: &[u8], now_ms: u64) -> Result<Vec<Post>> {
    let list = [b"[", json, b"]"].concat();
    let posts: Vec<Json> = serde_json::from_slice(&list)
        .map_err(|error| Error::new(Code::Internal, format!("what the services gave is no post: {error}")))?;
    Ok(posts.into_iter().map(|post| Post::new(post, now_ms)).collect())
}

/// The colour of a name.
pub(super) fn colour(name: &str) -> u8 {
    (name.bytes().map(u32::from).sum::<u32>() % COLOURS) as u8
}

impl Post {
    fn new(post: Json, now_ms: u64) -> Self {
        let creator = post.creator.username;
        let posted_ms = post.timestamp.parse().unwrap_or(now_ms);
        let parts = parts(&post.text).into_iter().map(|part| match part {
            words::Part::Link(link) => match post.urls.iter().find(|url| url.shortened_url == link) {
                Some(url) => linked(url),
                None => Part::Text(link.to_owned()),
            },
            words::Part::Mention(name) if post.user_mentions.iter().any(|user| user.username == name) => {
                Part::Mention(name.to_owned())
            }
            words::Part::Mention(text) | words::Part::Text(text) => Part::Text(text.to_owned()),
        });
        let parts = whole_mentions(parts.collect());
        Self {
            initial: creator.chars().next().unwrap_or('?').to_ascii_uppercase(),
            colour: colour(&creator),
            creator,
            age: age(now_ms.saturating_sub(posted_ms)),
            parts,
            pictures: post.media.into_iter().map(|media| media.media_id).collect(),
        }
    }
}

/// The `@` before a mention is a part of it.
fn whole_mentions(mut parts: Vec<Part>) -> Vec<Part> {
    for at in 1..parts.len() {
        if let [Part::Text(before), Part::Mention(_)] = &mut parts[at - 1..=at] {
            before.pop();
        }
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    parts
}

fn linked(url: &Url) -> Part {
    let key = url.shortened_url.rsplit('/').next().unwrap_or_default();
    let bare = url.expanded_url.split_once("://").map_or(url.expanded_url.as_str(), |(_, bare)| bare);
    let mut shown: String = bare.chars().take(SHOWN).collect();
    if shown.len() < bare.len() {
        shown.push('…');
    }
    Part::Link { to: format!("{SHORT_PATH}{key}"), shown }
}

fn age(ms: u64) -> String {
    let (minutes, hours, days) = (ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match (days, hours, minutes) {
        (0, 0, 0) => "now".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_shown_with_links_and_mentions_and_all_else_as_text() {
        let json = r#"{"post_id":"1","req_id":"1","creator":{"user_id":"7","username":"ada"},"text":"<b> @bob @nobody http://l/s/K http://other","user_mentions":[{"user_id":"8","username":"bob"}],"media":[{"media_id":"9","media_type":"png"}],"urls":[{"shortened_url":"http://l/s/K","expanded_url":"https://example.org/a"}],"timestamp":"1000","post_type":0}"#;
        let post = posts(json.as_bytes(), 125_000).unwrap().remove(0);
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(
            post.parts,
            [
                text("<b> "),
                Part::Mention("bob".into()),
                text(" @"),
                text("nobody"),
                text(" "),
                Part::Link { to: "/s/K".into(), shown: "example.org/a".into() },
                text(" "),
                text("http://other"),
            ]
        );
        assert_eq!(
            (post.initial, post.age.as_str(), &post.pictures[..]),
            ('A', "2 min", &["9".to_owned()][..])
        );
        assert!(posts(b"", 0).unwrap().is_empty());
        assert_eq!(posts(b"{}", 0).unwrap_err().code, Code::Internal);
    }
}
