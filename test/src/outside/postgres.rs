//! PostgreSQL.

use super::{Certificate, Server, find};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The user, and their password.
pub const USER: &str = "sigma";
pub const PASSWORD: &str = "pg-5ecret-of-the-story";

/// The database.
pub const DATABASE: &str = "postgres";

/// A server of its own for a story.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
}

impl Postgres {
    /// Starts one, or says that the story is skipped.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// As [`Postgres::start`], with TLS where it has a certificate.
    pub async fn start_with(certificate: Option<&Certificate>) -> Option<Self> {
        let programs = find("SIGMA_TEST_POSTGRES")?;
        let mut server = Server::new("PostgreSQL");
        let program = |name: &str| programs.join(name).to_str().expect("text").to_owned();
        let (data, password) = (server.place("data"), server.place("password"));
        fs::write(&password, PASSWORD).expect("a file of our own");
        let init = ["--pgdata", &data, "--username", USER, "--pwfile", &password, "--auth=scram-sha-256"];
        let init = init.into_iter().chain(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        server.prepare(&[program("initdb")].into_iter().chain(init.map(str::to_owned)).collect::<Vec<_>>());
        let port = server.port().to_string();
        // A killed process loses nothing without fsync: that is for machines which lose power.
        let words = [
            "-D",
            &data,
            "-p",
            &port,
            "-h",
            "127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "fsync=off",
        ];
        let mut words: Vec<_> = [program("postgres")].into_iter().chain(words.map(str::to_owned)).collect();
        if let Some(certificate) = certificate {
            let [shown, key] = certificate.kept_by(&server);
            let set = ["ssl=on".to_owned(), format!("ssl_cert_file={shown}"), format!("ssl_key_file={key}")];
            words.extend(set.into_iter().flat_map(|set| ["-c".to_owned(), set]));
        }
        let ready = program("pg_isready");
        server.start(words, async |server| is_ready(&ready, server)).await;
        Some(Self { server, programs })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What a realm's setting of it says, without the password.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{DATABASE}", self.server.address())
    }

    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    pub async fn start_again(&mut self) {
        let ready = self.programs.join("pg_isready").to_str().expect("text").to_owned();
        self.server.start_again(async |server| is_ready(&ready, server)).await;
    }

    /// What its own client says to a statement: one line a row, columns with a bar between.
    pub fn sql(&self, statement: &str) -> String {
        let port = self.server.port().to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", DATABASE, "-qAtX", "-c", statement];
        let mut psql = Command::new(self.programs.join("psql"));
        let output = psql.args(args).env("PGPASSWORD", PASSWORD).output().expect("psql runs");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

fn is_ready(program: &str, server: &Server) -> bool {
    let port = server.port().to_string();
    let mut command = Command::new(program);
    let asked = command.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", DATABASE]).status();
    asked.expect("pg_isready runs").success()
}
