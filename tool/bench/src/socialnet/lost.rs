//! Posts that were acknowledged and are not there.

use crate::load::{Posted, Server, answer, asks};
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// How many of the posts that were acknowledged are not on the timelines of their users.
///
/// # Errors
/// Where a timeline cannot be read, or is no timeline.
pub(super) async fn count(server: &Server, posts: &[Posted]) -> Result<usize> {
    let mut by_user: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for post in posts.iter().filter(|post| post.acknowledged) {
        by_user.entry(post.user).or_default().insert(post.key);
    }
    let mut lost = 0;
    for (user, mut missing) in by_user {
        let mut start = 0;
        while !missing.is_empty() {
            let body = match server.get(&asks::timeline_path("user-timeline", user, start)).await {
                Ok(body) => body,
                Err((failure, words)) => bail!("the timeline of user {user}: {failure}: {words}"),
            };
            let Ok(keys) = answer::keys(&body) else { bail!("the timeline of user {user} is none") };
            if keys.is_empty() {
                break;
            }
            for key in keys {
                missing.remove(&key);
            }
            start += asks::PAGE;
        }
        lost += missing.len();
    }
    Ok(lost)
}
