//! `/wrk2-api/…`: what clients of DeathStarBench's social network call. It trusts who calls: there are no logins.

use super::answer::{Plain, posts};
use super::body::{Fields, list, numbers};
use crate::proto::{ComposeRequest, Edge, Page, Person, RegisterRequest};
use crate::service::front::Front;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use sigmaos::Result as Done;
use std::sync::Arc;

type Shared = State<Arc<Front>>;

pub(super) async fn register(State(front): Shared, body: Body) -> Result<&'static str, Plain> {
    let fields = Fields::of_body(body).await?;
    let text = |name| fields.required(name).map(str::to_owned);
    let request = RegisterRequest {
        id: Some(fields.number("user_id")?),
        name: text("username")?,
        first_name: text("first_name")?,
        last_name: text("last_name")?,
        password: text("password")?,
    };
    front.register(request).await?;
    Ok("Success!\n")
}

pub(super) async fn follow(State(front): Shared, body: Body) -> Result<&'static str, Plain> {
    change(&front, body, true).await
}

pub(super) async fn unfollow(State(front): Shared, body: Body) -> Result<&'static str, Plain> {
    change(&front, body, false).await
}

async fn change(front: &Front, body: Body, follows: bool) -> Result<&'static str, Plain> {
    let fields = Fields::of_body(body).await?;
    let edge = match (fields.get("user_id"), fields.get("followee_id")) {
        (Some(_), Some(_)) => {
            Edge { follower: fields.number("user_id")?, followee: fields.number("followee_id")? }
        }
        _ => {
            let names = [fields.required("user_name")?, fields.required("followee_name")?];
            let people = front.named(&names).await?;
            Edge { follower: people[0].id, followee: people[1].id }
        }
    };
    front.follow(edge, follows).await?;
    Ok("Success!\n")
}

pub(super) async fn compose(State(front): Shared, body: Body) -> Result<&'static str, Plain> {
    let fields = Fields::of_body(body).await?;
    let values = |name| fields.get(name).map_or(Ok(Vec::new()), |text| list(name, text));
    let request = ComposeRequest {
        req_id: front.number(),
        creator: Some(Person {
            id: fields.number("user_id")?,
            name: fields.required("username")?.to_owned(),
        }),
        text: fields.required("text")?.to_owned(),
        media_ids: numbers("media_ids", &values("media_ids")?)?,
        media_types: values("media_types")?,
        post_type: fields.number("post_type")?,
    };
    front.compose(request).await?;
    Ok("Successfully upload post\n")
}

pub(super) async fn home(State(front): Shared, uri: Uri) -> Result<Response, Plain> {
    Ok(posts(&front.home(page(&uri)?).await?))
}

pub(super) async fn timeline(State(front): Shared, uri: Uri) -> Result<Response, Plain> {
    Ok(posts(&front.timeline(page(&uri)?).await?))
}

fn page(uri: &Uri) -> Done<Page> {
    let fields = Fields::of_query(uri);
    Ok(Page { user: fields.number("user_id")?, start: fields.number("start")?, stop: fields.number("stop")? })
}
