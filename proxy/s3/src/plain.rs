//! HTTP/1.1 to one server without TLS, on connections that are had bare where that is wanted.
//!
//! What `object_store` asks goes over these connections as it would over a client's of its own, with two differences. The task that asks
//! drives its connection itself, so that a small request waits for no other task. And the body of an answer can be had as it lies at the
//! socket, see [`Flow`]: a large object goes through this process without a copy. hyper speaks the protocol.
//!
//! Guarantees:
//! - A request is sent again only where none of it was sent: over a connection that had ended while nobody used it.
//! - An answer, body included, takes no longer than the limit that was given; a bare body is its reader's to limit.
//! - A connection is used again only where its last answer was read to the end and the server keeps it.

mod body;
mod connection;
mod flow;

pub(crate) use flow::{Flow, Given};

use body::Body;
use connection::{Connection, Idle, Sent};
use futures_util::future::{BoxFuture, Either, select};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{StatusCode, Uri};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use url::Url;

/// Asks for the body bare: an extension of a request.
#[derive(Clone, Debug)]
pub(crate) struct Bare;

/// The body of an answer, if it is had bare: an extension of the answer. Its first taker has it.
#[derive(Clone, Debug)]
pub(crate) struct Taken(Arc<Mutex<Option<Flow>>>);

impl Taken {
    pub(crate) fn take(&self) -> Option<Flow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) answer: Duration,
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Plain {
    host: String,
    port: u16,
    patience: Patience,
    idle: Arc<Idle>,
}

impl Plain {
    /// A client of the server at `url`, which has a host, that keeps so many connections while nobody needs them.
    pub(crate) fn new(url: &Url, patience: Patience, kept: usize) -> Self {
        // An address of IPv6 has brackets there, and none where names are looked up.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        Self { host, port, patience, idle: Arc::new(Idle::new(kept)) }
    }

    async fn answer(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let bare = request.extensions().get::<Bare>().is_some();
        address(&mut request)?;
        let deadline = Box::pin(sleep(self.patience.answer));
        match select(deadline, pin!(self.send(request))).await {
            Either::Left(_) => Err(late()),
            Either::Right((sent, deadline)) => self.give(sent?, bare, deadline).await,
        }
    }

    async fn send(&self, mut request: HttpRequest) -> Result<Sent, HttpError> {
        while let Some(connection) = self.idle.take() {
            match connection.send(request).await {
                Ok(sent) => return Ok(sent),
                Err((error, None)) => return Err(told(error)),
                Err((_, Some(unsent))) => request = unsent,
            }
        }
        let connection = self.connect().await?;
        connection.send(request).await.map_err(|(error, _)| told(error))
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let failed = |error| HttpError::new(HttpErrorKind::Connect, error);
        let stream = timeout(self.patience.connect, connect).await.map_err(|_| late())?.map_err(failed)?;
        // A request is written at once, and nothing is to wait for more.
        stream.set_nodelay(true).map_err(failed)?;
        Connection::new(stream).await.map_err(told)
    }

    async fn give(
        &self,
        sent: Sent,
        bare: bool,
        deadline: Pin<Box<Sleep>>,
    ) -> Result<HttpResponse, HttpError> {
        let Sent { answer, connection } = sent;
        let (mut head, incoming) = answer.into_parts();
        let goes = head.headers.get(CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        let idle = (!goes).then(|| Arc::clone(&self.idle));
        let whole = matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let body = match hyper::body::Body::size_hint(&incoming).exact() {
            Some(bytes @ 1..) if bare && whole => {
                let flow = Flow::new(connection, incoming, bytes, idle).await;
                head.extensions.insert(Taken(Arc::new(Mutex::new(Some(flow)))));
                HttpResponseBody::from(Vec::new())
            }
            _ => HttpResponseBody::new(Body::new(incoming, connection, idle, deadline)),
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

impl HttpService for Plain {
    fn call<'a, 'f>(&'a self, request: HttpRequest) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.answer(request))
    }
}

/// Makes of a request for an address one for a path at a host, as it is sent.
fn address(request: &mut HttpRequest) -> Result<(), HttpError> {
    let refused = |error: hyper::http::Error| HttpError::new(HttpErrorKind::Unknown, error);
    if !request.headers().contains_key(HOST) {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|error| refused(error.into()))?;
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| refused(error.into()))?;
    Ok(())
}

fn late() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut))
}

/// What became of a request, as the library decides by it whether to ask again.
fn told(error: hyper::Error) -> HttpError {
    let unanswered = error.is_closed() || error.is_canceled() || error.is_incomplete_message();
    let kind = if unanswered || error.is_body_write_aborted() {
        HttpErrorKind::Request
    } else if error.is_parse() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error)
}
