//! SeaweedFS, which speaks S3 and takes no key but those that it knows.

use super::server::free_port;
use super::{Certificate, Server, find};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The key of the stories, and its secret.
pub const ACCESS_KEY: &str = "weed-key-of-the-story";
pub const SECRET_KEY: &str = "weed-5ecret-of-the-story";

/// How long one question at its start may take; then it is asked again.
const QUESTION: Duration = Duration::from_secs(1);

/// A server of its own for a story: master, volume, filer and S3 in one process.
#[derive(Debug)]
pub struct Weed {
    server: Server,
    master: u16,
    filer: u16,
    https: u16,
}

impl Weed {
    /// Starts one, or says that the story is skipped.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// As [`Weed::start`], and speaks https on a port of its own where it has a certificate.
    pub async fn start_with(certificate: Option<&Certificate>) -> Option<Self> {
        let program = find("SIGMA_TEST_WEED")?;
        let mut server = Server::new("SeaweedFS");
        let (data, config) = (server.place("data"), server.place("identities.json"));
        let identities = serde_json::json!({ "identities": [{
            "name": "story",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List"],
        }] });
        fs::write(&config, identities.to_string()).expect("a file of our own");
        server.prepare(&["mkdir".to_owned(), data.clone()]);
        let master = free_port();
        let mut words = vec![program.to_str().expect("text").to_owned(), "server".to_owned()];
        words.extend([
            format!("-dir={data}"),
            format!("-s3.config={config}"),
            format!("-s3.port={}", server.port()),
            format!("-master.port={master}"),
        ]);
        let filer = free_port();
        words.push(format!("-filer.port={filer}"));
        for own in ["s3.port.grpc", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port.grpc"]
        {
            words.push(format!("-{own}={}", free_port()));
        }
        let fixed = [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            "-filer",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            // One that was killed elects itself anew; with the default of 10 s that takes up to 22 s.
            "-master.electionTimeout=1s",
        ];
        let small = ["-master.volumeSizeLimitMB=64", "-volume.max=100", "-volume.minFreeSpace=1"];
        words.extend(fixed.into_iter().chain(small).map(str::to_owned));
        let https = free_port();
        if let Some(certificate) = certificate {
            let [shown, key] = certificate.kept_by(&server);
            words.extend([
                format!("-s3.port.https={https}"),
                format!("-s3.cert.file={shown}"),
                format!("-s3.key.file={key}"),
            ]);
        }
        server.start(words, async |server| is_ready(master, server)).await;
        Some(Self { server, master, filer, https })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What a realm's setting of it says.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The same of one with a certificate.
    pub fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.https)
    }

    /// How many objects are being made of parts in a bucket: each is a directory there.
    pub fn uploads(&self, bucket: &str) -> usize {
        let place = format!("/buckets/{bucket}/.uploads/");
        asked(self.filer, &place).matches(&format!("\"FullPath\":\"{place}")).count()
    }

    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    pub async fn start_again(&mut self) {
        let master = self.master;
        self.server.start_again(async |server| is_ready(master, server)).await;
    }
}

/// It has room for what is written, and S3 answers, if only that it knows nobody without a name.
fn is_ready(master: u16, server: &Server) -> bool {
    asked(master, "/dir/assign").contains("\"fid\"") && asked(server.port(), "/").contains("AccessDenied")
}

/// What a server on this machine answers, as far as it does.
fn asked(port: u16, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), QUESTION)?;
        stream.set_read_timeout(Some(QUESTION))?;
        let head = "Accept: application/json\r\nConnection: close";
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
