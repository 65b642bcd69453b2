//! One connection and the idle ones.

use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use object_store::client::{HttpRequest, HttpRequestBody};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// What moves the bytes of a connection; it moves while it is polled.
type Driver = http1::Connection<TokioIo<TcpStream>, HttpRequestBody>;

/// A connection that waits for a request.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<HttpRequestBody>,
    driver: Driver,
}

/// An answer whose body is still at its connection.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) answer: Response<Incoming>,
    pub(super) connection: Connection,
}

impl Connection {
    /// # Errors
    /// None that is known: nothing is sent yet.
    pub(super) async fn new(stream: TcpStream) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// What broke, and the request where nothing of it was sent.
    pub(super) async fn send(
        mut self,
        request: HttpRequest,
    ) -> Result<Sent, (hyper::Error, Option<HttpRequest>)> {
        let mut ended = false;
        let answer = {
            let mut answering = pin!(self.sender.try_send_request(request));
            poll_fn(|cx| {
                if !ended {
                    // What it ended with the answer says.
                    ended = Pin::new(&mut self.driver).poll(cx).is_ready();
                }
                answering.as_mut().poll(cx)
            })
            .await
        };
        match answer {
            Ok(answer) => Ok(Sent { answer, connection: self }),
            Err(mut error) => {
                let unsent = error.take_message();
                Err((error.into_error(), unsent))
            }
        }
    }

    /// Moves what there is to move. Ready when it has ended; it must not be polled then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Pin::new(&mut self.driver).poll(cx)
    }

    /// The socket, and what was read of it and not of the answer's head.
    pub(super) fn into_parts(self) -> (TcpStream, bytes::Bytes) {
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    /// Whether a request can be sent now: the last answer was read, and the server has not closed it.
    fn is_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll(&mut cx).is_pending() && matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }
}

/// Connections that nobody uses now.
#[derive(Debug)]
pub(super) struct Idle {
    connections: Mutex<Vec<Connection>>,
    most: usize,
}

impl Idle {
    pub(super) fn new(most: usize) -> Self {
        Self { connections: Mutex::default(), most }
    }

    /// The one that was used last. Those that the server has closed meanwhile are dropped.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.lock().pop()?;
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end. Past the limit it is closed.
    pub(super) fn keep(&self, connection: Connection) {
        let mut connections = self.lock();
        if connections.len() < self.most {
            connections.push(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
