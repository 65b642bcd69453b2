//! What the system said, as a code for programs and a sentence for people.

use rustix::io::Errno;
use sigmaos::{Code, Error, Path};

/// A failed access to `path`, a path within ux.
pub(crate) fn failed(path: &Path, errno: Errno) -> Error {
    let (code, why) = match errno {
        Errno::NOENT => (Code::NotFound, "does not exist"),
        Errno::EXIST => (Code::Exists, "exists"),
        Errno::NOTEMPTY => (Code::NotEmpty, "is not empty: remove what is in it first"),
        Errno::NOTDIR => (Code::NotDir, "is not a directory, or something on the way to it is not"),
        Errno::ISDIR => (Code::IsDir, "is a directory: list it, or name a file in it"),
        Errno::LOOP => (Code::Denied, LINK),
        Errno::XDEV => (Code::Denied, "is on a file system that was mounted here, where ux does not go"),
        Errno::NXIO | Errno::NODEV => (Code::Denied, NOT_REGULAR),
        Errno::ACCESS | Errno::PERM => {
            (Code::Denied, "is closed to ux: its owner or mode on the machine's disk was changed")
        }
        Errno::ROFS => (Code::Denied, "is on a disk that is mounted read-only; the operator must see to it"),
        Errno::NOSPC | Errno::DQUOT => {
            (Code::Quota, "finds no room: the machine's disk is full; remove files that are not needed")
        }
        Errno::NAMETOOLONG => (Code::TooLarge, "has a name that is too long for the machine's disk"),
        Errno::FBIG | Errno::OVERFLOW => (Code::TooLarge, "would be larger than the machine's disk allows"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            (Code::Busy, "cannot be opened now, too much is open: close some files, or try again later")
        }
        Errno::BUSY | Errno::TXTBSY => (Code::Busy, "is in use on the machine: try again later"),
        Errno::INVAL => (Code::Invalid, "is refused by the machine's disk: choose another name"),
        other => return Error::new(Code::Internal, format!("{path}: the machine's disk failed: {other}")),
    };
    Error::new(code, format!("{path} {why}"))
}

/// As [`failed`], for what the standard library said.
pub(crate) fn failed_io(path: &Path, error: &std::io::Error) -> Error {
    failed(path, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// An entry that is there, and that ux does not open.
pub(crate) fn refused(path: &Path, kind: rustix::fs::FileType) -> Error {
    match kind {
        rustix::fs::FileType::Directory => failed(path, Errno::ISDIR),
        rustix::fs::FileType::Symlink => failed(path, Errno::LOOP),
        _ => failed(path, Errno::NXIO),
    }
}

const LINK: &str =
    "is a symbolic link, or one is on the way to it, and ux follows none: use the path of the file itself";

const NOT_REGULAR: &str =
    "is neither a file nor a directory (a fifo, a socket or a device), and ux opens none";
