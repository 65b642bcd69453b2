//! The service on each engine, without a kernel: SQLite in a folder, and real servers where there are any.

mod engines;
mod fences;
mod hostile;

use crate::base::{Base, Limits};
use crate::desk::{Desk, Opened};
use crate::names::Names;
use crate::place::Place;
use crate::sql::Dialect;
use sigma_abi::proto::{Fence, db as proto};
use sigma_proxy::Fences;
use sigma_test::outside::{mariadb, postgres};
use sigmaos::db::Value;
use sigmaos::db::stub::Db;
use sigmaos::rpc::Request;
use sigmaos::{Code, Path, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// A database, and what it lives in.
struct Fixture {
    names: Names,
    fences: Arc<Fences>,
    /// The epoch of the last election, for whatever path.
    last: Arc<AtomicU64>,
    folder: TempDir,
    _servers: (Option<postgres::Postgres>, Option<mariadb::Mariadb>),
}

impl Fixture {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::of(BTreeMap::new(), folder, (None, None))
    }

    fn outside(
        url: &str,
        password: &str,
        servers: (Option<postgres::Postgres>, Option<mariadb::Mariadb>),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::parse("main", url, Some(password), None).unwrap();
        Self::of(BTreeMap::from([("main".to_owned(), place)]), folder, servers)
    }

    fn of(
        outside: BTreeMap<String, Place>,
        folder: TempDir,
        servers: (Option<postgres::Postgres>, Option<mariadb::Mariadb>),
    ) -> Self {
        let names = Names::new(folder.path().to_owned(), outside, None);
        let last = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&last);
        let fences = Fences::asking(
            Path::parse("/db").unwrap(),
            Box::new(move |_| {
                let last = known.load(Ordering::Relaxed);
                Box::pin(async move { Ok(last) })
            }),
        );
        Self { names, fences: Arc::new(fences), last, folder, _servers: servers }
    }

    async fn postgres() -> Option<Self> {
        let server = postgres::Postgres::start().await?;
        Some(Self::outside(&server.url(), postgres::PASSWORD, (Some(server), None)))
    }

    async fn mariadb() -> Option<Self> {
        let server = mariadb::Mariadb::start().await?;
        Some(Self::outside(&server.url(), mariadb::PASSWORD, (None, Some(server))))
    }

    /// A connection of its own.
    async fn caller(&self) -> Caller {
        self.caller_of("main").await
    }

    async fn caller_of(&self, name: &str) -> Caller {
        let base: Arc<dyn Base> = self.names.get(name).await.unwrap();
        let dialect = base.dialect();
        let (opened, idle) = (Arc::new(Opened::default()), Limits::IDLE);
        let (at, fences) = (Path::root().join(name).unwrap(), Arc::clone(&self.fences));
        let desk = Desk { base, at, fences, opened, idle };
        Caller { desk, dialect, leads: Vec::new() }
    }
}

/// The same on each engine that is there.
async fn all(body: impl AsyncFn(Fixture)) {
    body(Fixture::sqlite()).await;
    if let Some(postgres) = Fixture::postgres().await {
        body(postgres).await;
    }
    if let Some(mariadb) = Fixture::mariadb().await {
        body(mariadb).await;
    }
}

/// One connection to a database.
struct Caller {
    desk: Desk,
    dialect: Dialect,
    /// The elections that its statements rest on.
    leads: Vec<Fence>,
}

fn request<T>(message: T) -> Request<T> {
    Request { message, payload: Default::default(), caller: Default::default() }
}

impl Caller {
    /// Placeholders are written `?`, and become the engine's.
    fn sql(&self, sql: &str) -> String {
        if self.dialect != Dialect::Postgres {
            return sql.to_owned();
        }
        let mut parts = sql.split('?');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for (number, part) in parts.enumerate() {
            text += &format!("${}{part}", number + 1);
        }
        text
    }

    fn query(&self, sql: &str, parameters: &[Value], transaction: u32) -> proto::QueryRequest {
        let parameters = parameters.iter().cloned().map(Into::into).collect();
        let (sql, fences) = (self.sql(sql), self.leads.clone());
        proto::QueryRequest { sql, parameters, transaction, deadline_ms: 10_000, fences }
    }

    async fn execute_in(&self, transaction: u32, sql: &str, parameters: &[Value]) -> Result<proto::Executed> {
        Ok(self.desk.execute(request(self.query(sql, parameters, transaction))).await?.message)
    }

    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<proto::Executed> {
        self.execute_in(0, sql, parameters).await
    }

    /// The rows of the first page.
    async fn rows(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>> {
        let page = self.desk.query(request(self.query(sql, parameters, 0))).await?.message;
        assert_eq!(page.result, 0, "a small result");
        let row = |row: proto::Row| row.values.into_iter().map(Into::into).collect();
        Ok(page.rows.into_iter().map(row).collect())
    }

    /// The one value of a result.
    async fn value(&self, sql: &str, parameters: &[Value]) -> Result<Value> {
        Ok(self.rows(sql, parameters).await?.remove(0).remove(0))
    }

    /// A count, which some engines give as a decimal.
    async fn count(&self, sql: &str) -> i64 {
        sigmaos::db::FromValue::from_value(&self.value(sql, &[]).await.unwrap()).unwrap()
    }

    async fn begin(&self) -> Result<u32> {
        let begin = proto::BeginRequest { read_only: false, deadline_ms: 1000 };
        Ok(self.desk.begin(request(begin)).await?.message.transaction)
    }

    async fn end(&self, transaction: u32, commit: bool) -> Result<()> {
        let fences = self.leads.clone();
        let end = request(proto::EndRequest { transaction, deadline_ms: 1000, fences });
        if commit {
            self.desk.commit(end).await?
        } else {
            self.desk.rollback(end).await?
        };
        Ok(())
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> (Code, String) {
    let error = result.expect_err("it is refused");
    (error.code, error.message)
}
