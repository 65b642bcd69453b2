//! NX-27017, which speaks MongoDB's protocol over SQLite: enough of it for what `/mongo` passes on.

use super::{Server, find};
use std::path::PathBuf;

/// A server of its own for a story.
#[derive(Debug)]
pub struct Nx {
    server: Server,
}

impl Nx {
    /// Starts one, or says that the story is skipped.
    pub async fn start() -> Option<Self> {
        let program: PathBuf = find("SIGMA_TEST_NX")?;
        let mut server = Server::new("NX-27017");
        let program = program.to_str().expect("text").to_owned();
        let (data, port) = (server.place("data"), server.port().to_string());
        let (log, pid) = (server.place("nx.log"), server.place("nx.pid"));
        let words = ["--data-dir", &data, "-p", &port, "--log-file", &log, "--pid-file", &pid];
        let words = [program].into_iter().chain(words.map(str::to_owned)).collect();
        server.start(words, async |server| answers(server).await).await;
        Some(Self { server })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What a realm's setting of it says.
    pub fn url(&self) -> String {
        format!("mongodb://{}", self.server.address())
    }

    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    pub async fn start_again(&mut self) {
        self.server.start_again(async |server| answers(server).await).await;
    }
}

async fn answers(server: &Server) -> bool {
    tokio::net::TcpStream::connect(server.address()).await.is_ok()
}
