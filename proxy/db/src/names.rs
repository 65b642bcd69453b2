//! Which databases there are: those that the operator has set, `main`, and those that tenants make, a file each.

use crate::base::Base;
use crate::engine::mysql::Mysql;
use crate::engine::postgres::Postgres;
use crate::engine::sqlite::Sqlite;
use crate::place::{Kind, Place};
use crate::pool::Pool;
use sigma_proxy::Room;
use sigmaos::{Code, Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The database that is always there.
pub(crate) const MAIN: &str = "main";

/// Embedded databases of a realm.
pub(crate) const MAX_DATABASES: usize = 32;

/// Bytes of a database's name.
pub(crate) const MAX_DATABASE_NAME: usize = 64;

const SUFFIX: &str = ".sqlite";

/// The databases of a realm.
pub(crate) struct Names {
    directory: PathBuf,
    outside: BTreeMap<String, Place>,
    /// Where the embedded ones ask for room on the disk; none where nobody counts.
    room: Option<Room>,
    /// Those that somebody has used.
    open: Mutex<HashMap<String, Arc<dyn Base>>>,
}

impl Names {
    pub(crate) fn new(directory: PathBuf, outside: BTreeMap<String, Place>, room: Option<Room>) -> Self {
        Self { directory, outside, room, open: Mutex::default() }
    }

    /// All names, in order.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub(crate) fn list(&self) -> Result<BTreeSet<String>> {
        let mut names: BTreeSet<String> = self.outside.keys().cloned().collect();
        names.insert(MAIN.to_owned());
        let files = fs::read_dir(&self.directory).map_err(|error| self.unreadable(&error))?;
        for file in files {
            let file = file.map_err(|error| self.unreadable(&error))?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
        }
        Ok(names)
    }

    /// # Errors
    /// `NotFound` where there is no such database.
    pub(crate) fn ensure(&self, name: &str) -> Result<()> {
        let there =
            name == MAIN || self.outside.contains_key(name) || (is_name(name) && self.file(name).exists());
        if there {
            return Ok(());
        }
        let all = self.list()?.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!("there is no database {name}, but {all}; 'sigma mkdir /db/NAME' makes one");
        Err(Error::new(Code::NotFound, text))
    }

    /// A database, ready to be connected to.
    ///
    /// # Errors
    /// As [`Names::ensure`].
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<dyn Base>> {
        let mut open = self.open.lock().await;
        if let Some(base) = open.get(name) {
            return Ok(Arc::clone(base));
        }
        self.ensure(name)?;
        let path = format!("/db/{name}");
        let base: Arc<dyn Base> = match self.outside.get(name) {
            Some(place) if place.kind == Kind::Postgres => Pool::new(path, Postgres::new(place)),
            Some(place) => Pool::new(path, Mysql::new(place)),
            None => Pool::new(path, Sqlite::new(name, &self.file(name), self.room.clone())),
        };
        open.insert(name.to_owned(), Arc::clone(&base));
        Ok(base)
    }

    /// Makes an embedded database.
    ///
    /// # Errors
    /// `Exists` where the name is taken and `exclusive` asks for a new one, `Invalid` for what is no name, `Quota` past
    /// [`MAX_DATABASES`].
    pub(crate) async fn create(&self, name: &str, exclusive: bool) -> Result<()> {
        if !is_name(name) {
            let text = format!(
                "{name:?} is no name of a database: letters, digits, - and _ in lower case, at most {MAX_DATABASE_NAME}"
            );
            return Err(Error::new(Code::Invalid, text));
        }
        // Held, so that the count holds and nobody removes it meanwhile.
        let _open = self.open.lock().await;
        let names = self.list()?;
        if names.contains(name) {
            let exists = || Error::new(Code::Exists, format!("there is a database {name} already"));
            return if exclusive { Err(exists()) } else { Ok(()) };
        }
        if names.len() >= MAX_DATABASES + self.outside.len() {
            let text =
                format!("there are {MAX_DATABASES} databases, the most that a realm may have on a machine");
            return Err(Error::new(Code::Quota, text));
        }
        // SQLite takes an empty file for a database without tables.
        fs::write(self.file(name), b"").map_err(|error| self.unreadable(&error))
    }

    /// Removes an embedded database with all that is in it.
    ///
    /// # Errors
    /// `Busy` while somebody uses it, `Denied` for one that is not the tenant's to remove, `NotFound`.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let mut open = self.open.lock().await;
        self.ensure(name)?;
        if self.outside.contains_key(name) {
            let text = format!("{name} is outside, where the operator has set it: drop its tables instead");
            return Err(Error::new(Code::Denied, text));
        }
        if name == MAIN {
            return Err(Error::new(Code::Denied, "main is always there: drop its tables instead"));
        }
        if let Some(base) = open.get(name) {
            Arc::clone(base).close().await?;
            open.remove(name);
        }
        for suffix in ["-wal", "-shm", ""] {
            let mut file = self.file(name).into_os_string();
            file.push(suffix);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.unreadable(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{SUFFIX}"))
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        let code = if error.kind() == ErrorKind::StorageFull { Code::Quota } else { Code::Internal };
        Error::new(code, format!("the directory of the databases: {error}"))
    }
}

/// Names are parts of files' names and of settings' keys.
pub(crate) fn is_name(name: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=MAX_DATABASE_NAME).contains(&name.len()) && name.bytes().all(part)
}
