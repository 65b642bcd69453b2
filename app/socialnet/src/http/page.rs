//! The web page: HTML made here, forms, no scripts.

use super::answer::{bytes, in_pieces, status};
use super::body::{Fields, parts};
use super::session::{Sessions, from_here};
use super::view::{Part, Post, colour, posts};
use crate::clock::now_ms;
use crate::limits::{MAX_DEPTH, MAX_FORM, MAX_PICTURE, MAX_TEXT, WEB_PAGE};
use crate::proto::{ComposeRequest, Edge, LoginRequest, Page, Person, RegisterRequest};
use crate::service::front::Front;
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sigmaos::{Code, Error, Result};
use std::sync::Arc;

type Shared = State<Arc<Front>>;

/// What a browser may do with a page: show it with its style and its pictures, and send its forms here.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = include_str!("../../templates/style.css");

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome<'a> {
    me: Option<&'a Person>,
    problem: &'a str,
}

#[derive(Template)]
#[template(path = "timeline.html")]
struct Timeline<'a> {
    me: Option<&'a Person>,
    /// Whose posts these are; none: what one sees at home.
    user: Option<&'a str>,
    colour: u8,
    /// Whether one follows this user; none where one cannot.
    follows: Option<bool>,
    posts: &'a [Post],
    newer: Option<u32>,
    older: Option<u32>,
    most: usize,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    me: Option<&'a Person>,
    problem: &'a str,
}

pub(super) async fn home(State(front): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let Ok(me) = front.sessions.who(&headers) else {
        return html(StatusCode::OK, &Welcome { me: None, problem: "" });
    };
    let shown = async {
        let start = start(&uri)?;
        let shown = posts(&front.home(page(me.id, start)).await?, now_ms())?;
        Ok(timeline(Some(&me), None, None, &shown, start))
    };
    or_problem(shown.await, Some(&me))
}

pub(super) async fn user(
    State(front): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let me = front.sessions.who(&headers).ok();
    let shown = async {
        let (start, user) = (start(&uri)?, front.named(&[&name]).await?.remove(0));
        let follows = match &me {
            Some(me) if me.id != user.id => Some(front.followees(me.id).await?.contains(&user.id)),
            _ => None,
        };
        let shown = posts(&front.timeline(page(user.id, start)).await?, now_ms())?;
        Ok(timeline(me.as_ref(), Some(&user.name), follows, &shown, start))
    };
    or_problem(shown.await, me.as_ref())
}

fn timeline(
    me: Option<&Person>,
    user: Option<&str>,
    follows: Option<bool>,
    posts: &[Post],
    start: u32,
) -> Response {
    let newer = (start > 0).then(|| start.saturating_sub(WEB_PAGE));
    let older = (posts.len() == WEB_PAGE as usize).then_some(start + WEB_PAGE);
    let older = older.filter(|older| *older < MAX_DEPTH);
    let colour = user.map_or(0, colour);
    html(StatusCode::OK, &Timeline { me, user, colour, follows, posts, newer, older, most: MAX_TEXT })
}

fn start(uri: &Uri) -> Result<u32> {
    let fields = Fields::of_query(uri);
    fields.get("start").map_or(Ok(0), |_| fields.number("start"))
}

fn page(user: i64, start: u32) -> Page {
    Page { user, start, stop: start.saturating_add(WEB_PAGE) }
}

pub(super) async fn register(State(front): Shared, headers: HeaderMap, body: Body) -> Response {
    let registered = async {
        from_here(&headers)?;
        let fields = Fields::of_body(body).await?;
        let text = |name| fields.get(name).unwrap_or_default().to_owned();
        let request = RegisterRequest {
            id: None,
            name: text("username"),
            first_name: text("first_name"),
            last_name: text("last_name"),
            password: text("password"),
        };
        let person = front.register(request).await?;
        seen("/", Some(front.sessions.begin(&person)?))
    };
    registered.await.unwrap_or_else(|error: Error| welcome(&error))
}

pub(super) async fn login(State(front): Shared, headers: HeaderMap, body: Body) -> Response {
    let logged_in = async {
        from_here(&headers)?;
        let fields = Fields::of_body(body).await?;
        let text = |name| fields.get(name).unwrap_or_default().to_owned();
        let person = front.login(LoginRequest { name: text("username"), password: text("password") }).await?;
        seen("/", Some(front.sessions.begin(&person)?))
    };
    logged_in.await.unwrap_or_else(|error: Error| welcome(&error))
}

fn welcome(error: &Error) -> Response {
    html(status(error), &Welcome { me: None, problem: &error.message })
}

pub(super) async fn logout(headers: HeaderMap) -> Response {
    let logged_out = from_here(&headers).and_then(|()| seen("/", Some(Sessions::end()?)));
    or_problem(logged_out, None)
}

pub(super) async fn compose(State(front): Shared, request: Request) -> Response {
    let me = front.sessions.changes(request.headers());
    let composed = async {
        let creator = Some(me.clone()?);
        let _place = front.place().await?;
        let form = parts(request, MAX_PICTURE + MAX_FORM).await?;
        let (mut media_ids, mut media_types) = (Vec::new(), Vec::new());
        if let Some(picture) = form.file {
            let kept = front.keep_picture(picture).await?;
            media_ids.push(kept.id);
            media_types.push(kept.r#type);
        }
        // A browser ends lines as mail does.
        let text = form.texts.get("text").map(|text| text.replace("\r\n", "\n")).unwrap_or_default();
        let req_id = front.number();
        front.compose(ComposeRequest { req_id, creator, text, media_ids, media_types, post_type: 0 }).await?;
        // One sees it among one's own posts at once.
        let name = me.as_ref().map(|me| me.name.as_str()).unwrap_or_default();
        seen(&format!("/user/{name}"), None)
    };
    or_problem(composed.await, me.as_ref().ok())
}

pub(super) async fn follow(State(front): Shared, headers: HeaderMap, body: Body) -> Response {
    change(&front, &headers, body, true).await
}

pub(super) async fn unfollow(State(front): Shared, headers: HeaderMap, body: Body) -> Response {
    change(&front, &headers, body, false).await
}

async fn change(front: &Front, headers: &HeaderMap, body: Body, follows: bool) -> Response {
    let me = front.sessions.changes(headers);
    let changed = async {
        let follower = me.clone()?.id;
        let fields = Fields::of_body(body).await?;
        let name = fields.required("username")?.trim_start_matches('@');
        let followee = front.named(&[name]).await?[0].id;
        front.follow(Edge { follower, followee }, follows).await?;
        seen(&format!("/user/{name}"), None)
    };
    or_problem(changed.await, me.as_ref().ok())
}

pub(super) async fn short_link(State(front): Shared, Path(key): Path<String>) -> Response {
    let expanded = async {
        let long = front.expand(&key).await?;
        let to =
            HeaderValue::try_from(long).map_err(|_| Error::new(Code::Internal, "a link that is none"))?;
        let headers =
            [(header::LOCATION, to), (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
        Ok((StatusCode::FOUND, headers).into_response())
    };
    or_problem(expanded.await, None)
}

pub(super) async fn picture(State(front): Shared, Path(id): Path<String>) -> Response {
    let read = async {
        let id = id.parse().map_err(|_| Error::new(Code::NotFound, "there is no such picture"))?;
        let place = front.place().await?;
        let (kind, picture) = front.picture(id).await?;
        let kind = match kind.as_str() {
            "png" => "image/png",
            "gif" => "image/gif",
            "webp" => "image/webp",
            _ => "image/jpeg",
        };
        let mut picture = in_pieces(kind, picture, place);
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        picture.headers_mut().insert(header::CACHE_CONTROL, forever);
        Ok(picture)
    };
    or_problem(read.await, None)
}

pub(super) async fn style() -> Response {
    bytes("text/css; charset=utf-8", STYLE)
}

pub(super) async fn nothing() -> Response {
    or_problem(Err(Error::new(Code::NotFound, "there is no such page")), None)
}

/// Leads to a page that shows what was done.
fn seen(path: &str, cookie: Option<HeaderValue>) -> Result<Response> {
    let to = HeaderValue::try_from(path).map_err(|_| Error::new(Code::Invalid, "a name that is none"))?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn or_problem(response: Result<Response>, me: Option<&Person>) -> Response {
    response.unwrap_or_else(|error| html(status(&error), &Problem { me, problem: &error.message }))
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    let Ok(page) = page.render() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be shown\n").into_response();
    };
    let mut response = bytes("text/html; charset=utf-8", page);
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
