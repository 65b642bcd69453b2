//! The SQL databases of a realm, `/db/NAME`: a typed client.
//!
//! Where the operator has said nothing a database is an embedded SQLite file on the machine, and with `db.NAME.url` a PostgreSQL or a
//! MariaDB. SQL and its placeholders are the engine's: `?` of SQLite and MariaDB, `$1` of SQLite and PostgreSQL. `main` is always
//! there; another embedded one is made by `sigma.create_dir("/db/NAME")` and removed with all that is in it by
//! `sigma.remove("/db/NAME")`.
//!
//! ```
//! # sigma_test::example(async |sigma| {
//! use sigmaos::db::{Db, values};
//!
//! let db = Db::open(&sigma, "/db/main").await?;
//! db.execute("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT UNIQUE)", values![]).await?;
//! let added = db.execute("INSERT INTO user (name) VALUES (?)", values!["ada"]).await?;
//! assert_eq!((added.affected, added.last_id), (1, Some(1)));
//!
//! let mut rows = db.query("SELECT id, name FROM user WHERE id > ?", values![0]).await?;
//! while let Some(row) = rows.next().await? {
//!     let (id, name): (i64, Option<String>) = (row.get("id")?, row.get("name")?);
//!     println!("{id} {name:?}");
//! }
//!
//! let transaction = db.begin().await?;
//! transaction.execute("UPDATE user SET name = ? WHERE id = ?", values!["lovelace", 1]).await?;
//! transaction.commit().await?;
//! # sigmaos::Result::Ok(())
//! # });
//! ```
//!
//! A parameter has the type of its Rust value; what the engine wants otherwise is written as a cast, `CAST($1 AS TIMESTAMP)`. Numbers
//! that neither `i64` nor `f64` holds exactly come as text, and so do dates and times (ISO 8601), UUID and JSON.
//!
//! # Errors
//! Each says what was attempted, and what the engine said. Programs branch on the code:
//!
//! | code | means |
//! |---|---|
//! | `Exists` | a duplicate in a unique column |
//! | `Invalid` | SQL that is none, a table that is not there, a value that a column does not take, another broken constraint |
//! | `Denied` | what the tenant, or the user that the operator named, may not do |
//! | `NotFound` | a database that is not there |
//! | `Busy` | another transaction was in the way, or all connections are in use: surely not done, begin again |
//! | `Deadline` | the statement was cancelled; in a transaction, that was rolled back |
//! | `Stale` | there is a later leader than the one that asks |
//! | `Closed` | a transaction or a result that has ended, or that nobody used for a while |
//! | `TooLarge`, `Quota` | a row or a statement of more than [`MAX_ROW`] bytes; the database is full |
//! | `Unreachable` | the database's server, or the proxy, has gone; where it says that the statement may have been carried out, nobody knows |
//!
//! A leader's database is opened by its client: `Db::open(leader.sigma(), "/db/main")`. Each statement then rests on the election, a `SELECT` like any
//! other, and is `Stale` once a later leader has used the database; a transaction is so at its commit as well, and rolled back.
//!
//! A statement is not carried out exactly once: see [`Error::maybe_done`](crate::Error::maybe_done). Write changes so that doing
//! them twice does no harm, or make them in a transaction that leaves a mark of its own.

mod row;
mod rows;
mod value;

pub use row::{Column, Row};
pub use rows::Rows;
pub use sigma_abi::limits::MAX_ROW;
pub use value::{FromValue, Value};

use crate::limits::DEFAULT_DEADLINE;
use crate::{Error, Result, Sigma};
use sigma_abi::proto::{Fence, db as proto};
use std::sync::Arc;
use std::time::Duration;
use stub::DbClient;

/// The server's side and the client of the service itself, by its messages.
#[allow(clippy::all)]
pub mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/sigma.db.rs"));
}

/// What the service looks like: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sigma.db.Db.descriptor"));

/// The parameters of a statement: `values![7, "text", None::<i64>, true]`.
#[macro_export]
macro_rules! db_values {
    ($($value:expr),* $(,)?) => { [$($crate::db::Value::from($value)),*] as [$crate::db::Value; _] };
}
pub use crate::db_values as values;

/// How much longer the client waits than it tells the server, so that it hears why.
const PATIENCE: Duration = Duration::from_secs(2);

/// A database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    sigma: Sigma,
    path: Arc<str>,
    deadline: Duration,
    /// The elections that all of it rests on.
    fences: Arc<[Fence]>,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Rows that were changed.
    pub affected: u64,
    /// The key that the engine gave to the last row that was added, where it tells: PostgreSQL does not, but has RETURNING.
    pub last_id: Option<i64>,
}

impl Db {
    /// The database at a path, `/db/main`. Its server is started by this, where it does not run.
    ///
    /// # Errors
    /// `NotFound` for a database that is not there; what keeps the server from serving.
    pub async fn open(sigma: &Sigma, path: &str) -> Result<Self> {
        let fences = Arc::default();
        let db = Self { sigma: sigma.clone(), path: path.into(), deadline: DEFAULT_DEADLINE, fences };
        db.connect().await?;
        let fences = sigma.fences_of_device(path).await.map_err(|error| db.failed("open", error))?;
        Ok(Self { fences: fences.into(), ..db })
    }

    /// The same with another deadline for each statement, at whose end the statement is cancelled.
    #[must_use]
    pub fn deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Runs a statement and gives its rows, which are read as they are asked for.
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn query(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Rows> {
        self.session(self.connect().await?, 0).query(sql, parameters).await
    }

    /// Runs a statement for what it changes.
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn execute(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Executed> {
        self.session(self.connect().await?, 0).execute(sql, parameters).await
    }

    /// Begins a transaction. It is rolled back when it is dropped, when this proc ends, or when nobody uses it for a while.
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn begin(&self) -> Result<Transaction> {
        self.begin_with(false).await
    }

    /// As [`Db::begin`], for a transaction that only reads, and so waits for no writer.
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn begin_read_only(&self) -> Result<Transaction> {
        self.begin_with(true).await
    }

    async fn begin_with(&self, read_only: bool) -> Result<Transaction> {
        let client = self.connect().await?;
        let request = proto::BeginRequest { read_only, deadline_ms: millis(self.deadline) };
        let begun = client.begin(request).await.map_err(|error| self.failed("begin", error))?;
        Ok(Transaction { session: self.session(client, begun.transaction), ended: false })
    }

    fn session(&self, client: DbClient, transaction: u32) -> Session {
        Session { client, transaction, deadline: self.deadline, fences: Arc::clone(&self.fences) }
    }

    /// A client on the connection that the SDK keeps, or makes again where the server was.
    async fn connect(&self) -> Result<DbClient> {
        let path = format!("{}/rpc", self.path);
        let client: DbClient = self.sigma.client(&path).await.map_err(|error| self.failed("open", error))?;
        Ok(DbClient(client.0.deadline(Some(self.deadline.saturating_add(PATIENCE)))))
    }

    fn failed(&self, attempted: &str, error: Error) -> Error {
        error.context(format!("{attempted} {}", self.path))
    }
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    session: Session,
    ended: bool,
}

impl Transaction {
    /// As [`Db::query`]. The rows are to be read, or dropped, before the next statement.
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn query(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Rows> {
        self.session.query(sql, parameters).await
    }

    /// As [`Db::execute`].
    ///
    /// # Errors
    /// See [the table](self#errors).
    pub async fn execute(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Executed> {
        self.session.execute(sql, parameters).await
    }

    /// Makes its changes durable.
    ///
    /// # Errors
    /// `Closed` where it has ended before; an error that says it may have been done, where the answer was lost.
    pub async fn commit(mut self) -> Result<()> {
        self.ended = true;
        let committed = self.session.client.commit(self.session.end()).await;
        committed.map(drop).map_err(|error| error.context("commit"))
    }

    /// Takes its changes back.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub async fn rollback(mut self) -> Result<()> {
        self.ended = true;
        let rolled_back = self.session.client.rollback(self.session.end()).await;
        rolled_back.map(drop).map_err(|error| error.context("roll back"))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.session.client.0.notify("Db.Rollback", &self.session.end());
        }
    }
}

/// One connection, in or outside of a transaction.
#[derive(Debug)]
struct Session {
    client: DbClient,
    transaction: u32,
    deadline: Duration,
    fences: Arc<[Fence]>,
}

impl Session {
    async fn query(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Rows> {
        let page = self.client.query(self.request(sql, parameters)).await;
        let page = page.map_err(|error| failed(sql, error))?;
        Ok(Rows::new(self.client.clone(), page, self.deadline))
    }

    async fn execute(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> Result<Executed> {
        let executed = self.client.execute(self.request(sql, parameters)).await;
        let proto::Executed { affected, last_id } = executed.map_err(|error| failed(sql, error))?;
        Ok(Executed { affected, last_id })
    }

    fn request(&self, sql: &str, parameters: impl IntoIterator<Item = Value>) -> proto::QueryRequest {
        let parameters = parameters.into_iter().map(Into::into).collect();
        let (transaction, deadline_ms) = (self.transaction, millis(self.deadline));
        proto::QueryRequest {
            sql: sql.to_owned(),
            parameters,
            transaction,
            deadline_ms,
            fences: self.fences.to_vec(),
        }
    }

    fn end(&self) -> proto::EndRequest {
        let (transaction, deadline_ms) = (self.transaction, millis(self.deadline));
        proto::EndRequest { transaction, deadline_ms, fences: self.fences.to_vec() }
    }
}

/// Characters of a statement that an error repeats.
const SHOWN: usize = 60;

fn failed(sql: &str, error: Error) -> Error {
    let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SHOWN) {
        None => error.context(words),
        Some((end, _)) => error.context(format!("{}…", &words[..end])),
    }
}

/// Zero means the longest to the server.
fn millis(deadline: Duration) -> u32 {
    u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX).max(1)
}
