//! The body of an answer, which drives its connection while it is read.

use super::connection::{Connection, Idle};
use super::{late, told};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use object_store::client::HttpError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    /// None when it has ended, or is another's again; what was read of it is in `incoming`.
    connection: Option<Connection>,
    /// Where it goes when the body was read; none where the server closes it.
    idle: Option<Arc<Idle>>,
    deadline: Pin<Box<Sleep>>,
}

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        connection: Connection,
        idle: Option<Arc<Idle>>,
        deadline: Pin<Box<Sleep>>,
    ) -> Self {
        let mut body = Self { incoming, connection: Some(connection), idle, deadline };
        if body.incoming.is_end_stream() {
            body.ended();
        }
        body
    }

    fn ended(&mut self) {
        if let (Some(connection), Some(idle)) = (self.connection.take(), &self.idle) {
            idle.keep(connection);
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if this.connection.as_mut().is_some_and(|connection| connection.poll(cx).is_ready()) {
            // What it still gave, and why it ended, the body says.
            this.connection = None;
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => this.deadline.as_mut().poll(cx).map(|()| Some(Err(late()))),
            Poll::Ready(frame) => {
                if frame.is_none() || this.incoming.is_end_stream() {
                    this.ended();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(told)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
