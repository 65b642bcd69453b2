//! The service of a database for one connection: the calls of `sigma.db.Db`, and what they leave open.

use crate::base::{Base, Limits, deadline, late};
use crate::sql::{may_change, plan};
use crate::talk::{Command, Part, Run, Talk, ended};
use sigma_abi::proto::{Fence, db as proto};
use sigma_proxy::{Fences, Held};
use sigmaos::db::stub::Db;
use sigmaos::rpc::{Request, Response};
use sigmaos::serve::Handles;
use sigmaos::{Code, Error, Path, Result};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// What a connection has open, over all databases. It ends with the connection.
#[derive(Default)]
pub(crate) struct Opened {
    transactions: Handles<Transaction>,
    results: Handles<Reading>,
}

/// One database, for one connection.
pub(crate) struct Desk {
    pub(crate) base: Arc<dyn Base>,
    /// As the proxy names it: `/main`.
    pub(crate) at: Path,
    pub(crate) fences: Arc<Fences>,
    pub(crate) opened: Arc<Opened>,
    /// How long what is open may stay without being used: [`Limits::IDLE`].
    pub(crate) idle: Duration,
}

/// A transaction that is open, or has been.
struct Transaction {
    at: Path,
    talk: Arc<AsyncMutex<Option<Talk>>>,
    used: Arc<Mutex<Instant>>,
    watch: AbortHandle,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// A result of which more rows follow. It ends by itself where nobody asks for them.
struct Reading {
    running: Arc<Mutex<Option<Running>>>,
    watch: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// A statement that runs. Dropping it before its end ends it, and the transaction that it is in.
struct Running {
    pages: mpsc::Receiver<Result<Part>>,
    within: Within,
    ended: bool,
}

/// What a statement runs in.
enum Within {
    Alone { _talk: Talk },
    Transaction(OwnedMutexGuard<Option<Talk>>, Arc<Mutex<Instant>>),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Within::Transaction(talk, used) = &mut self.within {
            touch(used);
            if !self.ended {
                talk.take();
            }
        }
    }
}

impl Running {
    /// The next page.
    async fn page(&mut self, system: &str, deadline: Instant) -> Result<Part> {
        let page = match timeout_at(deadline, self.pages.recv()).await {
            Ok(Some(page)) => page,
            Ok(None) => Err(Error::maybe_done(
                Code::Internal,
                format!("{system}: the statement ended without an answer"),
            )),
            Err(_) => {
                let mut error = late(system, "answer");
                let in_transaction = matches!(self.within, Within::Transaction(..));
                error.message += if in_transaction {
                    ": the statement is cancelled, and its transaction rolled back"
                } else {
                    ": the statement is cancelled"
                };
                error.maybe_done = !in_transaction;
                return Err(error);
            }
        };
        self.ended = page.as_ref().map_or(true, |part| part.last);
        page
    }
}

impl Desk {
    async fn start(&self, request: proto::QueryRequest, rows: bool, deadline: Instant) -> Result<Running> {
        let proto::QueryRequest { sql, parameters, transaction, fences, .. } = request;
        let plan = plan(self.base.dialect(), &sql, parameters.len(), transaction != 0)?;
        let held = self.hold(&fences, deadline).await?;
        // A result may be read for long, and nobody is held off by it.
        let holds = !fences.is_empty() && may_change(self.base.dialect(), &sql);
        let held = if holds { held } else { Held::default() };
        let (pages, receiver) = mpsc::channel(1);
        let run = Run { sql, parameters, rows, taints: plan.taints, held, pages };
        let within = if transaction == 0 {
            let talk = Arc::clone(&self.base).single(run, plan.writes, deadline).await?;
            Within::Alone { _talk: talk }
        } else {
            let (talk, used) = self.talk(transaction, deadline).await?;
            // From here on a caller who goes away takes the transaction along.
            let mut running =
                Running { pages: receiver, within: Within::Transaction(talk, used), ended: false };
            if let Within::Transaction(talk, _) = &mut running.within {
                talk.as_ref().ok_or_else(ended)?.tell(Command::Run(run)).await?;
            }
            return Ok(running);
        };
        Ok(Running { pages: receiver, within, ended: false })
    }

    /// Holds off later elections that concern this database, while those of `fences` are the last ones.
    async fn hold(&self, fences: &[Fence], deadline: Instant) -> Result<Held> {
        let held = timeout_at(deadline, self.fences.hold(fences, &[&self.at], true)).await;
        held.unwrap_or_else(|_| {
            let text = format!("/db{}: what the leader before has begun did not end in time", self.at);
            Err(Error::new(Code::Deadline, text))
        })
    }

    /// The conversation of a transaction, when nobody else speaks in it.
    async fn talk(
        &self,
        transaction: u32,
        deadline: Instant,
    ) -> Result<(OwnedMutexGuard<Option<Talk>>, Arc<Mutex<Instant>>)> {
        let open = self.opened.transactions.get(transaction).map_err(|_| ended())?;
        if open.at != self.at {
            let text = format!("transaction {transaction} is one of /db{}, not of /db{}", open.at, self.at);
            return Err(Error::new(Code::Invalid, text));
        }
        touch(&open.used);
        let talk = timeout_at(deadline, Arc::clone(&open.talk).lock_owned()).await.map_err(|_| {
            let text =
                "another statement of this transaction runs, or a result of it has rows that were not read";
            Error::new(Code::Busy, text)
        })?;
        if talk.is_none() {
            return Err(ended());
        }
        Ok((talk, Arc::clone(&open.used)))
    }

    /// A page for the caller, and the number of what follows it.
    fn answer(&self, running: Running, part: Part) -> Result<Response<proto::Page>> {
        let result = if part.last { 0 } else { self.keep(running)? };
        Ok(proto::Page { columns: part.columns, rows: part.rows, result }.into())
    }

    fn keep(&self, running: Running) -> Result<u32> {
        let running = Arc::new(Mutex::new(Some(running)));
        let (weak, idle) = (Arc::downgrade(&running), self.idle);
        let watch = tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            if let Some(running) = weak.upgrade() {
                take(&running);
            }
        });
        self.opened.results.insert(Reading { running, watch: watch.abort_handle() })
    }

    async fn end(&self, request: proto::EndRequest, commit: bool) -> Result<Response<proto::Done>> {
        let deadline = deadline(request.deadline_ms);
        let (mut talk, _) = self.talk(request.transaction, deadline).await?;
        let _ = self.opened.transactions.remove(request.transaction);
        // Whatever comes of it, it is over: dropping this ends it.
        let talk = talk.take().ok_or_else(ended)?;
        let held = match commit {
            true => self.hold(&request.fences, deadline).await.map_err(|mut error| {
                error.message += ": the transaction is rolled back";
                error
            })?,
            false => Held::default(),
        };
        let (done, answer) = oneshot::channel();
        talk.tell(Command::End { commit, held, done }).await?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result.map(|()| proto::Done {}.into()),
            Ok(Err(_)) => Err(ended()),
            Err(_) => {
                let what = if commit { "commit" } else { "roll back" };
                Err(Error { maybe_done: commit, ..late(self.base.system(), what) })
            }
        }
    }
}

impl Db for Desk {
    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<proto::Page>> {
        let deadline = deadline(request.message.deadline_ms);
        let mut running = self.start(request.message, true, deadline).await?;
        let part = running.page(self.base.system(), deadline).await?;
        self.answer(running, part)
    }

    async fn more(&self, request: Request<proto::MoreRequest>) -> Result<Response<proto::Page>> {
        let proto::MoreRequest { result, deadline_ms } = request.message;
        let gone = || {
            let text = format!("the result is closed, or nobody read on for {} s", Limits::IDLE.as_secs());
            Error::new(Code::Closed, text)
        };
        let reading = self.opened.results.remove(result).map_err(|_| gone())?;
        let mut running = take(&reading.running).ok_or_else(gone)?;
        let part = running.page(self.base.system(), deadline(deadline_ms)).await?;
        self.answer(running, part)
    }

    async fn close_result(&self, request: Request<proto::ResultRequest>) -> Result<Response<proto::Done>> {
        // One that has ended already is closed.
        if let Ok(reading) = self.opened.results.remove(request.message.result)
            && let Some(mut running) = take(&reading.running)
        {
            // The transaction that it is in goes on.
            running.ended = true;
        }
        Ok(proto::Done {}.into())
    }

    async fn execute(&self, request: Request<proto::QueryRequest>) -> Result<Response<proto::Executed>> {
        let deadline = deadline(request.message.deadline_ms);
        let mut running = self.start(request.message, false, deadline).await?;
        Ok(running.page(self.base.system(), deadline).await?.executed.into())
    }

    async fn begin(&self, request: Request<proto::BeginRequest>) -> Result<Response<proto::Begun>> {
        let proto::BeginRequest { read_only, deadline_ms } = request.message;
        let talk = Arc::clone(&self.base).begin(read_only, deadline(deadline_ms)).await?;
        let (talk, used) = (Arc::new(AsyncMutex::new(Some(talk))), Arc::new(Mutex::new(Instant::now())));
        let watch = tokio::spawn(watch(Arc::downgrade(&talk), Arc::clone(&used), self.idle)).abort_handle();
        let transaction = Transaction { at: self.at.clone(), talk, used, watch };
        Ok(proto::Begun { transaction: self.opened.transactions.insert(transaction)? }.into())
    }

    async fn commit(&self, request: Request<proto::EndRequest>) -> Result<Response<proto::Done>> {
        self.end(request.message, true).await
    }

    async fn rollback(&self, request: Request<proto::EndRequest>) -> Result<Response<proto::Done>> {
        self.end(request.message, false).await
    }
}

/// Ends a transaction that nobody uses, or that is too old.
async fn watch(talk: Weak<AsyncMutex<Option<Talk>>>, used: Arc<Mutex<Instant>>, idle: Duration) {
    let oldest = Instant::now() + Limits::TRANSACTION;
    let end = || oldest.min(*used.lock().unwrap_or_else(PoisonError::into_inner) + idle);
    loop {
        tokio::time::sleep_until(end()).await;
        let Some(talk) = talk.upgrade() else { return };
        // A statement that runs, or a result that is read, has a time limit of its own.
        let mut talk = talk.lock().await;
        if end() <= Instant::now() {
            talk.take();
            return;
        }
    }
}

fn touch(used: &Mutex<Instant>) {
    *used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
