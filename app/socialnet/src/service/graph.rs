//! Graph: who follows whom. One document for each edge, so that following and unfollowing at the same time leave it there or not,
//! for both of its ends alike.

use super::{invalid, serve as run, too_large, unknown};
use crate::limits::MAX_EDGES;
use crate::peer::Peer;
use crate::proto::{Done, Edge, Edges, FindRequest, Graph, GraphServer, Ids, UserClient, UserId};
use serde::{Deserialize, Serialize};
use sigmaos::mongo::{Collection, Mongo, doc};
use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "graph";

struct Follows {
    edges: Collection<Stored>,
    users: Peer<UserClient>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: String,
    follower: i64,
    followee: i64,
}

#[derive(Deserialize)]
struct Follower {
    follower: i64,
}

#[derive(Deserialize)]
struct Followee {
    followee: i64,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Mongo::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let edges = Mongo::open(sigma).await?.collection("follows");
    edges.create_index(doc! { "follower": 1 }, false).await?;
    edges.create_index(doc! { "followee": 1 }, false).await?;
    let users = Peer::new(sigma, super::user::NAME);
    run(sigma, NAME, GraphServer(Arc::new(Follows { edges, users }))).await
}

fn id(edge: &Edge) -> String {
    format!("{}>{}", edge.follower, edge.followee)
}

impl Follows {
    /// Both ends are users, and not the same.
    async fn check(&self, edge: &Edge) -> Result<()> {
        if edge.follower == edge.followee {
            return Err(invalid("nobody follows oneself"));
        }
        let both = [edge.follower, edge.followee];
        let find = |users: UserClient| {
            let find = FindRequest { ids: both.to_vec(), names: Vec::new() };
            async move { users.find(find).await }
        };
        let people = self.users.call(find).await?.people;
        match both.into_iter().find(|user| people.iter().all(|person| person.id != *user)) {
            Some(user) => Err(unknown(user)),
            None => Ok(()),
        }
    }
}

impl Graph for Follows {
    async fn follow(&self, request: Request<Edge>) -> Result<Response<Done>> {
        let edge = request.message;
        self.check(&edge).await?;
        let ends = doc! { "$setOnInsert": { "follower": edge.follower, "followee": edge.followee } };
        match self.edges.upsert(doc! { "_id": id(&edge) }, ends).await {
            // Somebody else asked for the same at the same time.
            Err(error) if error.code == Code::Exists => {}
            followed => drop(followed?),
        }
        Ok(Done {}.into())
    }

    async fn unfollow(&self, request: Request<Edge>) -> Result<Response<Done>> {
        let edge = request.message;
        self.check(&edge).await?;
        self.edges.delete_one(doc! { "_id": id(&edge) }).await?;
        Ok(Done {}.into())
    }

    async fn follow_many(&self, request: Request<Edges>) -> Result<Response<Done>> {
        let edges = request.message.edges;
        if edges.len() > MAX_EDGES {
            return Err(too_large(format!("{} edges: a call has at most {MAX_EDGES}", edges.len())));
        }
        let ids: Vec<_> = edges.iter().map(id).collect();
        let there = self.edges.find(doc! { "_id": { "$in": ids } }).all().await?;
        let there: std::collections::HashSet<_> = there.into_iter().map(|stored| stored.id).collect();
        let new: Vec<_> = edges
            .iter()
            .filter(|edge| edge.follower != edge.followee && !there.contains(&id(edge)))
            .map(|edge| Stored { id: id(edge), follower: edge.follower, followee: edge.followee })
            .collect();
        if !new.is_empty() {
            self.edges.insert_many(&new).await?;
        }
        Ok(Done {}.into())
    }

    async fn followers(&self, request: Request<UserId>) -> Result<Response<Ids>> {
        let edges = self.edges.with_type::<Follower>();
        let found = edges.find(doc! { "followee": request.message.user });
        let all = found.projection(doc! { "follower": 1, "_id": 0 }).all().await?;
        Ok(Ids { ids: all.into_iter().map(|edge| edge.follower).collect() }.into())
    }

    async fn followees(&self, request: Request<UserId>) -> Result<Response<Ids>> {
        let edges = self.edges.with_type::<Followee>();
        let found = edges.find(doc! { "follower": request.message.user });
        let all = found.projection(doc! { "followee": 1, "_id": 0 }).all().await?;
        Ok(Ids { ids: all.into_iter().map(|edge| edge.followee).collect() }.into())
    }
}
