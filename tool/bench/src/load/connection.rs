//! A connection to a server, which is kept alive from one request to the next.

use super::tally::Failure;
use super::{MAX_ANSWER, Server};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use tokio::net::TcpStream;

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What reads and writes; `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
}

/// Why there is no answer, in one word and in the system's.
pub(super) type Error = (Failure, String);

impl Connection {
    pub(super) async fn open(server: &Server) -> Result<Self, Error> {
        let failed = |error: std::io::Error| (Failure::Connect, error.to_string());
        let stream = TcpStream::connect(server.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Whether the next request can be sent on it, as far as is known by now.
    pub(super) async fn is_open(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.closed() => {}
            () = std::future::ready(()) => {}
        }
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Returns when the server closes the connection, on which nothing is asked meanwhile.
    pub(super) async fn closed(&mut self) {
        if let Some(driver) = &mut self.driver {
            // That it ends is all that counts: there is nobody to be told why.
            let _ = driver.await;
            self.driver = None;
        }
    }

    /// The body of the answer to a request, in whole.
    pub(super) async fn exchange(
        &mut self,
        server: &Server,
        path: &str,
        form: Option<String>,
    ) -> Result<Bytes, Error> {
        let request = request(server, path, form)?;
        let sender = &mut self.sender;
        let exchange = async move {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| (Failure::Broken, chain(&*error)))?.to_bytes();
            if !status.is_success() {
                let words = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
                return Err((Failure::Status(status.as_u16()), format!("{status}: {}", words.trim_end())));
            }
            Ok(body)
        };
        let mut exchange = Box::pin(exchange);
        let Some(driver) = &mut self.driver else { return exchange.await };
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // It has handed over all that came before its end.
            _ = driver => {
                self.driver = None;
                exchange.await
            }
        }
    }
}

fn request(server: &Server, path: &str, form: Option<String>) -> Result<Request<Full<Bytes>>, Error> {
    let request = Request::builder().uri(path).header(HOST, &server.host);
    let request = match form {
        None => request.method(Method::GET).body(Full::default()),
        Some(form) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form)),
    };
    request.map_err(|error| (Failure::Unsent, error.to_string()))
}

fn broken(error: hyper::Error) -> Error {
    (Failure::Broken, chain(&error))
}

/// An error with its causes: what hyper says alone is that there was one.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
