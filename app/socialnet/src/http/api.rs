//! `/api/…`: for programs of people. Requests and replies are JSON; a login sets a cookie.

use super::answer::{Object, json as object, posts};
use super::body::{Fields, json, numbers, read};
use super::session::{Sessions, from_here};
use crate::limits::{MAX_PICTURE, WEB_PAGE};
use crate::proto::{ComposeRequest, Edge, LoginRequest, Page, Person, RegisterRequest};
use crate::service::front::Front;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json as value;
use sigmaos::Result as Done;
use std::sync::Arc;

type Shared = State<Arc<Front>>;
type Answer = Result<Response, Object>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    username: String,
    password: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

pub(super) async fn register(State(front): Shared, request: Request) -> Answer {
    from_here(request.headers())?;
    let Register { username: name, password, first_name, last_name } = json(request).await?;
    let person = front.register(RegisterRequest { id: None, name, first_name, last_name, password }).await?;
    logged_in(&front, &person)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

pub(super) async fn login(State(front): Shared, request: Request) -> Answer {
    from_here(request.headers())?;
    let Login { username: name, password } = json(request).await?;
    let person = front.login(LoginRequest { name, password }).await?;
    logged_in(&front, &person)
}

fn logged_in(front: &Front, person: &Person) -> Answer {
    let mut answer = person_as_json(person);
    answer.headers_mut().insert(header::SET_COOKIE, front.sessions.begin(person)?);
    Ok(answer)
}

pub(super) async fn logout(headers: HeaderMap) -> Answer {
    from_here(&headers)?;
    let mut answer = object(&value!({}));
    answer.headers_mut().insert(header::SET_COOKIE, Sessions::end()?);
    Ok(answer)
}

pub(super) async fn me(State(front): Shared, headers: HeaderMap) -> Answer {
    Ok(person_as_json(&front.sessions.who(&headers)?))
}

fn person_as_json(person: &Person) -> Response {
    object(&value!({ "user_id": person.id.to_string(), "username": person.name }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Followee {
    username: String,
}

pub(super) async fn follow(State(front): Shared, request: Request) -> Answer {
    change(&front, request, true).await
}

pub(super) async fn unfollow(State(front): Shared, request: Request) -> Answer {
    change(&front, request, false).await
}

async fn change(front: &Front, request: Request, follows: bool) -> Answer {
    let me = front.sessions.changes(request.headers())?;
    let Followee { username } = json(request).await?;
    let followee = front.named(&[&username]).await?;
    front.follow(Edge { follower: me.id, followee: followee[0].id }, follows).await?;
    Ok(object(&value!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPost {
    #[serde(default)]
    text: String,
    #[serde(default)]
    media: Vec<NewMedia>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMedia {
    media_id: String,
    media_type: String,
}

pub(super) async fn compose(State(front): Shared, request: Request) -> Answer {
    let creator = Some(front.sessions.changes(request.headers())?);
    let NewPost { text, media } = json(request).await?;
    let (ids, media_types): (Vec<_>, Vec<_>) =
        media.into_iter().map(|media| (media.media_id, media.media_type)).unzip();
    let (req_id, media_ids) = (front.number(), numbers("media_id", &ids)?);
    let post =
        front.compose(ComposeRequest { req_id, creator, text, media_ids, media_types, post_type: 0 }).await?;
    Ok(object(&value!({ "post_id": post.to_string() })))
}

pub(super) async fn picture(State(front): Shared, request: Request) -> Answer {
    front.sessions.changes(request.headers())?;
    let _place = front.place().await?;
    let picture = read(request.into_body(), MAX_PICTURE).await?;
    let kept = front.keep_picture(picture).await?;
    Ok(object(&value!({ "media_id": kept.id.to_string(), "media_type": kept.r#type })))
}

pub(super) async fn home(State(front): Shared, headers: HeaderMap, uri: Uri) -> Answer {
    let me = front.sessions.who(&headers)?;
    Ok(posts(&front.home(page(me.id, &uri)?).await?))
}

pub(super) async fn timeline(State(front): Shared, Path(name): Path<String>, uri: Uri) -> Answer {
    let user = front.named(&[&name]).await?;
    Ok(posts(&front.timeline(page(user[0].id, &uri)?).await?))
}

/// The first posts, unless the query says which.
fn page(user: i64, uri: &Uri) -> Done<Page> {
    let fields = Fields::of_query(uri);
    let start = fields.get("start").map_or(Ok(0u32), |_| fields.number("start"))?;
    let stop = fields.get("stop").map_or(Ok(start.saturating_add(WEB_PAGE)), |_| fields.number("stop"))?;
    Ok(Page { user, start, stop })
}
