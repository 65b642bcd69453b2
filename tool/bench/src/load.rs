//! `sigma bench load`: an open-loop HTTP load.
//!
//! Requests leave when they are due, whatever the answers do, and latency counts from then: a server that stalls is charged for
//! all that came due meanwhile. What waits for a connection still counts from its schedule. When requests are due
//! ([`schedule`]), what they ask for ([`asks`]), whether an answer is right ([`answer`]) and what is made of it all ([`tally`]) is
//! decided purely, from a seed; `drive` and `pool` carry it out, on the one thread of their runtime.

pub mod answer;
pub mod asks;
mod clock;
mod connection;
mod drive;
mod pool;
mod progress;
mod report;
pub mod schedule;
pub mod slice;
pub mod tally;
pub mod text;

pub use asks::{DEFAULT_USERS, Kind, Mix};
pub use drive::{Outcome, Posted, run};
pub use report::report;
pub(crate) use report::{plan, rows};
pub use schedule::{Plan, STAIRCASE, STEP_TIME, Spacing, Step};
pub use tally::{Failure, Tally};

use anyhow::{Context, Result, ensure};
use hyper::Uri;
use hyper::body::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections at a time, over all servers, unless it is said otherwise.
pub const DEFAULT_CONNECTIONS: usize = 256;

/// How long a request may take, from when it is due, unless it is said otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that may wait for a connection of one server; further ones count as failed.
const MAX_WAITING: usize = 100_000;

/// The longest answer that is read; a longer one counts as a broken connection.
const MAX_ANSWER: usize = 16 << 20;

/// What is sent, where, and when.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests go to these in turn.
    pub servers: Vec<Server>,
    pub plan: Plan,
    pub mix: Mix,
    /// The most connections at a time, over all servers.
    pub connections: usize,
    /// From when a request is due until its answer is given up.
    pub timeout: Duration,
    /// Whether each answer is looked at, and not its status alone.
    pub check: bool,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
    /// What its header `host` says.
    pub host: String,
    /// What was asked for in the URL, `/` where it says nothing.
    pub path: String,
}

impl Server {
    /// Finds the server of a URL.
    ///
    /// # Errors
    /// Where it is none, is not of `http`, or its host has no address.
    pub async fn find(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        ensure!(
            uri.scheme_str() == Some("http"),
            "{url:?} does not begin with http://, all that is spoken here"
        );
        let host = uri.host().with_context(|| format!("{url:?} names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let mut found =
            tokio::net::lookup_host((name, port)).await.with_context(|| format!("look up {host}"))?;
        let address = found.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self { address, host: format!("{host}:{port}"), path })
    }

    /// The body of one answer, by a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, connection::Error> {
        connection::Connection::open(self).await?.exchange(self, path, None).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
