//! The ten services, one file each, and what they have in common.

pub mod compose;
pub mod front;
pub mod graph;
pub mod home;
pub mod media;
pub mod post;
pub mod text;
pub mod timeline;
pub mod url;
pub mod user;

use crate::limits::{MAX_DEPTH, MAX_PAGE};
use crate::peer::Peer;
use crate::proto::{FindRequest, Ids, Page, PostClient, Posts, UserClient};
use sigmaos::rpc::{Bytes, Response, Service};
use sigmaos::{Code, Error, Result, Sigma};

/// Where all of them are.
pub const DIRECTORY: &str = "/sn";

/// Where the shards of the cache are.
pub const CACHE: &str = "/sn/cache";

/// Serves below [`DIRECTORY`] until somebody asks this proc to end.
///
/// # Errors
/// As [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma, name: &str, service: impl Service) -> Result<()> {
    sigma.serve_rpc(&format!("{DIRECTORY}/{name}"), service).await?;
    sigma.started().await?;
    sigma.wait_kill().await
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}

fn too_large(text: impl Into<String>) -> Error {
    Error::new(Code::TooLarge, text)
}

/// The bounds of a page, checked.
fn bounds(page: &Page) -> Result<(u32, u32)> {
    let Page { start, stop, .. } = *page;
    if start > stop {
        return Err(invalid(format!("start {start} is past stop {stop}")));
    }
    if stop - start > MAX_PAGE {
        return Err(invalid(format!("{start} to {stop}: a page has at most {MAX_PAGE} posts")));
    }
    if stop > MAX_DEPTH {
        return Err(invalid(format!("stop {stop}: a timeline is read back to entry {MAX_DEPTH}")));
    }
    Ok((start, stop))
}

/// The posts of a page. A timeline of nobody is an error, which is looked for where there is nothing to show.
async fn posts(
    (users, posts): (&Peer<UserClient>, &Peer<PostClient>),
    user: i64,
    ids: Vec<i64>,
) -> Result<Response<Posts>> {
    if ids.is_empty() {
        let find = FindRequest { ids: vec![user], names: Vec::new() };
        let found = users
            .call(|users| {
                let find = find.clone();
                async move { users.find(find).await }
            })
            .await?;
        if found.people.is_empty() {
            return Err(unknown(user));
        }
        return Ok(Posts { count: 0 }.into());
    }
    let wanted = Ids { ids };
    posts
        .call(|posts| {
            let wanted = wanted.clone();
            async move { posts.read_with(wanted, Bytes::new()).await }
        })
        .await
}

fn unknown(user: i64) -> Error {
    Error::new(Code::NotFound, format!("there is no user {user}"))
}
