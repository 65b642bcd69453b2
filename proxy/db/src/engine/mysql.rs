//! MariaDB and MySQL.

use super::{Engine, Item, Items, LONGEST, PREPARED, arguments, described, is_kept, items};
use crate::decode::mysql::{bits_of, datetime_of, time_of};
use crate::fault::{Fault, Outcome};
use crate::place::Place;
use crate::sql::Dialect;
use bytes::Bytes;
use sigma_abi::proto::db::value::Value as Wire;
use sigma_abi::proto::db::{Column, Executed, Row, Value};
use sigmaos::{Code, Result};
use sqlx::error::DatabaseError;
use sqlx::mysql::{
    MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult, MySqlRow, MySqlSslMode,
    MySqlTypeInfo,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Type, TypeInfo, ValueRef};
use std::time::Duration;

type Driver = sqlx::MySql;

/// How long the end of a connection may take.
const END: Duration = Duration::from_secs(3);

/// A database of a MariaDB server.
pub(crate) struct Mysql {
    system: String,
    options: MySqlConnectOptions,
}

/// A connection, and its number at the server.
#[derive(Debug)]
pub(crate) struct Seat {
    connection: MySqlConnection,
    number: u64,
}

impl Mysql {
    pub(crate) fn new(place: &Place) -> Self {
        let mut options = MySqlConnectOptions::new()
            .host(&place.host)
            .port(place.port)
            .username(&place.user)
            .database(&place.database)
            .statement_cache_capacity(PREPARED)
            .disable_statement_logging();
        if let Some(password) = &place.password {
            options = options.password(password);
        }
        if let Some(ca) = &place.ca {
            options = options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(ca.clone().into());
        }
        Self { system: format!("MariaDB at {}:{}", place.host, place.port), options }
    }

    fn fault(&self, error: sqlx::Error) -> Fault {
        Fault::of_statement(&self.system, error, code)
    }
}

impl Engine for Mysql {
    type Connection = Seat;

    const DIALECT: Dialect = Dialect::Mysql;
    const ONE_WRITER: bool = false;
    const CONNECTIONS: usize = 16;

    fn system(&self) -> &str {
        &self.system
    }

    async fn connect(&self) -> Result<Seat> {
        let connected = async {
            let mut connection = self.options.connect().await?;
            let number = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut connection).await?;
            // Where this process dies, the server ends by itself what nobody waits for; a MySQL has no such setting.
            let longest = format!("SET SESSION max_statement_time = {}", LONGEST.as_secs());
            let _ = (&mut connection).execute(sqlx::raw_sql(AssertSqlSafe(longest))).await;
            Ok(Seat { connection, number })
        };
        connected.await.map_err(|error| Fault::of_connecting(&self.system, error, code))
    }

    async fn is_alive(&self, seat: &mut Seat) -> bool {
        seat.connection.ping().await.is_ok()
    }

    async fn simple(&self, seat: &mut Seat, sql: &'static str) -> Outcome<()> {
        let done = (&mut seat.connection).execute(sqlx::raw_sql(sql)).await;
        done.map(drop).map_err(|error| self.fault(error))
    }

    fn run<'a>(&'a self, seat: &'a mut Seat, text: &str, parameters: Vec<Value>) -> Outcome<Items<'a>> {
        let arguments = arguments!(parameters, None::<String>);
        let query = sqlx::query_with(AssertSqlSafe(text.to_owned()), arguments).persistent(is_kept(text));
        Ok(items!(self, (&mut seat.connection).fetch_many(query)))
    }

    async fn columns(&self, seat: &mut Seat, text: &str) -> Vec<Column> {
        if !is_kept(text) {
            return Vec::new();
        }
        let text = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(text.to_owned()));
        // It is prepared already, so nothing is asked of the server.
        let prepared = (&mut seat.connection).prepare(text).await;
        prepared.map(|prepared| described(sqlx::Statement::columns(&prepared))).unwrap_or_default()
    }

    fn begin(read_only: bool) -> &'static str {
        if read_only { "START TRANSACTION READ ONLY" } else { "START TRANSACTION" }
    }

    async fn end(&self, seat: Seat) {
        // Where the server does not answer, closing the connection is all that can be done.
        let end = async {
            let mut control = self.options.connect().await?;
            let kill = format!("KILL {}", seat.number);
            (&mut control).execute(sqlx::raw_sql(AssertSqlSafe(kill))).await?;
            control.close().await
        };
        let _ = tokio::time::timeout(END, end).await;
        let _ = seat.connection.close_hard().await;
    }
}

fn executed(done: &MySqlQueryResult) -> Executed {
    let id = i64::try_from(done.last_insert_id()).ok().filter(|id| *id != 0);
    Executed { affected: done.rows_affected(), last_id: id }
}

fn decoded(row: &MySqlRow) -> Outcome<Row> {
    use sqlx::{Column, Row as _};
    let values = row.columns().iter().map(|column| {
        let place = column.ordinal();
        let unreadable = |what: &str| {
            let text = format!("column {} is {what}: cast it to CHAR in the statement", column.name());
            Fault::new(Code::Unsupported, text)
        };
        let raw = row.try_get_raw(place).map_err(|error| unreadable(&error.to_string()))?;
        if raw.is_null() {
            return Ok(Value { value: None });
        }
        let kind = raw.type_info().into_owned();
        let value = value(row, place, &kind);
        let what = || format!("of type {}, which does not travel", kind.name());
        Ok(Value { value: Some(value.ok_or_else(|| unreadable(&what()))?) })
    });
    Ok(Row { values: values.collect::<Outcome<_>>()? })
}

fn value(row: &MySqlRow, place: usize, kind: &MySqlTypeInfo) -> Option<Wire> {
    use sqlx::Row as _;
    let bytes = || row.try_get_unchecked::<&[u8], _>(place).ok();
    let text = |text: Option<String>| text.map(Wire::Text);
    match kind.name() {
        "BOOLEAN" => match row.try_get_unchecked::<i64, _>(place).ok()? {
            // TINYINT(1) holds more than it is meant for.
            0 => Some(Wire::Boolean(false)),
            1 => Some(Wire::Boolean(true)),
            other => Some(Wire::Integer(other)),
        },
        "FLOAT" => row.try_get_unchecked::<f32, _>(place).ok().map(|real| Wire::Real(real.into())),
        "DOUBLE" => row.try_get_unchecked::<f64, _>(place).ok().map(Wire::Real),
        "DATE" => text(datetime_of(bytes()?, false)),
        "DATETIME" | "TIMESTAMP" => text(datetime_of(bytes()?, true)),
        "TIME" => text(time_of(bytes()?)),
        "BIT" => bits_of(bytes()?).map(unsigned),
        "DECIMAL" | "JSON" => text(std::str::from_utf8(bytes()?).ok().map(str::to_owned)),
        name if name.ends_with("UNSIGNED") || name == "YEAR" => {
            row.try_get_unchecked::<u64, _>(place).ok().map(unsigned)
        }
        name if name.ends_with("INT") => row.try_get_unchecked::<i64, _>(place).ok().map(Wire::Integer),
        // A collation tells text from bytes, and not the name: text that is compared by its bytes has the name of bytes.
        _ if <String as Type<Driver>>::compatible(kind) => {
            text(row.try_get_unchecked::<String, _>(place).ok())
        }
        _ => Some(Wire::Bytes(Bytes::copy_from_slice(bytes()?))),
    }
}

/// What is more than an integer of ours holds is text.
fn unsigned(number: u64) -> Wire {
    i64::try_from(number).map_or_else(|_| Wire::Text(number.to_string()), Wire::Integer)
}

/// By number: <https://mariadb.com/kb/en/mariadb-error-code-reference/>
fn code(error: &dyn DatabaseError) -> Code {
    let number = error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
    match number {
        1040 | 1203 | 1205 | 1213 | 1226 => Code::Busy,
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1410 | 1698 => Code::Denied,
        1049 => Code::NotFound,
        1050 | 1007 | 1061 => Code::Exists,
        1053 | 1077 | 1079 | 1080 | 1927 | 2006 | 2013 => Code::Unreachable,
        1153 | 1301 | 1390 => Code::TooLarge,
        1021 | 1041 | 1114 => Code::Quota,
        1235 | 1295 => Code::Unsupported,
        1317 | 1969 | 3024 => Code::Deadline,
        _ => Code::Invalid,
    }
}
