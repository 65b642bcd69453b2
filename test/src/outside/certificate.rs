//! Certificates of servers on the loopback, made by OpenSSL.

use super::{Server, find};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a server shows, who signed it, and its key, as PEM.
#[derive(Debug)]
pub struct Certificate {
    pub authority: String,
    shown: String,
    key: String,
}

/// The least that OpenSSL wants to read of its settings, whatever the system's are.
const SETTINGS: &str = "[req]\ndistinguished_name=name\n[name]\n";

/// A key of its own, and days that are enough for a story.
const NEW: &str = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -config settings";

impl Certificate {
    /// One of 127.0.0.1 by an authority of its own, or says that the story is skipped.
    pub fn new() -> Option<Self> {
        let openssl = find("SIGMA_TEST_OPENSSL")?;
        let folder = tempfile::tempdir().expect("a folder");
        let run = |words: String| {
            let mut command = Command::new(&openssl);
            let output = command.arg("req").args(words.split(' ')).current_dir(folder.path()).output();
            let output = output.expect("openssl runs");
            assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let read = |name| fs::read_to_string(Path::new(folder.path()).join(name)).expect("a file of our own");
        fs::write(folder.path().join("settings"), SETTINGS).expect("a file of our own");
        run(format!(
            "{NEW} -subj /CN=authority -addext basicConstraints=critical,CA:TRUE -keyout authority.key -out authority.pem"
        ));
        run(format!(
            "{NEW} -subj /CN=server -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1 \
             -CA authority.pem -CAkey authority.key -keyout key.pem -out shown.pem"
        ));
        Some(Self { authority: read("authority.pem"), shown: read("shown.pem"), key: read("key.pem") })
    }

    /// The files of what a server shows and of its key, in its folder.
    pub(super) fn kept_by(&self, server: &Server) -> [String; 2] {
        [server.keep("shown.pem", &self.shown), server.keep("key.pem", &self.key)]
    }
}
