//! A small sigmad: starts the real jail, speaks its protocol, and launches procs in it.

#![allow(dead_code, unreachable_pub)]

use bytes::BytesMut;
use prost::Message;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Longer than anything here takes; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// The host uids that the tests give to a realm as root.
pub const UID_BASE: u32 = 700_000;

/// The ordinary user that root tests as.
pub const NOBODY: u32 = 65_534;

/// How a jail is started.
#[derive(Clone, Copy, Debug)]
pub enum As {
    /// As root, with a range of uids.
    Range,
    /// As root, without one.
    Root,
    /// As an ordinary user: whoever runs the test, or nobody.
    User,
}

/// What this test can start a jail as.
pub fn ways() -> Vec<As> {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } == 0 { vec![As::Range, As::Root, As::User] } else { vec![As::User] }
}

pub struct Jail {
    pub child: Child,
    control: UnixStream,
    received: BytesMut,
    fds: VecDeque<OwnedFd>,
    pub layers: Vec<String>,
}

pub struct Launcher {
    pub process: i32,
    pub class: i32,
    pub door: UnixStream,
    pub pidfd: OwnedFd,
    pub input: File,
    pub output: File,
    pub errors: File,
}

impl Jail {
    /// Starts a jail and waits until it stands.
    pub fn start(way: As, without: &str) -> Self {
        let mut jail = Self::start_raw(way, &args(way, without));
        let frame = jail.next().expect("the jail is ready");
        assert_eq!(frame.method(), "Jail.Ready", "{:?}", frame.message::<proto::JailFailed>());
        jail.layers = frame.message::<proto::JailReady>().unwrap().layers;
        jail
    }

    pub fn start_raw(way: As, args: &[String]) -> Self {
        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = Command::new(jail_binary());
        command.args(args).stdin(Stdio::null());
        // SAFETY: takes nothing.
        if matches!(way, As::User) && unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let fd = theirs.as_raw_fd();
        // SAFETY: dup2 is safe between fork and exec; where the number is 3 already it must only stay open.
        unsafe {
            command.pre_exec(move || {
                let result = if fd == 3 { libc::fcntl(3, libc::F_SETFD, 0) } else { libc::dup2(fd, 3) };
                if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
            })
        };
        let child = command.spawn().unwrap();
        Self { child, control, received: BytesMut::new(), fds: VecDeque::new(), layers: Vec::new() }
    }

    pub fn send(&self, method: &'static str, message: &impl Message) {
        (&self.control).write_all(&Frame::new(Kind::Notice, 0, method, message).encode()).unwrap();
    }

    pub fn send_bytes(&self, bytes: &[u8]) {
        (&self.control).write_all(bytes).unwrap();
    }

    /// The next frame; `None`: the jail closed its socket.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.received).unwrap() {
                return Some(frame);
            }
            let (bytes, fds) = receive(&self.control);
            if bytes.is_empty() {
                return None;
            }
            self.received.extend_from_slice(&bytes);
            self.fds.extend(fds);
        }
    }

    pub fn make(&mut self) -> Launcher {
        self.send("Jail.Make", &proto::MakeLauncher { class: proto::Class::Lc.into() });
        self.launcher()
    }

    /// Makes a launcher that joins control groups by these files.
    pub fn make_in(&mut self, groups: &[RawFd]) -> Launcher {
        let make = proto::MakeLauncher { class: proto::Class::Be.into() };
        let mut frame = Frame::new(Kind::Notice, 0, "Jail.Make", &make);
        frame.fds = groups.len() as u8;
        send_fds(&self.control, &frame.encode(), groups);
        self.launcher()
    }

    /// Waits for a launcher that was asked for.
    pub fn launcher(&mut self) -> Launcher {
        let frame = self.next().expect("a launcher");
        assert_eq!((frame.method(), frame.fds), ("Jail.Launcher", 5));
        let ready: proto::LauncherReady = frame.message().unwrap();
        let mut fd = || self.fds.pop_front().expect("five descriptors");
        let (door, pidfd) = (UnixStream::from(fd()), fd());
        door.set_read_timeout(Some(DEADLINE)).unwrap();
        let (input, output, errors) = (fd().into(), fd().into(), fd().into());
        Launcher { process: ready.process, class: ready.class, door, pidfd, input, output, errors }
    }

    pub fn exited(&mut self) -> proto::LauncherExited {
        let frame = self.next().expect("an exit");
        assert_eq!(frame.method(), "Jail.Exited");
        frame.message().unwrap()
    }

    pub fn failed(&mut self) -> proto::JailFailed {
        let frame = self.next().expect("a failure");
        assert_eq!(frame.method(), "Jail.Failed");
        frame.message().unwrap()
    }

    /// Runs `binary` to its end and returns what it printed and how it ended.
    pub fn run(&mut self, binary: &File, args: &[&str]) -> (String, proto::LauncherExited) {
        let mut launcher = self.make();
        launcher.launch(binary, args, &[], false);
        drop(launcher.input);
        let mut text = String::new();
        launcher.output.read_to_string(&mut text).unwrap();
        launcher.errors.read_to_string(&mut text).unwrap();
        (text, self.exited())
    }

    pub fn close(self) -> Child {
        self.child
    }
}

impl Launcher {
    /// Sends the launch; returns when exec has succeeded or failed.
    pub fn launch(&self, binary: &File, args: &[&str], env: &[&str], idle: bool) {
        let (mut reader, writer) = io::pipe().unwrap();
        self.send_launch(args, env, idle, &[binary.as_raw_fd(), writer.as_raw_fd()]);
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    pub fn send_launch(&self, args: &[&str], env: &[&str], idle: bool, fds: &[RawFd]) {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let launch = proto::Launch { args: texts(args), env: texts(env), idle, notify: fds.len() > 1 };
        let mut frame = Frame::new(Kind::Notice, 0, "Launcher.Launch", &launch);
        frame.fds = fds.len() as u8;
        send_fds(&self.door, &frame.encode(), fds);
    }

    /// What the launcher says where it could not become a proc.
    pub fn failed(&mut self) -> proto::LaunchFailed {
        let mut bytes = Vec::new();
        self.door.read_to_end(&mut bytes).unwrap();
        let frame = Frame::decode(&mut BytesMut::from(&bytes[..])).unwrap().expect("a frame");
        assert_eq!(frame.method(), "Launcher.Failed");
        frame.message().unwrap()
    }

    /// Reads standard output up to and with the line that begins with `last`.
    pub fn lines_until(&mut self, last: &str) -> Vec<String> {
        let (mut lines, mut line, mut byte) = (Vec::new(), Vec::new(), [0]);
        while self.output.read(&mut byte).unwrap() == 1 {
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
            if lines.last().unwrap().starts_with(last) {
                break;
            }
        }
        lines
    }

    /// The pid by which this test knows the process.
    pub fn host_pid(&self) -> i32 {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// Waits until the process has ended.
    pub fn ended(&self) -> bool {
        let mut polled = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&mut polled, 1, DEADLINE.as_millis() as i32) == 1 }
    }
}

pub fn args(way: As, without: &str) -> Vec<String> {
    let base = if matches!(way, As::Range) { UID_BASE.to_string() } else { "none".into() };
    let mut args = vec!["--uid-base".to_owned(), base];
    if !without.is_empty() {
        args.extend(["--without".to_owned(), without.to_owned()]);
    }
    args
}

/// A program of test/procs, static and open for reading.
pub fn program(name: &str) -> File {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = "x86_64-unknown-linux-musl";
        let mut folder = PathBuf::from(env!("CARGO_BIN_EXE_jail"));
        while folder.file_name().is_some_and(|name| name != "debug" && name != "release" && name != "dist") {
            folder.pop();
        }
        folder.pop();
        if folder.file_name().is_some_and(|name| name == target) {
            folder.pop();
        }
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "sigma-jail", "--examples", "--target", target])
            .arg("--target-dir")
            .arg(&folder)
            .status()
            .unwrap();
        assert!(status.success());
        folder.join(target).join("debug/examples")
    });
    File::open(folder.join(name)).unwrap()
}

/// The jail, where every user can execute it.
fn jail_binary() -> &'static PathBuf {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let copy = PathBuf::from(format!("/var/tmp/sigma-jail-test-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_jail"), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        // SAFETY: the function takes nothing and may run at exit.
        unsafe { libc::atexit(remove_copy) };
        copy
    })
}

extern "C" fn remove_copy() {
    let _ = fs::remove_file(format!("/var/tmp/sigma-jail-test-{}", std::process::id()));
}

#[repr(C, align(8))]
struct Ancillary([u8; 64]);

pub fn send_fds(socket: &UnixStream, bytes: &[u8], fds: &[RawFd]) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut space = Ancillary([0; 64]);
    // SAFETY: the space has room for the few descriptors that tests send; everything outlives the call.
    let count = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let length = size_of_val(fds) as u32;
            header.msg_control = space.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length) as _;
            let control = libc::CMSG_FIRSTHDR(&header);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(length) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(control).cast(), fds.len());
        }
        libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_NOSIGNAL)
    };
    assert_eq!(count, bytes.len() as isize, "{}", io::Error::last_os_error());
}

fn receive(socket: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut bytes, mut fds, mut space) = (vec![0; 4096], Vec::new(), Ancillary([0; 64]));
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: as in the jail's own `receive_once`.
    let count = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.0.as_mut_ptr().cast();
        header.msg_controllen = space.0.len() as _;
        // A socket with a timeout is interrupted also by signals that are ignored.
        let count = loop {
            let count = libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC);
            if count != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break count;
            }
        };
        let control = libc::CMSG_FIRSTHDR(&header);
        if count > 0 && !control.is_null() && (*control).cmsg_type == libc::SCM_RIGHTS {
            let length = ((*control).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
            let data: *const RawFd = libc::CMSG_DATA(control).cast();
            fds.extend((0..length).map(|index| OwnedFd::from_raw_fd(data.add(index).read_unaligned())));
        }
        count
    };
    match count {
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::ConnectionReset => bytes.clear(),
        -1 => panic!("receiving from the jail: {}", io::Error::last_os_error()),
        count => bytes.truncate(count as usize),
    }
    (bytes, fds)
}
