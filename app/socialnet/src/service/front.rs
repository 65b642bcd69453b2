//! Front end: routes requests of HTTP clients to the services. What HTTP is, is in [`crate::http`].

use super::invalid;
use crate::clock::Numbers;
use crate::http;
use crate::http::session::Sessions;
use crate::limits::MAX_PICTURES;
use crate::peer::Peer;
use crate::proto::{
    Attachment, ComposeClient, ComposeRequest, Edge, ExpandRequest, FindRequest, GraphClient, HomeClient,
    Ids, LoginRequest, MediaClient, MediaId, Page, Person, Posts, RegisterRequest, TimelineClient, UrlClient,
    UserClient, UserId,
};
use serde::{Deserialize, Serialize};
use sigmaos::mongo::bson::{Binary, spec::BinarySubtype};
use sigmaos::mongo::{Collection, Mongo, doc};
use sigmaos::rpc::{Bytes, Response};
use sigmaos::{Code, Error, Export, Result, Sigma};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where it is.
pub const NAME: &str = "front";

/// Bytes of the key that signs sessions.
const KEY: usize = 32;

/// The services as the front end calls them.
pub struct Front {
    pub sessions: Sessions,
    pictures: Arc<Semaphore>,
    numbers: Numbers,
    users: Peer<UserClient>,
    graph: Peer<GraphClient>,
    homes: Peer<HomeClient>,
    timelines: Peer<TimelineClient>,
    urls: Peer<UrlClient>,
    media: Peer<MediaClient>,
    composer: Peer<ComposeClient>,
}

/// Serves HTTP at `port`, which this proc publishes, until somebody asks it to end.
///
/// # Errors
/// As [`Mongo::open`] and [`Sigma::published`].
pub async fn serve(sigma: &Sigma, port: u16) -> Result<()> {
    let front = Front {
        sessions: Sessions::new(key(sigma).await?),
        pictures: Arc::new(Semaphore::new(MAX_PICTURES)),
        numbers: Numbers::default(),
        users: Peer::new(sigma, super::user::NAME),
        graph: Peer::new(sigma, super::graph::NAME),
        homes: Peer::new(sigma, super::home::NAME),
        timelines: Peer::new(sigma, super::timeline::NAME),
        urls: Peer::new(sigma, super::url::NAME),
        media: Peer::new(sigma, super::media::NAME),
        composer: Peer::new(sigma, super::compose::NAME),
    };
    let published = sigma.published(port).await?;
    // It has no calls; who looks for it finds that it is there.
    sigma.mount(&format!("{}/{NAME}", super::DIRECTORY), Export::new()).await?;
    sigma.started().await?;
    tokio::select! {
        ended = sigma.wait_kill() => ended,
        broken = http::serve(published, Arc::new(front)) => Err(broken),
    }
}

#[derive(Serialize, Deserialize)]
struct Secret {
    key: Binary,
}

/// The key of this realm's sessions: made once, so that a login outlives a front end.
async fn key(sigma: &Sigma) -> Result<Vec<u8>> {
    let secrets: Collection<Secret> = Mongo::open(sigma).await?.collection("secrets");
    let mut bytes = vec![0; KEY];
    let broken = |error| Error::new(Code::Internal, format!("no random bytes: {error}"));
    getrandom::fill(&mut bytes).map_err(broken)?;
    let key = Binary { subtype: BinarySubtype::Generic, bytes };
    let made = secrets.upsert(doc! { "_id": "session" }, doc! { "$setOnInsert": { "key": key } }).await;
    match made {
        Err(error) if error.code == Code::Exists => {}
        made => drop(made?),
    }
    let found = secrets.find_one(doc! { "_id": "session" }).await?;
    let secret = found.ok_or_else(|| Error::new(Code::Internal, "the key of the sessions has gone"))?;
    Ok(secret.key.bytes)
}

impl Front {
    /// A new number: greater than all before.
    pub fn number(&self) -> i64 {
        self.numbers.now()
    }

    /// # Errors
    /// As the service of users; this is not done twice.
    pub async fn register(&self, request: RegisterRequest) -> Result<Person> {
        let register = |users: UserClient| {
            let request = request.clone();
            async move { users.register(request).await }
        };
        self.users.call_once(register).await
    }

    /// # Errors
    /// `Denied`, for a wrong password and an unknown name alike.
    pub async fn login(&self, request: LoginRequest) -> Result<Person> {
        let login = |users: UserClient| {
            let request = request.clone();
            async move { users.login(request).await }
        };
        self.users.call(login).await
    }

    /// The users of these names, in this order.
    ///
    /// # Errors
    /// `NotFound` for the first that is none.
    pub async fn named(&self, names: &[&str]) -> Result<Vec<Person>> {
        let wanted: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let find = |users: UserClient| {
            let find = FindRequest { ids: Vec::new(), names: wanted.clone() };
            async move { users.find(find).await }
        };
        let people = self.users.call(find).await?.people;
        let found = names.iter().map(|name| {
            let person = people.iter().find(|person| person.name == *name).cloned();
            person.ok_or_else(|| Error::new(Code::NotFound, format!("there is no user {:?}", short(name))))
        });
        found.collect()
    }

    /// Lets one user follow another, or not any more.
    ///
    /// # Errors
    /// As the service of who follows whom.
    pub async fn follow(&self, edge: Edge, follows: bool) -> Result<()> {
        let change = |graph: GraphClient| async move {
            if follows { graph.follow(edge).await } else { graph.unfollow(edge).await }
        };
        self.graph.call(change).await?;
        let refresh =
            |homes: HomeClient| async move { homes.refresh(Ids { ids: vec![edge.follower] }).await };
        self.homes.call(refresh).await.map(drop)
    }

    /// Whom a user follows.
    ///
    /// # Errors
    /// As the service of who follows whom.
    pub async fn followees(&self, user: i64) -> Result<Vec<i64>> {
        Ok(self.graph.call(|graph| async move { graph.followees(UserId { user }).await }).await?.ids)
    }

    /// Makes a post; its id. It may be sent again, since its number stays.
    ///
    /// # Errors
    /// As the service of new posts.
    pub async fn compose(&self, request: ComposeRequest) -> Result<i64> {
        let compose = |composer: ComposeClient| {
            let request = request.clone();
            async move { composer.compose(request).await }
        };
        Ok(self.composer.call(compose).await?.post)
    }

    /// The posts that a user sees, as JSON with commas between them.
    ///
    /// # Errors
    /// `Invalid` for a page that is none; `NotFound` for nobody.
    pub async fn home(&self, page: Page) -> Result<Bytes> {
        let read = |homes: HomeClient| async move { homes.read_with(page, Bytes::new()).await };
        Ok(payload(self.homes.call(read).await?))
    }

    /// The posts that a user has posted, as [`Front::home`].
    ///
    /// # Errors
    /// As [`Front::home`].
    pub async fn timeline(&self, page: Page) -> Result<Bytes> {
        let read = |timelines: TimelineClient| async move { timelines.read_with(page, Bytes::new()).await };
        Ok(payload(self.timelines.call(read).await?))
    }

    /// Where a short link leads.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn expand(&self, key: &str) -> Result<String> {
        let expand = |urls: UrlClient| {
            let request = ExpandRequest { key: key.to_owned() };
            async move { urls.expand(request).await }
        };
        Ok(self.urls.call(expand).await?.long)
    }

    /// A place for a picture in memory, when there is one.
    ///
    /// # Errors
    /// None today.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.pictures).acquire_owned().await;
        place.map_err(|_| Error::new(Code::Internal, "the places are closed"))
    }

    /// Keeps a picture.
    ///
    /// # Errors
    /// `Invalid` where it is none; `TooLarge`.
    pub async fn keep_picture(&self, picture: Bytes) -> Result<Attachment> {
        if picture.is_empty() {
            return Err(invalid("the picture is empty"));
        }
        let id = self.number();
        let store = |media: MediaClient| {
            let picture = picture.clone();
            async move { media.store_with(MediaId { id }, picture).await }
        };
        Ok(self.media.call(store).await?.message)
    }

    /// A picture and its type.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn picture(&self, id: i64) -> Result<(String, Bytes)> {
        let read = |media: MediaClient| async move { media.read_with(MediaId { id }, Bytes::new()).await };
        let reply = self.media.call(read).await?;
        Ok((reply.message.r#type, reply.payload))
    }
}

fn payload(reply: Response<Posts>) -> Bytes {
    reply.payload
}

fn short(name: &str) -> String {
    name.chars().take(crate::limits::MAX_NAME).collect()
}
