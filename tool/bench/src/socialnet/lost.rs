//! Posts that were acknowledged and are not there.

use crate::load::{Posted, Server, answer, asks};
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of a timeline that are read at once: the most that the network gives.
const PAGE: u64 = 100;

/// The keys of posts, by users on whose timelines they must be.
type Wanted = BTreeMap<u32, BTreeSet<u64>>;

/// How many of these posts are not on the timelines of their users.
///
/// # Errors
/// Where a timeline cannot be read, or is no timeline.
pub(super) async fn count(server: &Server, posts: impl Iterator<Item = &Posted>) -> Result<usize> {
    missing(server, "user-timeline", gather(posts.map(|post| (post.user, post.key)))).await
}

/// How many times one of these posts is not on the home timeline of a user whom it mentions.
///
/// # Errors
/// As [`count`].
pub(super) async fn unseen(server: &Server, posts: impl Iterator<Item = &Posted>) -> Result<usize> {
    let mentions = posts.flat_map(|post| post.mentioned.iter().map(|user| (*user, post.key)));
    missing(server, "home-timeline", gather(mentions)).await
}

fn gather(posts: impl Iterator<Item = (u32, u64)>) -> Wanted {
    let mut wanted = Wanted::new();
    for (user, key) in posts {
        wanted.entry(user).or_default().insert(key);
    }
    wanted
}

async fn missing(server: &Server, timeline: &str, wanted: Wanted) -> Result<usize> {
    let mut lost = 0;
    for (user, mut missing) in wanted {
        let mut start = 0;
        while !missing.is_empty() {
            let path = asks::timeline_path(timeline, user, start..start + PAGE);
            let body = match server.get(&path).await {
                Ok(body) => body,
                Err((failure, words)) => bail!("the {timeline} of user {user}: {failure}: {words}"),
            };
            let Ok(keys) = answer::keys(&body) else { bail!("the {timeline} of user {user} is none") };
            if keys.is_empty() {
                break;
            }
            for key in keys {
                missing.remove(&key);
            }
            start += PAGE;
        }
        lost += missing.len();
    }
    Ok(lost)
}
