//! How a SeaweedFS is started that speaks S3 on this machine's loopback and takes no key but one.

use anyhow::Result;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long one question at its start may take; then it is asked again.
const QUESTION: Duration = Duration::from_secs(1);

/// Its services that need a port of their own and are asked nothing from outside.
const INNER: [&str; 6] =
    ["s3.port.grpc", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"];

/// Where it listens.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) s3: u16,
    master: u16,
    inner: [u16; INNER.len()],
}

impl Ports {
    /// Ports that are free now.
    ///
    /// # Errors
    /// Where the loopback has none.
    pub(super) fn free() -> Result<Self> {
        // Held until all are known, so that none is given twice.
        let held: Vec<_> =
            (0..INNER.len() + 2).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let mut ports = held.iter().map(|listener| listener.local_addr().map(|address| address.port()));
        let mut next = || ports.next().unwrap_or_else(|| Err(std::io::ErrorKind::AddrNotAvailable.into()));
        let (s3, master, mut inner) = (next()?, next()?, [0; INNER.len()]);
        for port in &mut inner {
            *port = next()?;
        }
        Ok(Self { s3, master, inner })
    }
}

/// The file with the one key that it takes.
pub(super) fn identities(access_key: &str, secret_key: &str) -> String {
    json!({ "identities": [{
        "name": "sigma",
        "credentials": [{ "accessKey": access_key, "secretKey": secret_key }],
        "actions": ["Admin", "Read", "Write", "List"],
    }] })
    .to_string()
}

/// The arguments of `weed`: master, volume, filer and S3 in one process, with their data in the folder `data`, and `config`, the file of
/// [`identities`].
pub(super) fn arguments(data: &str, config: &str, ports: &Ports) -> Vec<String> {
    let fixed = [
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-filer",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
        "-volume.minFreeSpace=1",
    ];
    let places = [
        format!("-dir={data}"),
        format!("-s3.config={config}"),
        format!("-s3.port={}", ports.s3),
        format!("-master.port={}", ports.master),
    ];
    let inner = INNER.iter().zip(ports.inner).map(|(name, port)| format!("-{name}={port}"));
    fixed.into_iter().map(str::to_owned).chain(places).chain(inner).collect()
}

/// It has room for what is written, and S3 answers, if only that it knows nobody without a name.
pub(super) fn is_ready(ports: &Ports) -> bool {
    asked(ports.master, "/dir/assign").contains("\"fid\"") && asked(ports.s3, "/").contains("AccessDenied")
}

/// What a server on this machine answers, as far as it does.
fn asked(port: u16, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), QUESTION)?;
        stream.set_read_timeout(Some(QUESTION))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
