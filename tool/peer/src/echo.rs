//! The light call by tonic: gRPC over a unix socket, each side on one thread.

use crate::pace::{self, Load};
use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use stub::Text;
use stub::echo_client::EchoClient;
use stub::echo_server::{Echo, EchoServer};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

mod stub {
    #![allow(clippy::all, unreachable_pub, unused_qualifications)]
    tonic::include_proto!("echo");
}

struct Voice;

#[tonic::async_trait]
impl Echo for Voice {
    async fn say(&self, request: Request<Text>) -> Result<Response<Text>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

pub(crate) fn serve(socket: &Path) -> Result<()> {
    runtime()?.block_on(async {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("listen at {}", socket.display()))?;
        pace::ready()?;
        let server = Server::builder().add_service(EchoServer::new(Voice));
        server.serve_with_incoming(UnixListenerStream::new(listener)).await.context("serve by tonic")
    })
}

pub(crate) fn call(socket: &Path, load: &Load) -> Result<()> {
    runtime()?.block_on(async {
        let mut client = EchoClient::new(connect(socket.to_owned()).await?);
        let text = Text { text: "hello".into(), payload: vec![7; load.bytes].into() };
        pace::wait()?;
        for _ in 0..load.warm_up {
            client.say(text.clone()).await?;
        }
        let begun = Instant::now();
        if load.in_flight > 1 {
            many(&client, &text, load).await?;
            return pace::print(&[], begun.elapsed());
        }
        let mut times = Vec::with_capacity(load.count);
        for _ in 0..load.count {
            let started = Instant::now();
            client.say(text.clone()).await?;
            times.push(started.elapsed());
        }
        pace::print(&times, begun.elapsed())
    })
}

/// Keeps `in_flight` calls on their way until all were made.
async fn many(client: &EchoClient<Channel>, text: &Text, load: &Load) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(load.count));
    let callers: Vec<_> = (0..load.in_flight)
        .map(|_| {
            let (mut client, text, left) = (client.clone(), text.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    client.say(text.clone()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(())
}

async fn connect(socket: PathBuf) -> Result<Channel> {
    // A name is needed and not used.
    let endpoint = Endpoint::from_static("http://peer");
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.context("connect by tonic")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("make the runtime")
}
