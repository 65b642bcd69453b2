//! MariaDB.

use super::{Certificate, Server, find};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The user, and their password.
pub const USER: &str = "sigma";
pub const PASSWORD: &str = "maria-5ecret-of-the-story";

/// The database.
pub const DATABASE: &str = "story";

/// A server of its own for a story.
#[derive(Debug)]
pub struct Mariadb {
    server: Server,
    prefix: PathBuf,
}

impl Mariadb {
    /// Starts one, or says that the story is skipped.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// As [`Mariadb::start`], with TLS where it has a certificate.
    pub async fn start_with(certificate: Option<&Certificate>) -> Option<Self> {
        let prefix = find("SIGMA_TEST_MARIADB")?;
        let mut server = Server::new("MariaDB");
        let program = |name: &str| prefix.join(name).to_str().expect("text").to_owned();
        let (data, first) = (format!("--datadir={}", server.place("data")), server.place("first.sql"));
        let (defaults, base) = ("--no-defaults".to_owned(), format!("--basedir={}", program("")));
        let init = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"];
        let mut words = vec![program("bin/mariadb-install-db"), defaults.clone(), base.clone(), data.clone()];
        words.extend(init.map(str::to_owned));
        server.prepare(&words);
        // Carried out before it answers, at each start.
        let user = format!("'{USER}'@'127.0.0.1'");
        let lines = [
            format!("CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;"),
            format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{PASSWORD}';"),
            format!("GRANT ALL ON *.* TO {user};"),
        ];
        fs::write(&first, lines.join("\n") + "\n").expect("a file of our own");
        let mut words = vec![program("sbin/mariadbd"), defaults, base, data];
        words.extend([
            format!("--port={}", server.port()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--socket={}", server.place("socket")),
            format!("--pid-file={}", server.place("pid")),
            format!("--init-file={first}"),
            "--skip-name-resolve".to_owned(),
            // A killed process loses nothing: this is for machines which lose power.
            "--innodb-flush-log-at-trx-commit=2".to_owned(),
            "--innodb-buffer-pool-size=16M".to_owned(),
        ]);
        if let Some(certificate) = certificate {
            let [shown, key] = certificate.kept_by(&server);
            words.extend([format!("--ssl-cert={shown}"), format!("--ssl-key={key}")]);
        }
        server.start(words, async |server| is_ready(&program("bin/mariadb"), server)).await;
        Some(Self { server, prefix })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What a realm's setting of it says, without the password.
    pub fn url(&self) -> String {
        format!("mysql://{USER}@{}/{DATABASE}", self.server.address())
    }

    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    pub async fn start_again(&mut self) {
        let client = self.prefix.join("bin/mariadb").to_str().expect("text").to_owned();
        self.server.start_again(async |server| is_ready(&client, server)).await;
    }

    /// What its own client says to a statement: one line a row, columns with a tab between.
    pub fn sql(&self, statement: &str) -> String {
        let client = self.prefix.join("bin/mariadb").to_str().expect("text").to_owned();
        let output = client_of(&client, &self.server).args(["-e", statement]).output().expect("mariadb runs");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

/// Its own client, as the user of the stories.
fn client_of(program: &str, server: &Server) -> Command {
    let port = format!("--port={}", server.port());
    let (user, password) = (format!("--user={USER}"), format!("--password={PASSWORD}"));
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", &port, &user, &password]);
    command.args(["--batch", "--skip-column-names", DATABASE]);
    command
}

fn is_ready(program: &str, server: &Server) -> bool {
    let mut command = client_of(program, server);
    let asked = command.args(["-e", "SELECT 1"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.expect("mariadb runs").success()
}
