//! Text: recognizes links and mentions in posts.

use super::{invalid, serve as run, too_large};
use crate::limits::{MAX_LINKS, MAX_TEXT};
use crate::peer::Peer;
use crate::proto::{
    FindRequest, Link, Links, Person, Processed, Text, TextRequest, TextServer, UrlClient, Urls, UserClient,
};
use crate::words::{Part, parts};
use sigmaos::rpc::{Request, Response};
use sigmaos::{Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "text";

struct Texts {
    users: Peer<UserClient>,
    urls: Peer<UrlClient>,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let texts =
        Texts { users: Peer::new(sigma, super::user::NAME), urls: Peer::new(sigma, super::url::NAME) };
    run(sigma, NAME, TextServer(Arc::new(texts))).await
}

impl Texts {
    async fn shorten(&self, urls: &[&str]) -> Result<Vec<Link>> {
        if urls.is_empty() {
            return Ok(Vec::new());
        }
        let urls = Urls { urls: urls.iter().map(|url| (*url).to_owned()).collect() };
        let shorten = |client: UrlClient| {
            let urls = urls.clone();
            async move { client.shorten(urls).await }
        };
        let Links { links } = self.urls.call(shorten).await?;
        Ok(links)
    }

    /// Those of these names that are users, in the order in which they are named.
    async fn mentioned(&self, names: &[&str]) -> Result<Vec<Person>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let find = |users: UserClient| {
            let find = FindRequest { ids: Vec::new(), names: names.clone() };
            async move { users.find(find).await }
        };
        let mut people = self.users.call(find).await?.people;
        people.sort_by_key(|person| names.iter().position(|name| *name == person.name));
        Ok(people)
    }
}

impl Text for Texts {
    async fn process(&self, request: Request<TextRequest>) -> Result<Response<Processed>> {
        let text = request.message.text;
        if text.len() > MAX_TEXT {
            return Err(too_large(format!("a text of {} bytes: a post has at most {MAX_TEXT}", text.len())));
        }
        let parts = parts(&text);
        let (mut links, mut names) = (Vec::new(), Vec::new());
        for part in &parts {
            match part {
                Part::Link(link) => links.push(*link),
                Part::Mention(name) if !names.contains(name) => names.push(*name),
                Part::Mention(_) | Part::Text(_) => {}
            }
        }
        if links.len() > MAX_LINKS || names.len() > MAX_LINKS {
            let text = format!(
                "{} links and {} mentions: a post has at most {MAX_LINKS} of each",
                links.len(),
                names.len()
            );
            return Err(invalid(text));
        }
        let (urls, mentions) = tokio::try_join!(self.shorten(&links), self.mentioned(&names))?;
        let mut short = urls.iter().map(|url| url.short.as_str());
        let text = parts
            .into_iter()
            .map(|part| match part {
                Part::Link(link) => short.next().unwrap_or(link),
                other => other.as_str(),
            })
            .collect();
        Ok(Processed { text, mentions, urls }.into())
    }
}
