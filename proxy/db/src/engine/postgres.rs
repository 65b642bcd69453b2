//! PostgreSQL.

use super::{Engine, Item, Items, LONGEST, PREPARED, arguments, described, is_kept, items};
use crate::decode::postgres::{date_of, numeric_of, time_of, timestamp_of, timetz_of, uuid_of};
use crate::fault::{Fault, Outcome};
use crate::place::Place;
use crate::sql::Dialect;
use bytes::Bytes;
use sigma_abi::proto::db::value::Value as Wire;
use sigma_abi::proto::db::{Column, Executed, Row, Value};
use sigmaos::{Code, Result};
use sqlx::error::DatabaseError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgSslMode, PgTypeInfo,
    PgTypeKind, PgValueRef,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, TypeInfo, ValueRef};
use std::time::Duration;

type Driver = sqlx::Postgres;

/// How long the end of a connection may take.
const END: Duration = Duration::from_secs(3);

/// A database of a PostgreSQL server.
pub(crate) struct Postgres {
    system: String,
    options: PgConnectOptions,
}

/// A connection, and the number of its process at the server.
#[derive(Debug)]
pub(crate) struct Seat {
    connection: PgConnection,
    process: i32,
}

impl Postgres {
    pub(crate) fn new(place: &Place) -> Self {
        // Where this process dies, the server ends by itself what nobody waits for.
        let longest = format!("{}", LONGEST.as_millis());
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&place.host)
            .port(place.port)
            .username(&place.user)
            .database(&place.database)
            .application_name("sigmaos")
            .statement_cache_capacity(PREPARED)
            .options([("statement_timeout", longest)])
            .disable_statement_logging();
        if let Some(password) = &place.password {
            options = options.password(password);
        }
        if let Some(ca) = &place.ca {
            options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(ca.clone().into());
        }
        Self { system: format!("PostgreSQL at {}:{}", place.host, place.port), options }
    }

    fn fault(&self, error: sqlx::Error) -> Fault {
        Fault::of_statement(&self.system, error, code)
    }
}

impl Engine for Postgres {
    type Connection = Seat;

    const DIALECT: Dialect = Dialect::Postgres;
    const ONE_WRITER: bool = false;
    const CONNECTIONS: usize = 16;

    fn system(&self) -> &str {
        &self.system
    }

    async fn connect(&self) -> Result<Seat> {
        let connected = async {
            let mut connection = self.options.connect().await?;
            let process = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
            Ok(Seat { connection, process })
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

    /// The driver keeps prepared statements by their text, and each has the types that its parameters had at first: so the types
    /// are a part of the text.
    fn text(sql: String, parameters: &[Value]) -> String {
        let letter = |parameter: &Value| match parameter.value {
            None => 'n',
            Some(Wire::Boolean(_)) => 'b',
            Some(Wire::Integer(_)) => 'i',
            Some(Wire::Real(_)) => 'r',
            Some(Wire::Text(_)) => 't',
            Some(Wire::Bytes(_)) => 'y',
        };
        let types: String = parameters.iter().map(letter).collect();
        format!("/*{types}*/{sql}")
    }

    fn run<'a>(&'a self, seat: &'a mut Seat, text: &str, parameters: Vec<Value>) -> Outcome<Items<'a>> {
        let arguments = arguments!(parameters, Unknown);
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
        if read_only { "BEGIN READ ONLY" } else { "BEGIN" }
    }

    async fn end(&self, seat: Seat) {
        // Where the server does not answer, closing the connection is all that can be done.
        let end = async {
            let mut control = self.options.connect().await?;
            sqlx::query("SELECT pg_terminate_backend($1)").bind(seat.process).execute(&mut control).await?;
            control.close().await
        };
        let _ = tokio::time::timeout(END, end).await;
        let _ = seat.connection.close_hard().await;
    }
}

/// A NULL whose type the server finds out.
struct Unknown;

impl sqlx::Type<Driver> for Unknown {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl sqlx::Encode<'_, Driver> for Unknown {
    fn encode_by_ref(
        &self,
        _: &mut PgArgumentBuffer,
    ) -> std::result::Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}

fn executed(done: &PgQueryResult) -> Executed {
    Executed { affected: done.rows_affected(), last_id: None }
}

fn decoded(row: &PgRow) -> Outcome<Row> {
    use sqlx::{Column, Row as _};
    let values = row.columns().iter().map(|column| {
        let unreadable = |what: &str| {
            let text = format!("column {} is {what}: cast it to text in the statement", column.name());
            Fault::new(Code::Unsupported, text)
        };
        let raw = row.try_get_raw(column.ordinal()).map_err(|error| unreadable(&error.to_string()))?;
        if raw.is_null() {
            return Ok(Value { value: None });
        }
        let kind = raw.type_info().into_owned();
        let bytes = raw.as_bytes().map_err(|error| unreadable(&error.to_string()))?;
        let value = value(base(&kind), bytes, &raw);
        let what = || format!("of type {}, which does not travel", kind.name());
        Ok(Value { value: Some(value.ok_or_else(|| unreadable(&what()))?) })
    });
    Ok(Row { values: values.collect::<Outcome<_>>()? })
}

/// The type behind domains, which are other types with conditions.
fn base(kind: &PgTypeInfo) -> &PgTypeInfo {
    match kind.kind() {
        PgTypeKind::Domain(inner) => base(inner),
        _ => kind,
    }
}

fn value(kind: &PgTypeInfo, bytes: &[u8], raw: &PgValueRef<'_>) -> Option<Wire> {
    if matches!(kind.kind(), PgTypeKind::Enum(_)) {
        return raw.as_str().ok().map(|text| Wire::Text(text.to_owned()));
    }
    let text = |text: Option<String>| text.map(Wire::Text);
    match kind.name() {
        "BOOL" => Some(Wire::Boolean(bytes.first()? != &0)),
        "INT2" => Some(Wire::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT4" => Some(Wire::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT8" => Some(Wire::Integer(i64::from_be_bytes(bytes.try_into().ok()?))),
        "OID" => Some(Wire::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into())),
        "FLOAT4" => Some(Wire::Real(f32::from_be_bytes(bytes.try_into().ok()?).into())),
        "FLOAT8" => Some(Wire::Real(f64::from_be_bytes(bytes.try_into().ok()?))),
        "BYTEA" => Some(Wire::Bytes(Bytes::copy_from_slice(bytes))),
        "NUMERIC" => text(numeric_of(bytes)),
        "DATE" => text(date_of(bytes)),
        "TIME" => text(time_of(bytes)),
        "TIMETZ" => text(timetz_of(bytes)),
        "TIMESTAMP" => text(timestamp_of(bytes, "")),
        "TIMESTAMPTZ" => text(timestamp_of(bytes, "+00")),
        "UUID" => text(uuid_of(bytes)),
        // A version stands before the text.
        "JSONB" => text(std::str::from_utf8(bytes.get(1..)?).ok().map(str::to_owned)),
        "VOID" => text(Some(String::new())),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "\"CHAR\"" | "JSON" | "UNKNOWN" | "xml" | "citext" => {
            raw.as_str().ok().map(|text| Wire::Text(text.to_owned()))
        }
        _ => None,
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn code(error: &dyn DatabaseError) -> Code {
    let state = error.code().unwrap_or_default();
    match &*state {
        "57014" => Code::Deadline,
        "57P01" | "57P02" | "57P03" | "57P05" => Code::Unreachable,
        "3D000" => Code::NotFound,
        "42501" => Code::Denied,
        "40001" | "40P01" | "55P03" | "53300" => Code::Busy,
        "53100" => Code::Quota,
        "54000" | "54001" | "54011" | "54023" => Code::TooLarge,
        // Of a table, a schema, a database, a type that is there already.
        "42P07" | "42P06" | "42P04" | "42710" => Code::Exists,
        state => match state.get(..2) {
            // Among the errors of connections is that of a wrong count of parameters.
            Some("08") if state != "08P01" => Code::Unreachable,
            Some("28") => Code::Denied,
            Some("25") => Code::Invalid,
            Some("0A") => Code::Unsupported,
            Some("53") => Code::Quota,
            Some("XX" | "58" | "F0") => Code::Internal,
            _ => Code::Invalid,
        },
    }
}
