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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::asks::Asks;
    use crate::load::tests::{Does, serve};
    use crate::load::{Kind, Mix};
    use serde_json::json;

    /// Posts of the load that mention somebody, each also as a timeline shows it.
    fn posts() -> impl Iterator<Item = (Posted, String)> {
        let mut asks = Asks::new(Mix::SocialNetwork { users: 50 }, 1);
        let asks = std::iter::repeat_with(move || asks.next_ask());
        asks.filter(|ask| ask.kind == Kind::Compose && !ask.mentioned.is_empty()).map(|ask| {
            let body = ask.body.unwrap();
            let text = body.split("&text=").nth(1).unwrap().split(['+', '&']).next().unwrap();
            let shown = json!({
                "post_id": "1", "req_id": "1", "timestamp": "1", "post_type": 0, "text": text,
                "creator": { "user_id": ask.user.to_string(), "username": asks::user_name(ask.user) },
                "user_mentions": [], "media": [], "urls": [],
            });
            let (user, key, mentioned) = (ask.user, ask.key, ask.mentioned);
            (Posted { user, key, mentioned, acknowledged: true }, shown.to_string())
        })
    }

    /// Of a post that is on the second page of timelines of this kind, behind another one: how often it is missing on the timeline
    /// of its user, and on home timelines.
    fn missing_where_it_is_on(kind: &'static str) -> (usize, usize) {
        let mut posts = posts();
        let ((posted, shown), (_, other)) = (posts.next().unwrap(), posts.next().unwrap());
        let address = serve(move |_, line| {
            let page = match line {
                line if line.contains("start=0&") => &*other,
                line if line.contains("start=100&") && line.contains(kind) => &*shown,
                _ => "",
            };
            Does::Answers("200 OK", format!("[{page}]"))
        });
        let server = Server { address, host: "here".into(), path: "/".into() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let posts = [posted];
        runtime.block_on(async {
            let lost = count(&server, posts.iter()).await.unwrap();
            (lost, unseen(&server, posts.iter()).await.unwrap())
        })
    }

    #[test]
    fn a_post_that_a_timeline_does_not_show_is_counted() {
        let mentions = posts().next().unwrap().0.mentioned.into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!(missing_where_it_is_on("-timeline"), (0, 0));
        assert_eq!(missing_where_it_is_on("user-timeline"), (0, mentions));
        assert_eq!(missing_where_it_is_on("home-timeline"), (1, 0));
        assert_eq!(missing_where_it_is_on("nowhere"), (1, mentions));
    }
}
