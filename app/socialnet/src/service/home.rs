//! Home: updates and reads what a user's home page shows.

use super::{CACHE, bounds, posts, serve as run};
use crate::hot::Hot;
use crate::peer::Peer;
use crate::proto::{
    Done, GraphClient, Home, HomeAdd, HomeServer, Ids, NewestRequest, Page, PostClient, Posts, UserClient,
    UserId,
};
use cache::Cache;
use sigmaos::rpc::{Request, Response};
use sigmaos::{Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "home";

struct Homes {
    hot: Hot,
    users: Peer<UserClient>,
    posts: Peer<PostClient>,
    graph: Peer<GraphClient>,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Cache::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let homes = Homes {
        hot: Hot::new(Cache::open(sigma, CACHE).await?, NAME),
        users: Peer::new(sigma, super::user::NAME),
        posts: Peer::new(sigma, super::post::NAME),
        graph: Peer::new(sigma, super::graph::NAME),
    };
    run(sigma, NAME, HomeServer(Arc::new(homes))).await
}

impl Homes {
    /// What the user is to see: of those whom the user follows now, and what mentions the user.
    async fn newest(&self, user: i64, limit: u32) -> Result<Vec<i64>> {
        let followees =
            self.graph.call(|graph| async move { graph.followees(UserId { user }).await }).await?;
        let wanted = NewestRequest { creators: followees.ids, mentioned: Some(user), limit };
        let newest = |posts: PostClient| {
            let wanted = wanted.clone();
            async move { posts.newest(wanted).await }
        };
        Ok(self.posts.call(newest).await?.ids)
    }
}

impl Home for Homes {
    async fn add(&self, request: Request<HomeAdd>) -> Result<Response<Done>> {
        let HomeAdd { creator: user, post, mentioned } = request.message;
        let followers =
            self.graph.call(|graph| async move { graph.followers(UserId { user }).await }).await?;
        let mut users = followers.ids;
        users.extend(mentioned);
        users.sort_unstable();
        users.dedup();
        self.hot.add(&users, post).await;
        Ok(Done {}.into())
    }

    async fn read(&self, request: Request<Page>) -> Result<Response<Posts>> {
        let page = request.message;
        let ids = self.hot.page(page.user, bounds(&page)?, |limit| self.newest(page.user, limit)).await?;
        posts((&self.users, &self.posts), page.user, ids).await
    }

    async fn refresh(&self, request: Request<Ids>) -> Result<Response<Done>> {
        let users = request.message.ids;
        if users.is_empty() {
            self.hot.refresh_all();
        }
        self.hot.refresh(&users).await;
        Ok(Done {}.into())
    }
}
