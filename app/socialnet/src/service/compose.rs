//! Compose: processes new posts.

use super::{invalid, serve as run, unknown};
use crate::clock::given_ms;
use crate::peer::Peer;
use crate::proto::{
    Attachment, Compose, ComposeRequest, ComposeServer, Composed, DescribeRequest, FindRequest, HomeAdd,
    HomeClient, MediaClient, Person, PostClient, Processed, StoreRequest, TextClient, TextRequest,
    TimelineAdd, TimelineClient, UserClient,
};
use sigmaos::rpc::{Request, Response};
use sigmaos::{Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "compose";

/// The last of the types of a post.
const MAX_TYPE: u32 = 3;

struct Composer {
    texts: Peer<TextClient>,
    media: Peer<MediaClient>,
    users: Peer<UserClient>,
    posts: Peer<PostClient>,
    timelines: Peer<TimelineClient>,
    homes: Peer<HomeClient>,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let composer = Composer {
        texts: Peer::new(sigma, super::text::NAME),
        media: Peer::new(sigma, super::media::NAME),
        users: Peer::new(sigma, super::user::NAME),
        posts: Peer::new(sigma, super::post::NAME),
        timelines: Peer::new(sigma, super::timeline::NAME),
        homes: Peer::new(sigma, super::home::NAME),
    };
    run(sigma, NAME, ComposeServer(Arc::new(composer))).await
}

impl Composer {
    async fn text(&self, text: &str) -> Result<Processed> {
        let process = |texts: TextClient| {
            let request = TextRequest { text: text.to_owned() };
            async move { texts.process(request).await }
        };
        self.texts.call(process).await
    }

    async fn media(&self, wanted: DescribeRequest) -> Result<Vec<Attachment>> {
        if wanted.ids.is_empty() && wanted.types.is_empty() {
            return Ok(Vec::new());
        }
        let describe = |media: MediaClient| {
            let wanted = wanted.clone();
            async move { media.describe(wanted).await }
        };
        Ok(self.media.call(describe).await?.media)
    }

    /// The creator as the users have it. A name that is given must be the user's.
    async fn creator(&self, said: Person) -> Result<Person> {
        let find = |users: UserClient| {
            let find = FindRequest { ids: vec![said.id], names: Vec::new() };
            async move { users.find(find).await }
        };
        let found = self.users.call(find).await?.people.pop().ok_or_else(|| unknown(said.id))?;
        if !said.name.is_empty() && said.name != found.name {
            return Err(invalid(format!("user {} is not called {:?}", said.id, said.name)));
        }
        Ok(found)
    }
}

impl Compose for Composer {
    async fn compose(&self, request: Request<ComposeRequest>) -> Result<Response<Composed>> {
        let ComposeRequest { req_id: id, creator, text, media_ids, media_types, post_type } = request.message;
        if id <= 0 || post_type > MAX_TYPE {
            return Err(invalid(format!(
                "request {id}, post type {post_type}: the types are 0 to {MAX_TYPE}"
            )));
        }
        if text.is_empty() && media_ids.is_empty() {
            return Err(invalid("a post has a text or a picture"));
        }
        let wanted = DescribeRequest { ids: media_ids, types: media_types };
        let (Processed { text, mentions, urls }, media, creator) = tokio::try_join!(
            self.text(&text),
            self.media(wanted),
            self.creator(creator.unwrap_or_default())
        )?;
        let mentioned: Vec<_> = mentions.iter().map(|person| person.id).collect();
        let user = creator.id;
        // Timelines are in the order of numbers, so times are, too; and sent again it is the same post.
        let (creator, timestamp_ms) = (Some(creator), given_ms(id) as i64);
        let post = StoreRequest { id, creator, text, mentions, media, urls, timestamp_ms, r#type: post_type };
        let store = |posts: PostClient| {
            let post = post.clone();
            async move { posts.store(post).await }
        };
        self.posts.call(store).await?;
        let timeline = self
            .timelines
            .call(|timelines| async move { timelines.add(TimelineAdd { user, post: id }).await });
        let home = self.homes.call(|homes| {
            let add = HomeAdd { creator: user, post: id, mentioned: mentioned.clone() };
            async move { homes.add(add).await }
        });
        tokio::try_join!(timeline, home)?;
        Ok(Composed { post: id }.into())
    }
}
