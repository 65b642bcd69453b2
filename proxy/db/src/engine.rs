//! What the proxy wants of an engine, and the three that it has. Each makes connections of its own type.

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use crate::fault::Outcome;
use crate::sql::Dialect;
use futures_util::stream::BoxStream;
use sigma_abi::proto::db::{Column, Executed, Row, Value};
use sigmaos::Result;
use std::time::Duration;

/// Statements that a connection keeps prepared.
const PREPARED: usize = 32;

/// Bytes of a statement that is worth keeping prepared.
const PREPARED_BYTES: usize = 16 << 10;

/// The longest that a statement may take, whatever its caller asks for.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// What a statement gives, in this order: columns before the first row, rows, its end.
#[derive(Debug)]
pub(crate) enum Item {
    Columns(Vec<Column>),
    Row(Row),
    Done(Executed),
}

pub(crate) type Items<'a> = BoxStream<'a, Outcome<Item>>;

/// An engine, and how one database of it is reached.
pub(crate) trait Engine: Send + Sync + Sized + 'static {
    type Connection: Send + 'static;

    const DIALECT: Dialect;

    /// One writer at a time: readers see what was there before.
    const ONE_WRITER: bool;

    /// Connections at a time.
    const CONNECTIONS: usize;

    /// The system, for people: `PostgreSQL at 127.0.0.1:5432`. It holds no secret.
    fn system(&self) -> &str;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Whether the other side is still there.
    fn is_alive(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Runs a statement of the proxy's own.
    fn simple(
        &self,
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = Outcome<()>> + Send;

    /// A tenant's statement as it is sent.
    fn text(sql: String, _parameters: &[Value]) -> String {
        sql
    }

    /// Runs a statement, of [`Engine::text`].
    ///
    /// # Errors
    /// Where a parameter cannot be sent.
    fn run<'a>(
        &'a self,
        connection: &'a mut Self::Connection,
        text: &str,
        parameters: Vec<Value>,
    ) -> Outcome<Items<'a>>;

    /// The columns of a statement that has run and given no rows; none where they are not known.
    fn columns(
        &self,
        connection: &mut Self::Connection,
        text: &str,
    ) -> impl Future<Output = Vec<Column>> + Send;

    /// What begins a transaction.
    fn begin(read_only: bool) -> &'static str;

    /// Whether a writer may begin now.
    ///
    /// # Errors
    /// `Quota` where there is no room.
    fn has_room(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Asks the statement that runs to end, where that needs no answer.
    fn interrupt(&self, _connection: &Self::Connection) {}

    /// Ends a connection in whatever state it is, and with it the statement and the transaction that are on it.
    fn end(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

/// Whether a statement is kept prepared.
fn is_kept(sql: &str) -> bool {
    sql.len() <= PREPARED_BYTES
}

/// Sends the parameters of a statement, each as the type that it has.
macro_rules! arguments {
    ($parameters:expr, $null:expr) => {{
        use sigma_abi::proto::db::value::Value as Wire;
        use sqlx::Arguments as _;
        let mut arguments: <Driver as sqlx::Database>::Arguments = Default::default();
        for parameter in $parameters {
            match parameter.value {
                None => arguments.add($null),
                Some(Wire::Boolean(value)) => arguments.add(value),
                Some(Wire::Integer(value)) => arguments.add(value),
                Some(Wire::Real(value)) => arguments.add(value),
                Some(Wire::Text(value)) => arguments.add(value),
                Some(Wire::Bytes(value)) => arguments.add(Vec::from(value)),
            }
            .map_err(|error| {
                crate::fault::Fault::new(sigmaos::Code::Invalid, format!("a parameter: {error}"))
            })?;
        }
        arguments
    }};
}
use arguments;

/// Rows of a driver as rows of ours.
macro_rules! items {
    ($engine:expr, $stream:expr) => {{
        use futures_util::StreamExt as _;
        use sqlx::Row as _;
        let engine = $engine;
        let mut told = false;
        let items = $stream.flat_map(move |item| {
            let items = match item {
                Err(error) => vec![Err(engine.fault(error))],
                Ok(sqlx::Either::Left(done)) => vec![Ok(Item::Done(executed(&done)))],
                Ok(sqlx::Either::Right(row)) => {
                    let columns = (!told).then(|| Ok(Item::Columns(described(row.columns()))));
                    told = true;
                    columns.into_iter().chain([decoded(&row).map(Item::Row)]).collect()
                }
            };
            futures_util::stream::iter(items)
        });
        Box::pin(items) as Items<'_>
    }};
}
use items;

/// The columns of a result, for the caller.
fn described<C: sqlx::Column>(columns: &[C]) -> Vec<Column> {
    use sqlx::TypeInfo;
    let describe =
        |column: &C| Column { name: column.name().to_owned(), r#type: column.type_info().name().to_owned() };
    columns.iter().map(describe).collect()
}
