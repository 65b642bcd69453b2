//! Timeline: updates and reads what a user has posted.

use super::{CACHE, bounds, posts, serve as run};
use crate::hot::Hot;
use crate::peer::Peer;
use crate::proto::{
    Done, NewestRequest, Page, PostClient, Posts, Timeline, TimelineAdd, TimelineServer, UserClient,
};
use cache::Cache;
use sigmaos::rpc::{Request, Response};
use sigmaos::{Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "timeline";

struct Timelines {
    hot: Hot,
    users: Peer<UserClient>,
    posts: Peer<PostClient>,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Cache::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let hot = Hot::new(Cache::open(sigma, CACHE).await?, NAME);
    let users = Peer::new(sigma, super::user::NAME);
    let posts = Peer::new(sigma, super::post::NAME);
    run(sigma, NAME, TimelineServer(Arc::new(Timelines { hot, users, posts }))).await
}

impl Timelines {
    async fn newest(&self, user: i64, limit: u32) -> Result<Vec<i64>> {
        let newest = |posts: PostClient| {
            let request = NewestRequest { creators: vec![user], mentioned: None, limit };
            async move { posts.newest(request).await }
        };
        Ok(self.posts.call(newest).await?.ids)
    }
}

impl Timeline for Timelines {
    async fn add(&self, request: Request<TimelineAdd>) -> Result<Response<Done>> {
        let TimelineAdd { user, post } = request.message;
        self.hot.add(&[user], post).await;
        Ok(Done {}.into())
    }

    async fn read(&self, request: Request<Page>) -> Result<Response<Posts>> {
        let page = request.message;
        let ids = self.hot.page(page.user, bounds(&page)?, |limit| self.newest(page.user, limit)).await?;
        posts((&self.users, &self.posts), page.user, ids).await
    }
}
