//! Post: stores and reads posts.

use super::{CACHE, invalid, serve as run, too_large};
use crate::limits::{MAX_DEPTH, MAX_PAGE, MAX_POST};
use crate::proto::{Done, Ids, NewestRequest, Post, PostServer, Posts, StoreRequest};
use cache::Cache;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sigmaos::mongo::{Collection, Document, Mongo, doc};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::{Code, Result, Sigma};
use std::collections::HashMap;
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "post";

/// Questions to the store that one call has in flight.
const ABREAST: usize = 16;

/// The least number of posts of one user that are asked for at first.
const FIRST_LOOK: u32 = 8;

struct Archive {
    posts: Collection<Stored>,
    cache: Cache,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: i64,
    /// The id once more: not every store has indexes over `_id` and something else.
    at: i64,
    creator: i64,
    mentioned: Vec<i64>,
    /// The post as clients read it: JSON.
    body: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "_id")]
    id: i64,
    body: String,
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "_id")]
    id: i64,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Mongo::open`], [`Cache::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let posts = Mongo::open(sigma).await?.collection("posts");
    posts.create_index(doc! { "creator": 1, "at": -1 }, false).await?;
    posts.create_index(doc! { "mentioned": 1, "at": -1 }, false).await?;
    let cache = Cache::open(sigma, CACHE).await?;
    run(sigma, NAME, PostServer(Arc::new(Archive { posts, cache }))).await
}

/// A post as clients read it, numbers that JavaScript would round as strings.
fn body(post: &StoreRequest) -> String {
    let person = |id: i64, name: &str| json!({ "user_id": id.to_string(), "username": name });
    let creator = post.creator.clone().unwrap_or_default();
    json!({
        "post_id": post.id.to_string(),
        "req_id": post.id.to_string(),
        "creator": person(creator.id, &creator.name),
        "text": post.text,
        "user_mentions": post.mentions.iter().map(|user| person(user.id, &user.name)).collect::<Vec<_>>(),
        "media": post.media.iter().map(|media| {
            json!({ "media_id": media.id.to_string(), "media_type": media.r#type })
        }).collect::<Vec<_>>(),
        "urls": post.urls.iter().map(|url| {
            json!({ "shortened_url": url.short, "expanded_url": url.long })
        }).collect::<Vec<_>>(),
        "timestamp": post.timestamp_ms.to_string(),
        "post_type": post.r#type,
    })
    .to_string()
}

fn key(id: i64) -> Bytes {
    format!("{NAME}/{id}").into()
}

impl Archive {
    /// The ids of so many of the newest posts that a filter finds.
    async fn ids(&self, filter: Document, limit: u32) -> Result<Vec<i64>> {
        let ids = self.posts.with_type::<Id>().find(filter).sort(doc! { "at": -1 }).limit(limit.into());
        let ids = ids.projection(doc! { "_id": 1 }).all().await?;
        Ok(ids.into_iter().map(|found| found.id).collect())
    }

    /// The ids of so many of the newest posts of each of some users.
    async fn each(&self, creators: Vec<i64>, limit: u32) -> Result<Vec<(i64, Vec<i64>)>> {
        let all = stream::iter(creators).map(|creator| async move {
            Ok::<_, sigmaos::Error>((creator, self.ids(doc! { "creator": creator }, limit).await?))
        });
        all.buffered(ABREAST).try_collect().await
    }

    /// The ids of so many of the newest posts of some users.
    async fn posted(&self, creators: &[i64], limit: u32) -> Result<Vec<i64>> {
        if creators.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        // Most users have few of the newest posts of many: only those that may have more are asked again.
        let look = (4 * limit / creators.len() as u32).clamp(FIRST_LOOK.min(limit), limit);
        let lists = self.each(creators.to_vec(), look).await?;
        let ids = merge(lists.iter().flat_map(|(_, list)| list.clone()).collect(), limit);
        let least = if ids.len() < limit as usize { 0 } else { ids[ids.len() - 1] };
        let full = lists.into_iter().filter(|(_, list)| list.len() == look as usize && look < limit);
        let more = full.filter(|(_, list)| list.last() > Some(&least)).map(|(creator, _)| creator);
        let longer = self.each(more.collect(), limit).await?.into_iter().flat_map(|(_, list)| list);
        Ok(merge(ids.into_iter().chain(longer).collect(), limit))
    }

    /// Puts posts into the cache. One that does not take them has none.
    async fn keep(&self, posts: Vec<(i64, Bytes)>) {
        let puts = stream::iter(posts)
            .map(|(id, body)| async move { drop(self.cache.put(&key(id), body, None).await) });
        puts.buffer_unordered(ABREAST).collect().await
    }
}

impl Post for Archive {
    async fn store(&self, request: Request<StoreRequest>) -> Result<Response<Done>> {
        let post = request.message;
        let body = body(&post);
        if post.id <= 0 || post.creator.is_none() {
            return Err(invalid(format!("post {} has no number or no creator", post.id)));
        }
        if body.len() > MAX_POST {
            return Err(too_large(format!("a post of {} bytes: the limit is {MAX_POST}", body.len())));
        }
        let creator = post.creator.map_or(0, |creator| creator.id);
        let mentioned = post.mentions.iter().map(|user| user.id).collect();
        let stored = Stored { id: post.id, at: post.id, creator, mentioned, body };
        match self.posts.insert_one(&stored).await {
            // It was sent again. What is in the store is what everybody sees.
            Err(error) if error.code == Code::Exists => {}
            done => {
                done?;
                self.keep(vec![(stored.id, stored.body.into())]).await;
            }
        }
        Ok(Done {}.into())
    }

    async fn read(&self, request: Request<Ids>) -> Result<Response<Posts>> {
        let ids = request.message.ids;
        if ids.len() > MAX_PAGE as usize {
            return Err(invalid(format!("{} posts: a call reads at most {MAX_PAGE}", ids.len())));
        }
        let keys: Vec<_> = ids.iter().map(|id| key(*id)).collect();
        // A cache that does not answer has nothing.
        let hot = self.cache.get_many(&keys).await.unwrap_or_else(|_| vec![None; ids.len()]);
        let missing: Vec<_> =
            ids.iter().zip(&hot).filter(|(_, hot)| hot.is_none()).map(|(id, _)| *id).collect();
        let mut found = HashMap::new();
        if !missing.is_empty() {
            let cold = self.posts.with_type::<Body>().find(doc! { "_id": { "$in": missing } });
            let cold = cold.projection(doc! { "body": 1 }).all().await?;
            let cold: Vec<_> = cold.into_iter().map(|post| (post.id, Bytes::from(post.body))).collect();
            found.extend(cold.iter().cloned());
            self.keep(cold).await;
        }
        let (mut all, mut count) = (Vec::new(), 0);
        for post in ids.iter().zip(hot).filter_map(|(id, hot)| hot.or_else(|| found.remove(id))) {
            if count > 0 {
                all.push(b',');
            }
            count += 1;
            all.extend_from_slice(&post);
        }
        Ok(Response::new(Posts { count }).payload(all.into()))
    }

    async fn newest(&self, request: Request<NewestRequest>) -> Result<Response<Ids>> {
        let NewestRequest { creators, mentioned, limit } = request.message;
        if limit > MAX_DEPTH {
            return Err(invalid(format!("{limit} posts: a call finds at most {MAX_DEPTH}")));
        }
        let mut ids = self.posted(&creators, limit).await?;
        if let Some(user) = mentioned {
            // What is older than all that is shown need not be looked at.
            let since = if ids.len() < limit as usize { 0 } else { ids[ids.len() - 1] };
            let filter = doc! { "mentioned": user, "at": { "$gte": since } };
            ids.extend(self.ids(filter, limit).await?);
        }
        Ok(Ids { ids: merge(ids, limit) }.into())
    }
}

/// The newest of these, each once.
fn merge(mut ids: Vec<i64>, limit: u32) -> Vec<i64> {
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.dedup();
    ids.truncate(limit as usize);
    ids
}
