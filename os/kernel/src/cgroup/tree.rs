//! File operations on a tree of control groups.

use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a group of ended processes may take to become empty.
const EMPTY_DEADLINE: Duration = Duration::from_secs(2);

/// Bytes of the longest number, and more than that.
const MAX_DIGITS: usize = 32;

/// Where the groups of a machine are in a hierarchy. Those of best-effort work have a top of their own: idle beside all that
/// runs on the machine, sigmad and tools included, and not beside LC work alone.
#[derive(Debug)]
pub(super) struct Top {
    main: PathBuf,
    best_effort: PathBuf,
}

impl Top {
    pub(super) fn new(hierarchy: &Path, name: &str) -> Self {
        Self { main: hierarchy.join(name), best_effort: hierarchy.join(format!("{name}-be")) }
    }

    pub(super) fn all(&self) -> [&Path; 2] {
        [&self.main, &self.best_effort]
    }

    /// The group of this name: `lc/…` or `be/…`.
    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        let name = name.as_ref();
        match name.strip_prefix("be") {
            Ok(below) if below.as_os_str().is_empty() => self.best_effort.clone(),
            Ok(below) => self.best_effort.join(below),
            Err(_) => self.main.join(name),
        }
    }
}

/// Writes one setting.
pub(super) fn write(group: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = group.join(file);
    fs::write(&path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Weighs a group that may have been idle, as one that an earlier kernel has left: an idle one takes no weight.
pub(super) fn weigh(group: &Path, file: &str, weight: impl ToString) -> io::Result<()> {
    let _ = write(group, "cpu.idle", 0);
    write(group, file, weight)
}

/// Opens the file by which processes join a group.
pub(super) fn entrance(group: &Path, file: &str) -> io::Result<File> {
    let path = group.join(file);
    File::options()
        .write(true)
        .open(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Reads one number.
pub(super) fn number(group: &Path, file: &str) -> Option<u64> {
    // One read gives all of it. What reads a whole file asks for its size before, and for more after: some are read at each
    // end of a proc.
    let mut digits = [0; MAX_DIGITS];
    let count = File::open(group.join(file)).ok()?.read(&mut digits).ok()?;
    str::from_utf8(&digits[..count]).ok()?.trim().parse().ok()
}

/// Reads one number of a file of `name number` lines.
pub(super) fn field(group: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Makes a group; one that exists is fine.
pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", group.display())))
        }
        _ => Ok(()),
    }
}

/// The processes of a group; none of one that has gone.
pub(super) fn processes(group: &Path) -> Vec<u32> {
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    processes.lines().filter_map(|process| process.parse().ok()).collect()
}

/// Moves all processes of a group; one that ends meanwhile, or a group that has gone, is fine.
pub(super) fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for process in processes(from) {
        match fs::write(to.join("cgroup.procs"), process.to_string()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::SRCH) => {
                let text = format!("{}: {error}", to.display());
                return Err(io::Error::new(error.kind(), text));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a group and those below it, waiting for processes that are ending.
pub(super) fn remove_all(group: &Path) {
    let children = fs::read_dir(group).into_iter().flatten().flatten();
    for child in children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_all(&child.path());
    }
    remove(group);
}

/// Removes one group, waiting for processes that are ending.
pub(super) fn remove(group: &Path) {
    let deadline = Instant::now() + EMPTY_DEADLINE;
    while let Err(error) = fs::remove_dir(group) {
        let ending = error.kind() == io::ErrorKind::ResourceBusy;
        if !ending || Instant::now() > deadline {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(group = %group.display(), %error, "cannot remove a control group");
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
