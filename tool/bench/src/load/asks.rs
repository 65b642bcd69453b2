//! What requests ask for: the mix of thesis Figure 4.5 over DeathStarBench's `/wrk2-api`, or the URLs as they are.

use super::text;
use crate::random::Random;
use std::fmt::{self, Write};
use std::ops::Range;

/// Users of the social network where nothing else is said: those of DeathStarBench's graph. They are numbered from 0, as `socialnet seed` does.
pub const DEFAULT_USERS: u32 = 962;

/// Of a hundred requests, so many read a home timeline, and so many that of a user; the others write a post (thesis, Figure 4.5).
const HOME: u64 = 60;
const USER: u64 = 30;

/// A read begins at an entry below this, and asks for so many.
const STARTS: u64 = 100;
pub const PAGE: u64 = 10;

/// The most mentions, URLs and media of a post, each.
const MOST: u64 = 5;

/// Characters of a URL after its scheme, and digits of a medium's id.
const URL: usize = 64;
const MEDIA_DIGITS: u64 = 1_000_000_000_000_000_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// The paths of the URLs.
    Get,
    /// 10 % compose, 60 % home timeline, 30 % user timeline, among so many users: at least 2.
    SocialNetwork { users: u32 },
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Get,
    Compose,
    Home,
    User,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub kind: Kind,
    /// Whose timeline, or who writes.
    pub user: u32,
    /// With the query; empty: that of the server's URL.
    pub path: String,
    /// Of a request that writes: form-encoded.
    pub body: Option<String>,
    /// Of a post: by which it is found again (`text::key`).
    pub key: u64,
    /// Of a post: users whom its text names, some of them twice.
    pub mentioned: Vec<u32>,
}

/// An endless sequence of requests.
#[derive(Clone, Debug)]
pub struct Asks {
    mix: Mix,
    random: Random,
}

impl Asks {
    pub fn new(mix: Mix, seed: u64) -> Self {
        // Not the numbers by which the schedule is made.
        Self { mix, random: Random::new(!seed) }
    }

    pub fn next_ask(&mut self) -> Ask {
        let Mix::SocialNetwork { users } = self.mix else {
            return Ask {
                kind: Kind::Get,
                user: 0,
                path: String::new(),
                body: None,
                key: 0,
                mentioned: Vec::new(),
            };
        };
        match self.random.below(100) {
            0..HOME => self.read(Kind::Home, "home-timeline", users),
            coin if coin < HOME + USER => self.read(Kind::User, "user-timeline", users),
            _ => self.compose(users),
        }
    }

    fn read(&mut self, kind: Kind, timeline: &str, users: u32) -> Ask {
        let user = self.user(users);
        let start = self.random.below(STARTS);
        let path = timeline_path(timeline, user, start..start + PAGE);
        Ask { kind, user, path, body: None, key: 0, mentioned: Vec::new() }
    }

    fn compose(&mut self, users: u32) -> Ask {
        let user = self.user(users);
        let mut text = text::compose(&mut self.random, user);
        let key = text::key(&text);
        let mut mentioned = Vec::new();
        for _ in 0..self.random.below(MOST + 1) {
            let other = (user + 1 + self.random.below(u64::from(users) - 1) as u32) % users;
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, " @{}", user_name(other));
            mentioned.push(other);
        }
        for _ in 0..self.random.below(MOST + 1) {
            let _ = write!(text, " http://{}", text::letters(&mut self.random, URL));
        }
        let media: Vec<_> = (0..self.random.below(MOST + 1))
            .map(|_| format!("\"{:018}\"", self.random.below(MEDIA_DIGITS)))
            .collect();
        let types = vec!["\"png\""; media.len()];
        let body = form(&[
            ("username", &user_name(user)),
            ("user_id", &user.to_string()),
            ("text", &text),
            ("media_ids", &format!("[{}]", media.join(","))),
            ("media_types", &format!("[{}]", types.join(","))),
            ("post_type", "0"),
        ]);
        let path = "/wrk2-api/post/compose".into();
        Ask { kind: Kind::Compose, user, path, body: Some(body), key, mentioned }
    }

    fn user(&mut self, users: u32) -> u32 {
        self.random.below(users.into()) as u32
    }
}

/// The path of a page of a timeline, `home-timeline` or `user-timeline`: these entries of it.
pub fn timeline_path(timeline: &str, user: u32, entries: Range<u64>) -> String {
    let Range { start, end } = entries;
    format!("/wrk2-api/{timeline}/read?user_id={user}&start={start}&stop={end}")
}

/// As DeathStarBench names its users.
pub fn user_name(user: u32) -> String {
    format!("username_{user}")
}

/// A body of `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        for byte in value.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'*' => body.push(byte.into()),
                b' ' => body.push('+'),
                _ => {
                    let _ = write!(body, "%{byte:02X}");
                }
            }
        }
    }
    body
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "get",
            Self::Compose => "compose",
            Self::Home => "read home",
            Self::User => "read user",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn asks(users: u32, seed: u64) -> Vec<Ask> {
        let mut asks = Asks::new(Mix::SocialNetwork { users }, seed);
        (0..10_000).map(|_| asks.next_ask()).collect()
    }

    #[test]
    fn the_mix_is_that_of_the_thesis_and_of_its_seed() {
        let all = asks(DEFAULT_USERS, 1);
        let mut counts = BTreeMap::new();
        all.iter().for_each(|ask| *counts.entry(ask.kind).or_insert(0) += 1);
        for (kind, expect) in [(Kind::Compose, 1000), (Kind::Home, 6000), (Kind::User, 3000)] {
            assert!(i32::abs(counts[&kind] - expect) < 250, "{kind}: {} of 10000", counts[&kind]);
        }
        assert_eq!(all, asks(DEFAULT_USERS, 1));
        assert_ne!(all, asks(DEFAULT_USERS, 2));
    }

    #[test]
    fn every_user_is_asked_for_and_nobody_else() {
        let users: BTreeSet<_> = asks(50, 1).iter().map(|ask| ask.user).collect();
        assert_eq!(users, (0..50).collect());
    }

    #[test]
    fn a_read_asks_for_a_page() {
        let all = asks(9, 1);
        let read = all.iter().find(|ask| ask.kind == Kind::Home).unwrap();
        let start: u64 =
            read.path.rsplit("start=").next().unwrap().split('&').next().unwrap().parse().unwrap();
        let expect =
            format!("/wrk2-api/home-timeline/read?user_id={}&start={start}&stop={}", read.user, start + PAGE);
        assert_eq!(read.path, expect);
        assert!(start < STARTS && read.body.is_none());
    }

    #[test]
    fn a_post_has_text_mentions_urls_and_media_in_bounds() {
        let (mut mentions, mut urls, mut media) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for ask in asks(2, 1).iter().filter(|ask| ask.kind == Kind::Compose) {
            let body = ask.body.as_deref().unwrap();
            let text = body.split("&text=").nth(1).unwrap().split('&').next().unwrap();
            let words: Vec<_> = text.split('+').collect();
            assert_eq!(text::written_by(words[0], ask.user).map(text::key), Some(ask.key));
            let other = format!("%40username_{}", 1 - ask.user);
            let mentioned = words.iter().filter(|word| word.starts_with("%40")).count();
            assert_eq!(
                mentioned,
                words.iter().filter(|word| **word == other).count(),
                "nobody mentions himself"
            );
            assert_eq!(ask.mentioned, vec![1 - ask.user; mentioned]);
            mentions.insert(mentioned);
            urls.insert(words.iter().filter(|word| word.starts_with("http%3A%2F%2F")).count());
            media.insert(body.matches("%22png%22").count());
        }
        let expect: BTreeSet<_> = (0..=5).collect();
        assert_eq!([mentions, urls, media], [expect.clone(), expect.clone(), expect]);
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(form(&[("a", "x y"), ("b", "[\"1\"]&é")]), "a=x+y&b=%5B%221%22%5D%26%C3%A9");
    }
}
