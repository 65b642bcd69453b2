//! The front end's HTTP: which path leads to what.
//!
//! Two interfaces and a page: `/wrk2-api/…` is what clients of DeathStarBench's social network call, trusted and without logins;
//! `/api/…` is for programs of people, with logins; all else is the web page.

mod answer;
mod api;
mod body;
mod connection;
mod page;
pub mod session;
mod view;
mod wrk2;

use crate::service::front::Front;
use axum::Router;
use axum::routing::{get, post};
use sigmaos::{Error, Published};
use std::sync::Arc;

/// Serves the connections to a port for as long as the kernel hands some over.
pub async fn serve(published: Published, front: Arc<Front>) -> Error {
    connection::serve(published, router(front)).await
}

fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/wrk2-api/user/register", post(wrk2::register))
        .route("/wrk2-api/user/follow", post(wrk2::follow))
        .route("/wrk2-api/user/unfollow", post(wrk2::unfollow))
        .route("/wrk2-api/post/compose", post(wrk2::compose))
        .route("/wrk2-api/home-timeline/read", get(wrk2::home))
        .route("/wrk2-api/user-timeline/read", get(wrk2::timeline))
        .route("/api/register", post(api::register))
        .route("/api/login", post(api::login))
        .route("/api/logout", post(api::logout))
        .route("/api/me", get(api::me))
        .route("/api/follow", post(api::follow))
        .route("/api/unfollow", post(api::unfollow))
        .route("/api/post", post(api::compose))
        .route("/api/media", post(api::picture))
        .route("/api/home", get(api::home))
        .route("/api/user/{name}", get(api::timeline))
        .route("/", get(page::home))
        .route("/user/{name}", get(page::user))
        .route("/register", post(page::register))
        .route("/login", post(page::login))
        .route("/logout", post(page::logout))
        .route("/post", post(page::compose))
        .route("/follow", post(page::follow))
        .route("/unfollow", post(page::unfollow))
        .route("/s/{key}", get(page::short_link))
        .route("/media/{id}", get(page::picture))
        .route("/style.css", get(page::style))
        .fallback(page::nothing)
        .with_state(front)
}
