//! A conversation with an engine on one connection: one statement, or a transaction. It is a task of its own, so that the engine's
//! stream of rows can wait for whoever reads them; whoever drops a [`Talk`] ends it, and with it what runs.

use crate::base::Limits;
use crate::engine::{Engine, Item};
use crate::fault::{Fault, Outcome};
use crate::pool::Lease;
use futures_util::StreamExt;
use prost::Message;
use sigma_abi::proto::db::{Column, Executed, Row, Value};
use sigma_proxy::Held;
use sigmaos::limits::MAX_ROW;
use sigmaos::{Code, Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Bytes of rows in one page, if a row is not more alone.
const PAGE_BYTES: usize = 256 << 10;

/// Rows in one page.
const PAGE_ROWS: usize = 1000;

/// A statement to run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
    /// Whether anybody wants the rows.
    pub(crate) rows: bool,
    /// It may leave the connection changed.
    pub(crate) taints: bool,
    /// The elections that it rests on, while it may change something.
    pub(crate) held: Held,
    pub(crate) pages: mpsc::Sender<Result<Part>>,
}

/// A part of what a statement gives.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    pub(crate) executed: Executed,
    pub(crate) last: bool,
}

/// What a transaction is told.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Run),
    /// With the elections that a commit rests on.
    End {
        commit: bool,
        held: Held,
        done: oneshot::Sender<Result<()>>,
    },
}

/// A conversation. Dropping it ends it at once: what is not committed is rolled back.
#[derive(Debug)]
pub(crate) struct Talk {
    /// None for a single statement.
    commands: Option<mpsc::Sender<Command>>,
    task: AbortHandle,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Talk {
    /// Runs one statement, which is a transaction of its own.
    pub(crate) fn single<E: Engine>(lease: Lease<E>, run: Run) -> Self {
        Self { commands: None, task: tokio::spawn(single(lease, run)).abort_handle() }
    }

    /// Goes on with a transaction that has begun.
    pub(crate) fn transaction<E: Engine>(lease: Lease<E>) -> Self {
        let (commands, receiver) = mpsc::channel(1);
        let task = tokio::spawn(transaction(lease, receiver)).abort_handle();
        Self { commands: Some(commands), task }
    }

    /// # Errors
    /// `Closed` where it has ended.
    pub(crate) async fn tell(&self, command: Command) -> Result<()> {
        let told = match &self.commands {
            Some(commands) => commands.send(command).await.is_ok(),
            None => false,
        };
        if told { Ok(()) } else { Err(ended()) }
    }
}

/// What is said of a transaction that is no more.
pub(crate) fn ended() -> Error {
    let text = format!(
        "the transaction has ended: it was committed or rolled back, an error ended it, or nobody used it for {} s",
        Limits::IDLE.as_secs()
    );
    Error::new(Code::Closed, text)
}

async fn single<E: Engine>(mut lease: Lease<E>, request: Run) {
    let (pages, taints) = (request.pages.clone(), request.taints);
    let done = run(&mut lease, request).await;
    let part = match done {
        Ok(Some(part)) => {
            if !taints {
                lease.give_back();
            }
            Ok(part)
        }
        // Nobody reads on: the rest of the rows ends with the connection.
        Ok(None) => return,
        Err(fault) if fault.broken => {
            lease.broken();
            Err(fault.error)
        }
        Err(Fault { error, .. }) => {
            if !taints && !ends(error.code) {
                lease.give_back();
            }
            Err(error)
        }
    };
    let _ = pages.send(part).await;
}

async fn transaction<E: Engine>(mut lease: Lease<E>, mut commands: mpsc::Receiver<Command>) {
    let (mut tainted, mut failed) = (false, None);
    while let Some(command) = commands.recv().await {
        match command {
            Command::Run(request) => {
                tainted |= request.taints;
                let pages = request.pages.clone();
                let done = run(&mut lease, request).await;
                // What it changed is nobody's yet: the commit is held on its own.
                lease.hold(Held::default());
                let part = match done {
                    Ok(None) => continue,
                    Ok(Some(part)) => Ok(part),
                    Err(fault) => {
                        if fault.broken || ends(fault.error.code) {
                            // The engine may have rolled it back already, and would run what follows outside of it.
                            let Error { code, message, .. } = fault.error;
                            let error =
                                Error::new(code, format!("{message}; the transaction is rolled back"));
                            if fault.broken {
                                lease.broken();
                            } else {
                                drop(lease);
                            }
                            let _ = pages.send(Err(error)).await;
                            return;
                        }
                        failed = Some(fault.error.clone());
                        Err(fault.error)
                    }
                };
                let _ = pages.send(part).await;
            }
            Command::End { commit, held, done } => {
                lease.hold(held);
                let result = end(&mut lease, commit, failed).await;
                match &result {
                    Ok(()) if !tainted => lease.give_back(),
                    _ => drop(lease),
                }
                let _ = done.send(result);
                return;
            }
        }
    }
}

/// Errors after which an engine may have ended the transaction by itself.
fn ends(code: Code) -> bool {
    matches!(code, Code::Busy | Code::Quota | Code::Deadline | Code::Unreachable | Code::Internal)
}

async fn end<E: Engine>(lease: &mut Lease<E>, commit: bool, failed: Option<Error>) -> Result<()> {
    let (engine, connection) = lease.parts();
    if !commit {
        return engine.simple(connection, "ROLLBACK").await.map_err(|fault| fault.error);
    }
    // PostgreSQL answers a COMMIT after an error as if nothing had happened, and rolls back.
    if let Some(failed) = failed
        && let Err(fault) = engine.simple(connection, "SELECT 1").await
    {
        let text = format!("{}, since a statement had failed: {failed}", fault.error);
        return Err(Error::new(Code::Invalid, text));
    }
    engine.simple(connection, "COMMIT").await.map_err(|fault| fault.error)
}

/// Runs a statement and sends its pages but the last, which is returned; none where nobody reads them any more.
async fn run<E: Engine>(lease: &mut Lease<E>, request: Run) -> Outcome<Option<Part>> {
    let Run { sql, parameters, rows, pages, held, .. } = request;
    // Until the connection is somebody else's or has ended; of a transaction, until the statement has.
    lease.hold(held);
    let (engine, connection) = lease.parts();
    let text = E::text(sql, &parameters);
    let mut items = engine.run(connection, &text, parameters)?;
    let (mut page, mut bytes, mut any) = (Part::default(), 0, false);
    while let Some(item) = items.next().await {
        match item? {
            Item::Columns(columns) => {
                any = true;
                page.columns = columns;
            }
            Item::Row(_) if !rows => {}
            Item::Row(row) => {
                let length = row.encoded_len();
                if length > MAX_ROW {
                    let text = format!(
                        "a row has {length} bytes, and at most {MAX_ROW} travel: ask for parts of it"
                    );
                    return Err(Fault::new(Code::TooLarge, text));
                }
                let full = bytes + length > PAGE_BYTES || page.rows.len() == PAGE_ROWS;
                if full && !page.rows.is_empty() {
                    bytes = 0;
                    if pages.send(Ok(std::mem::take(&mut page))).await.is_err() {
                        return Ok(None);
                    }
                }
                bytes += length;
                page.rows.push(row);
            }
            Item::Done(done) => {
                page.executed.affected += done.affected;
                page.executed.last_id = done.last_id.or(page.executed.last_id);
            }
        }
    }
    drop(items);
    if rows && !any {
        let (engine, connection) = lease.parts();
        page.columns = engine.columns(connection, &text).await;
    }
    page.last = true;
    Ok(Some(page))
}
