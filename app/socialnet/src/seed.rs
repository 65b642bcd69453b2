//! `socialnet seed`: users who follow each other, by calls of many at once.

use crate::graph::Graph;
use crate::limits::{MAX_EDGES, MAX_REGISTER};
use crate::options::Seed;
use crate::peer::Peer;
use crate::proto::{
    Edge, Edges, GraphClient, HomeClient, Ids, RegisterManyRequest, RegisterRequest, UserClient,
};
use crate::service;
use sigmaos::{Code, Error, Result, Sigma};

/// Characters of the bar.
const BAR: usize = 40;

/// Adds the users of a graph that are not there yet, as DeathStarBench names them, and lets each two friends follow each other.
///
/// # Errors
/// What the services answer; `Invalid` for files that are no graph.
pub async fn seed(sigma: &Sigma, options: &Seed) -> Result<()> {
    sigma.started().await?;
    let graph = match &options.graph {
        None => Graph::power_law(options.seed, options.users, options.degree),
        Some(file) => {
            let (nodes, edges) = (read(sigma, file, "nodes").await?, read(sigma, file, "edges").await?);
            let graph = Graph::parse(&nodes, &edges);
            graph.map_err(|error| Error::new(Code::Invalid, format!("{file}: {error}")))?
        }
    };
    let users = Peer::<UserClient>::new(sigma, service::user::NAME);
    let mut bar = Bar::new("users", graph.users as usize);
    let ids: Vec<_> = (0..graph.users).collect();
    for ids in ids.chunks(MAX_REGISTER) {
        let request = RegisterManyRequest { users: ids.iter().map(|id| user(*id)).collect() };
        let register = |users: UserClient| {
            let request = request.clone();
            async move { users.register_many(request).await }
        };
        users.call(register).await?;
        bar.more(ids.len());
    }
    let follows = Peer::<GraphClient>::new(sigma, service::graph::NAME);
    let mut bar = Bar::new("follows", graph.edges.len() * 2);
    let both = graph.edges.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
    let edges: Vec<_> =
        both.map(|(one, other)| Edge { follower: one.into(), followee: other.into() }).collect();
    for edges in edges.chunks(MAX_EDGES) {
        let request = Edges { edges: edges.to_vec() };
        let follow = |graph: GraphClient| {
            let request = request.clone();
            async move { graph.follow_many(request).await }
        };
        follows.call(follow).await?;
        bar.more(edges.len());
    }
    let homes = Peer::<HomeClient>::new(sigma, service::home::NAME);
    homes.call(|homes| async move { homes.refresh(Ids::default()).await }).await?;
    println!("{} users, {} follows", graph.users, edges.len());
    Ok(())
}

fn user(id: u32) -> RegisterRequest {
    RegisterRequest {
        id: Some(id.into()),
        name: format!("username_{id}"),
        first_name: format!("first_name_{id}"),
        last_name: format!("last_name_{id}"),
        password: format!("password_{id}"),
    }
}

async fn read(sigma: &Sigma, file: &str, part: &str) -> Result<String> {
    let path = format!("{file}.{part}");
    let bytes = sigma.open(&path).await?.read_to_end().await?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(Code::Invalid, format!("{path} is no text")))
}

/// A progress bar on standard error, drawn when a further hundredth is done.
struct Bar {
    what: &'static str,
    all: usize,
    done: usize,
    drawn: usize,
}

impl Bar {
    fn new(what: &'static str, all: usize) -> Self {
        Self { what, all, done: 0, drawn: 0 }
    }

    fn more(&mut self, count: usize) {
        self.done += count;
        let percent = self.done * 100 / self.all.max(1);
        if percent > self.drawn {
            self.drawn = percent;
            let full = "#".repeat(percent * BAR / 100);
            let end = if self.done == self.all { "\n" } else { "" };
            eprint!("\r{:>8} [{full:<BAR$}] {percent:>3} % {}/{}{end}", self.what, self.done, self.all);
        }
    }
}
