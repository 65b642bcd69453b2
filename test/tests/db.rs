//! SQL databases: the same stories on SQLite, on a real PostgreSQL and on a real MariaDB, through a real kernel.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::outside::Certificate;
use sigma_test::outside::mariadb::{self, Mariadb};
use sigma_test::outside::postgres::{self, Postgres};
use sigma_test::{Machine, Tenant, eventually, host, story, within};
use sigmaos::db::{Db, Value, values};
use sigmaos::{Code, Error, Result, Status};
use std::time::Duration;

/// The realm of a story.
const REALM: &str = "shop";

/// An engine, and the server that a story has started of it.
enum Engine {
    Sqlite,
    Postgres(Postgres),
    Mariadb(Mariadb),
}

/// Tells a story on one engine, unless that is not there.
fn on(name: &str, body: impl AsyncFnOnce(&mut Machine, &Tenant, &mut Engine, Db)) {
    story(async |machine| {
        let mut engine = match name {
            "postgres" => match Postgres::start().await {
                Some(server) => Engine::Postgres(server),
                None => return,
            },
            "mariadb" => match Mariadb::start().await {
                Some(server) => Engine::Mariadb(server),
                None => return,
            },
            _ => Engine::Sqlite,
        };
        let tenant = machine.realm(REALM).await;
        engine.set(machine, "main", None).await;
        let db = within("the database", Db::open(&tenant.sigma, "/db/main")).await.unwrap();
        body(machine, &tenant, &mut engine, db).await;
    });
}

/// The same story on each engine.
macro_rules! on_each_engine {
    ($(#[$doc:meta])* $story:ident) => {
        mod $story {
            #[test]
            fn on_sqlite() {
                super::on("sqlite", super::stories::$story);
            }
            #[test]
            fn on_postgres() {
                super::on("postgres", super::stories::$story);
            }
            #[test]
            fn on_mariadb() {
                super::on("mariadb", super::stories::$story);
            }
        }
    };
}

on_each_engine!(every_kind_of_value_comes_back_as_it_went);
on_each_engine!(a_transaction_is_seen_when_it_is_committed_and_ends_with_its_proc);
on_each_engine!(a_hundred_thousand_rows_pass_through_bounded_memory);
on_each_engine!(a_slow_statement_ends_at_its_deadline_while_others_go_on);
on_each_engine!(a_proxy_that_is_killed_loses_nothing_that_was_answered);
on_each_engine!(what_fails_says_so_in_the_words_of_the_engine);

impl Engine {
    /// Sets what the realm's database is, as the operator does; another password than the right one where one is given.
    async fn set(&self, machine: &Machine, name: &str, password: Option<&str>) {
        let (url, right) = match self {
            Self::Sqlite => return,
            Self::Postgres(server) => (server.url(), postgres::PASSWORD),
            Self::Mariadb(server) => (server.url(), mariadb::PASSWORD),
        };
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("password");
        std::fs::write(&file, password.unwrap_or(right)).unwrap();
        let (url, password) =
            (format!("db.{name}.url={url}"), format!("db.{name}.password=@{}", file.display()));
        machine.ok(&["realm", "set", REALM, &url, &password]).await;
    }

    /// Placeholders are written `?`, and become the engine's.
    fn sql(&self, sql: &str) -> String {
        let Self::Postgres(_) = self else { return sql.to_owned() };
        let mut parts = sql.split('?');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.enumerate().fold(first, |text, (number, part)| format!("{text}${}{part}", number + 1))
    }

    /// A text of a thousand bytes.
    fn kilobyte(&self) -> &'static str {
        match self {
            Self::Sqlite => "hex(zeroblob(500))",
            Self::Postgres(_) | Self::Mariadb(_) => "repeat('x', 1000)",
        }
    }

    /// What does not end before its deadline.
    fn endless(&self) -> &'static str {
        match self {
            Self::Sqlite => {
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
            }
            Self::Postgres(_) => "SELECT pg_sleep(1000)",
            Self::Mariadb(_) => "SELECT sleep(1000)",
        }
    }

    /// Statements of tenants that the server works on.
    fn at_work(&self) -> usize {
        let count = match self {
            Self::Sqlite => return 0,
            Self::Postgres(server) => {
                server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)' AND state = 'active'")
            }
            Self::Mariadb(server) => {
                server.sql("SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT sleep(1000)'")
            }
        };
        count.parse().unwrap()
    }
}

fn failed<T>(result: Result<T>) -> Error {
    result.err().expect("it is refused")
}

async fn execute(db: &Db, sql: &str, values: impl IntoIterator<Item = Value>) -> sigmaos::db::Executed {
    within(sql, db.execute(sql, values)).await.unwrap()
}

async fn count(db: &Db, from: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {from}");
    let row = within(&sql, async { db.query(&sql, values![]).await?.first().await }).await;
    row.unwrap().unwrap().at(0).unwrap()
}

#[path = "db/stories.rs"]
mod stories;

#[path = "db/outside.rs"]
mod outside;

#[path = "db/embedded.rs"]
mod embedded;
