//! The state directory: everything that outlives a kernel.
//!
//! ```text
//! STATE/lock          held by every kernel process of this machine, for as long as one lives
//!       machine.toml  the machine's id and how often it booted
//!       sigma.sock    the local socket
//!       sigmad.log    what the kernel processes say
//!       blob/DIGEST   binaries by content
//!       realm/NAME/   realm.toml, bin/ (names of binaries), ux/ (files)
//! ```

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sigma_abi::MachineId;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a kernel waits for the processes of the one before it.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// How long a kernel may take to greet us.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// The state directory of a kernel that holds its lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) dir: PathBuf,
    pub(crate) machine: MachineId,
    /// Counts the boots, so that pids never repeat.
    pub(crate) epoch: u64,
    /// Inherited by every kernel process.
    pub(crate) lock: OwnedFd,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    id: String,
    epoch: u64,
}

impl State {
    /// Makes or opens a state directory, waits for what is left of the kernel before, and counts the boot.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        make_dir(dir).with_context(|| format!("cannot make the state directory {shown}"))?;
        let dir = dir.canonicalize().with_context(|| format!("cannot open the state directory {shown}"))?;
        let lock = lock(&dir)?;
        for name in ["blob", "realm"] {
            make_dir(&dir.join(name)).with_context(|| format!("cannot make {name} in {}", dir.display()))?;
        }
        let (machine, epoch) = count_boot(&dir)?;
        Ok(Self { dir, machine, epoch, lock })
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blob")
    }

    pub(crate) fn realms(&self) -> PathBuf {
        self.dir.join("realm")
    }

    pub(crate) fn log_file(dir: &Path) -> PathBuf {
        dir.join("sigmad.log")
    }
}

/// A directory that only its owner may enter; one that exists is left as it is.
pub(crate) fn make_dir(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn write_durably(path: &Path, contents: &str) -> Result<()> {
    let write = || {
        let draft = path.with_extension("draft");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(contents.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(directory: &Path) -> Result<()> {
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("cannot write {}", directory.display()))
}

fn lock(dir: &Path) -> Result<OwnedFd> {
    let path = dir.join("lock");
    let lock = open(&path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if sigma_answers(dir) => bail!(
                "a kernel already runs on {}; 'sigma --state {} status' shows it",
                dir.display(),
                dir.display()
            ),
            // The processes of a kernel that died are on their way out; they hold the lock until they are gone.
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(Errno::WOULDBLOCK) => bail!(
                "processes of an earlier kernel still hold {} after {} s; see them with 'fuser -v {}'",
                path.display(),
                LOCK_DEADLINE.as_secs(),
                path.display()
            ),
            Err(error) => bail!("cannot lock {}: {error}", path.display()),
        }
    }
}

/// Whether a kernel greets us. One that was just killed may still take connections, but says nothing any more.
fn sigma_answers(dir: &Path) -> bool {
    let greeted = || {
        let directory = sigmaos::local::open_state(dir)?;
        let mut kernel = std::os::unix::net::UnixStream::connect(sigmaos::local::socket_path(&directory))?;
        kernel.set_read_timeout(Some(ANSWER_DEADLINE))?;
        kernel.write_all(&sigmaos::wire::hello(None).encode())?;
        kernel.read_exact(&mut [0])
    };
    greeted().is_ok()
}

fn count_boot(dir: &Path) -> Result<(MachineId, u64)> {
    let path = dir.join("machine.toml");
    let damaged = || format!("{} is damaged; it holds 'id' and 'epoch'", path.display());
    let (machine, epoch) = match fs::read_to_string(&path) {
        Ok(text) => {
            let file: MachineFile = toml::from_str(&text).with_context(damaged)?;
            (file.id.parse().with_context(damaged)?, file.epoch + 1)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (draw_machine()?, 1),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let file = MachineFile { id: machine.to_string(), epoch };
    write_durably(&path, &toml::to_string(&file).context("cannot write the machine's file")?)?;
    Ok((machine, epoch))
}

fn draw_machine() -> Result<MachineId> {
    let mut bytes = [0; 4];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot draw the machine's id from /dev/urandom")?;
    Ok(MachineId(u32::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_is_counted_and_the_machine_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        let (machine, epoch) = (first.machine, first.epoch);
        drop(first);
        let second = State::open(dir.path()).unwrap();
        assert_eq!((second.machine, second.epoch), (machine, epoch + 1));
    }

    #[test]
    fn a_damaged_machine_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("machine.toml"), "id = 7").unwrap();
        let error = format!("{:#}", State::open(dir.path()).unwrap_err());
        assert!(error.contains("machine.toml is damaged"), "{error}");
    }
}
