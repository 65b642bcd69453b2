//! SQLite, which runs in this process: a file a database.
//!
//! The tenant writes the SQL, so what SQLite can do is bounded: [`crate::sql`] reads each statement first; the build leaves out
//! what no tenant is to have, and bounds values and rows (`.cargo/config.toml`, which [`ensure_bounded`] holds this program
//! to); Landlock holds the process to its directory. Memory is bounded for all databases together, a file by its
//! pages.
//!
//! Durable: a commit is on disk before it is answered (write-ahead log, `synchronous = FULL`).

use super::{Engine, Item, Items, PREPARED, arguments, described, is_kept, items};
use crate::fault::{Fault, Outcome};
use crate::sql::Dialect;
use sigma_abi::proto::db::value::Value as Wire;
use sigma_abi::proto::db::{Column, Executed, Row, Value};
use sigma_proxy::Room;
use sigmaos::{Code, Error, Result};
use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteQueryResult, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, TypeInfo, ValueRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

type Driver = sqlx::Sqlite;

/// Bytes of a database.
pub(crate) const MAX_DATABASE: u64 = 1 << 30;

/// Bytes of its log, while a reader keeps it from being written back: then writers are refused.
const MAX_LOG: u64 = 256 << 20;

/// Bytes of the disk that a writer must find free in the realm's limit before it begins.
const AHEAD_BYTES: u64 = 4 << 20;

/// Bytes of memory of all databases together; a statement that wants more fails.
const MEMORY: usize = 256 << 20;

/// KiB of pages that a connection keeps.
const CACHE_KIB: i32 = 2048;

const PAGE: u64 = 4096;

/// Steps of SQLite's machine between two looks whether it is to stop.
const STEPS: i32 = 2000;

/// Rows that a connection is ahead of who reads them.
const AHEAD: usize = 16;

/// How long SQLite waits for a lock. There is one writer, so hardly anything locks.
const LOCK: Duration = Duration::from_secs(2);

/// What the build must have told SQLite.
const BOUNDS: [&str; 5] = [
    "MAX_ATTACHED=0",
    "MAX_LENGTH=1000000",
    "MAX_COLUMN=250",
    "MAX_LIKE_PATTERN_LENGTH=1000",
    "TEMP_STORE=3",
];

/// A database in a file.
pub(crate) struct Sqlite {
    system: String,
    directory: PathBuf,
    log: PathBuf,
    room: Option<Room>,
    options: SqliteConnectOptions,
    /// Connections are made one after another: two that find a new file at once would both turn it to its log, and SQLite
    /// refuses one of them without waiting.
    opening: Arc<Mutex<()>>,
}

/// A connection, and what stops the statement that it runs.
#[derive(Debug)]
pub(crate) struct Seat {
    connection: SqliteConnection,
    stop: Arc<AtomicBool>,
}

/// # Errors
/// Where SQLite was built without a bound.
pub(crate) async fn ensure_bounded() -> anyhow::Result<()> {
    let mut memory = SqliteConnection::connect("sqlite::memory:").await?;
    let has: Vec<String> = sqlx::query_scalar("SELECT compile_options FROM pragma_compile_options")
        .fetch_all(&mut memory)
        .await?;
    memory.close().await?;
    for bound in BOUNDS {
        anyhow::ensure!(has.iter().any(|option| option == bound), "SQLite was built without {bound}");
    }
    Ok(())
}

impl Sqlite {
    /// The database in a file, which is made where it is missing.
    pub(crate) fn new(name: &str, file: &Path, room: Option<Room>) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(LOCK)
            .statement_cache_capacity(PREPARED)
            .row_buffer_size(AHEAD)
            .thread_name(|_| "sqlite".to_owned())
            .pragma("cache_size", (-CACHE_KIB).to_string())
            .pragma("max_page_count", (MAX_DATABASE / PAGE).to_string())
            // Pages are let go of before statements fail.
            .pragma("soft_heap_limit", (MEMORY / 4 * 3).to_string())
            .pragma("hard_heap_limit", MEMORY.to_string())
            .pragma("journal_size_limit", "0")
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let directory = file.parent().unwrap_or(Path::new("/")).to_owned();
        Self {
            system: format!("SQLite database {name}"),
            directory,
            log: log.into(),
            room,
            options,
            opening: Arc::default(),
        }
    }

    fn fault(&self, error: sqlx::Error) -> Fault {
        Fault::of_statement(&self.system, error, code)
    }
}

impl Engine for Sqlite {
    type Connection = Seat;

    const DIALECT: Dialect = Dialect::Sqlite;
    const ONE_WRITER: bool = true;
    const CONNECTIONS: usize = 8;

    fn system(&self) -> &str {
        &self.system
    }

    async fn connect(&self) -> Result<Seat> {
        let (options, alone) = (self.options.clone(), Arc::clone(&self.opening).lock_owned().await);
        // A task of its own: a caller who goes away does not let the next one in while SQLite is still at it.
        let opened = tokio::spawn(async move {
            let _alone = alone;
            options.connect().await
        });
        let connected = async {
            let mut connection = opened.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
            let stop = Arc::new(AtomicBool::new(false));
            let asked = Arc::clone(&stop);
            let mut handle = connection.lock_handle().await?;
            handle.set_progress_handler(STEPS, move || !asked.load(Ordering::Relaxed));
            drop(handle);
            Ok(Seat { connection, stop })
        };
        connected.await.map_err(|error| Fault::of_connecting(&self.system, error, code))
    }

    async fn is_alive(&self, _: &mut Seat) -> bool {
        true
    }

    async fn simple(&self, seat: &mut Seat, sql: &'static str) -> Outcome<()> {
        let done = (&mut seat.connection).execute(sqlx::raw_sql(sql)).await;
        done.map(drop).map_err(|error| self.fault(error))
    }

    fn run<'a>(&'a self, seat: &'a mut Seat, text: &str, parameters: Vec<Value>) -> Outcome<Items<'a>> {
        let arguments = arguments!(parameters, None::<i64>);
        let query = sqlx::query_with(AssertSqlSafe(text.to_owned()), arguments).persistent(is_kept(text));
        Ok(items!(self, (&mut seat.connection).fetch_many(query)))
    }

    async fn columns(&self, seat: &mut Seat, text: &str) -> Vec<Column> {
        let text = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(text.to_owned()));
        // A statement that removed what it names cannot be prepared again, and has no columns.
        let prepared = (&mut seat.connection).prepare(text).await;
        prepared.map(|prepared| described(sqlx::Statement::columns(&prepared))).unwrap_or_default()
    }

    fn begin(read_only: bool) -> &'static str {
        if read_only { "BEGIN" } else { "BEGIN IMMEDIATE" }
    }

    async fn has_room(&self) -> Result<()> {
        let log = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if log > MAX_LOG {
            let text = format!(
                "{}: its log has {log} bytes, since a transaction reads what was there before; end that",
                self.system
            );
            return Err(Error::new(Code::Quota, text));
        }
        match &self.room {
            Some(room) => {
                let used = used(&self.directory);
                room.reach(used, used + AHEAD_BYTES).await
            }
            None => Ok(()),
        }
    }

    fn interrupt(&self, seat: &Seat) {
        seat.stop.store(true, Ordering::Relaxed);
    }

    async fn end(&self, seat: Seat) {
        self.interrupt(&seat);
        // It ends with its thread, so that what ran has stopped when somebody else may write.
        if let Err(error) = seat.connection.close().await {
            tracing::warn!(%error, "{}: a connection did not end well", self.system);
        }
    }
}

/// Bytes of all databases. What is being removed counts no more.
fn used(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

fn executed(done: &SqliteQueryResult) -> Executed {
    Executed { affected: done.rows_affected(), last_id: Some(done.last_insert_rowid()).filter(|id| *id != 0) }
}

fn decoded(row: &SqliteRow) -> Outcome<Row> {
    use sqlx::{Column, Row as _};
    let values = row.columns().iter().map(|column| {
        let place = column.ordinal();
        let unreadable = |error: sqlx::Error| {
            Fault::new(Code::Invalid, format!("column {}: {error}; cast it to BLOB", column.name()))
        };
        let raw = row.try_get_raw(place).map_err(unreadable)?;
        if raw.is_null() {
            return Ok(Value { value: None });
        }
        let kind = raw.type_info().into_owned();
        drop(raw);
        let value = match kind.name() {
            "INTEGER" => {
                let integer = row.try_get_unchecked::<i64, _>(place).map_err(unreadable)?;
                // SQLite keeps a number for what was declared as a boolean.
                match (column.type_info().name(), integer) {
                    ("BOOLEAN", 0 | 1) => Wire::Boolean(integer == 1),
                    _ => Wire::Integer(integer),
                }
            }
            "REAL" => Wire::Real(row.try_get_unchecked(place).map_err(unreadable)?),
            "BLOB" => Wire::Bytes(row.try_get_unchecked::<Vec<u8>, _>(place).map_err(unreadable)?.into()),
            _ => Wire::Text(row.try_get_unchecked(place).map_err(unreadable)?),
        };
        Ok(Value { value: Some(value) })
    });
    Ok(Row { values: values.collect::<Outcome<_>>()? })
}

/// By result code: <https://www.sqlite.org/rescode.html>
fn code(error: &dyn DatabaseError) -> Code {
    let extended: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    match extended & 0xff {
        3 | 8 | 23 => Code::Denied,
        5 | 6 => Code::Busy,
        7 | 13 => Code::Quota,
        9 => Code::Deadline,
        18 => Code::TooLarge,
        10 | 11 | 14 | 26 => Code::Internal,
        _ => Code::Invalid,
    }
}
