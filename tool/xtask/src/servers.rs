//! `cargo xtask servers`: the systems outside that tests speak to, installed where that can be done without a person.
//!
//! Debian's come by apt-get, where we are root; Python's go into an environment of their own, `target/python`. What is there
//! already is left alone. Tests learn the places by environment variables, and skip what has none; where `CI` is set a
//! missing one is an error.

mod debian;
mod python;

use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One system outside.
struct Server {
    name: &'static str,
    /// The environment variable that names its place to the tests.
    variable: &'static str,
    /// What that place is.
    place: &'static str,
    /// The tests that are skipped without it.
    tests: &'static str,
    source: Source,
}

enum Source {
    /// Packages, and what finds the place once they are installed.
    Debian(&'static [&'static str], fn() -> Option<PathBuf>),
    /// A program of the Python environment.
    Python(&'static str),
}

const SERVERS: &[Server] = &[
    Server {
        name: "PostgreSQL",
        variable: "SIGMA_TEST_POSTGRES",
        place: "the folder that holds postgres and initdb",
        tests: "the stories of test/tests/db.rs on PostgreSQL",
        source: Source::Debian(&["postgresql"], debian::postgres),
    },
    Server {
        name: "MariaDB",
        variable: "SIGMA_TEST_MARIADB",
        place: "the folder that holds sbin/mariadbd and bin/mariadb-install-db",
        tests: "the stories of test/tests/db.rs on MariaDB",
        source: Source::Debian(&["mariadb-server-core", "mariadb-client-core"], debian::mariadb),
    },
    Server {
        name: "Chromium",
        variable: "SIGMA_TEST_CHROMIUM",
        place: "the program",
        tests: "the stories of test/tests/socialnet.rs on its page",
        source: Source::Debian(&["chromium"], debian::chromium),
    },
    Server {
        name: "OpenSSL",
        variable: "SIGMA_TEST_OPENSSL",
        place: "the program",
        tests: "the stories of servers that are believed by their certificate",
        source: Source::Debian(&["openssl"], debian::openssl),
    },
    Server {
        name: "SeaweedFS, an S3 server",
        variable: "SIGMA_TEST_WEED",
        place: "the program weed",
        tests: "the stories of test/tests/s3.rs on a real S3 server",
        source: Source::Python("weed"),
    },
    Server {
        name: "NX-27017, a server that speaks MongoDB's protocol",
        variable: "SIGMA_TEST_NX",
        place: "the program nx-27017",
        tests: "the stories of test/tests/mongo.rs over MongoDB's protocol",
        source: Source::Python("nx-27017"),
    },
    Server {
        name: "Python with protobuf",
        variable: "SIGMA_TEST_PYTHON",
        place: "the interpreter",
        tests: "test/tests/protocol.rs",
        source: Source::Python("python3"),
    },
];

/// What was found, and what was not.
pub(crate) struct Servers {
    found: Vec<(&'static str, PathBuf)>,
    missing: Vec<Missing>,
}

struct Missing {
    server: &'static Server,
    why: String,
}

/// Prints the environment variables as a shell takes them.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let servers = Servers::install(workspace)?;
    servers.report();
    for (variable, place) in &servers.found {
        println!("export {variable}='{}'", place.display());
    }
    Ok(())
}

impl Servers {
    /// Installs what is missing and can be installed.
    ///
    /// # Errors
    /// When one is missing where none may be.
    pub(crate) fn install(workspace: &Workspace) -> Result<Self> {
        let mut servers = Self { found: Vec::new(), missing: Vec::new() };
        let debian = debian::install(&wanted());
        let home = workspace.target.join("python");
        let python = python::install(&home, &workspace.root.join("test/python/requirements.txt"));
        for server in SERVERS {
            match named(server).map_or_else(|| place(server, &home, &debian, &python), Ok) {
                Ok(place) => servers.found.push((server.variable, place)),
                Err(why) => servers.missing.push(Missing { server, why }),
            }
        }
        if std::env::var_os("CI").is_some() && !servers.missing.is_empty() {
            servers.report();
            bail!("CI is set, so no test may be skipped: install what is missing");
        }
        Ok(servers)
    }

    /// Tells a command that runs tests where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        for (variable, place) in &self.found {
            command.env(variable, place);
        }
    }

    /// Says which tests are skipped, and how to enable them.
    pub(crate) fn report(&self) {
        for missing in &self.missing {
            let Server { name, variable, place, tests, .. } = missing.server;
            eprintln!("SKIPPED: {tests}, since there is no {name}: {}.", missing.why);
            eprintln!("         To enable them, {}, or set {variable} to {place}.", missing.server.advice());
        }
    }
}

impl Server {
    /// How a person installs it.
    fn advice(&self) -> String {
        match self.source {
            Source::Debian(packages, _) => {
                format!("install it (Debian: apt-get install {})", packages.join(" "))
            }
            Source::Python(_) => "install Python 3.10 with venv and pip, and reach PyPI".to_owned(),
        }
    }
}

/// The Debian packages of what neither the environment names nor the system has.
fn wanted() -> Vec<&'static str> {
    let missing = SERVERS.iter().filter(|server| named(server).is_none());
    let packages = missing.filter_map(|server| match server.source {
        Source::Debian(packages, find) if find().is_none() => Some(packages),
        _ => None,
    });
    packages.flatten().copied().collect()
}

/// The place of a server that the environment does not name, or why there is none.
fn place(server: &Server, home: &Path, debian: &Result<()>, python: &Result<()>) -> Result<PathBuf, String> {
    let (found, tried) = match server.source {
        Source::Debian(_, find) => (find(), debian),
        Source::Python(program) => (python.is_ok().then(|| home.join("bin").join(program)), python),
    };
    let why = || tried.as_ref().err().map_or("it is not there".to_owned(), |error| format!("{error:#}"));
    found.filter(|place| place.exists()).ok_or_else(why)
}

/// What the environment names already.
fn named(server: &Server) -> Option<PathBuf> {
    std::env::var_os(server.variable).filter(|place| place != OsStr::new("")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_variable_of_its_own() {
        let mut variables: Vec<_> = SERVERS.iter().map(|server| server.variable).collect();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!(variables.len(), SERVERS.len());
        assert!(variables.iter().all(|variable| variable.starts_with("SIGMA_TEST_")));
    }

    #[test]
    fn what_could_not_be_installed_says_why() {
        let server = &SERVERS[6];
        let failed = Err(anyhow::anyhow!("no PyPI"));
        assert_eq!(place(server, Path::new("/nowhere"), &Ok(()), &failed), Err("no PyPI".to_owned()));
        assert!(
            place(server, Path::new("/nowhere"), &Ok(()), &Ok(())).is_err(),
            "a place that does not exist"
        );
    }
}
