//! An SDK proc that takes as much of one thing as it gets: `flood forks|threads|memory|descriptors|smuggle|watches|spawns` says
//! how much that was, and ends, unless it is ended; `flood output|spin|hog|disk|all` never ends. `all` spins, hogs memory and writes
//! to the disk at once.

// Every flood is of bare system calls: that is the point.
#![allow(unsafe_code)]

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use libc::*;
use sigmaos::{Code, Error, ProcSpec, Result, Sigma};
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;

/// More than any proc is given of anything.
const PLENTY: usize = 20_000;

/// Calls in flight at a time: what one connection takes.
const AT_ONCE: usize = 256;

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let what = std::env::args().nth(1).unwrap_or_default();
        if what == "nothing" {
            return Ok(());
        }
        sigma.started().await?;
        let got = match what.as_str() {
            "forks" => count(fork),
            "threads" => threads(),
            "memory" => memory(),
            "descriptors" => count(socket_pair),
            "smuggle" => count(smuggle),
            "watches" => watches(&sigma).await?,
            "spawns" => spawns(&sigma).await?,
            "output" => output(),
            "spin" => spin(),
            "hog" => hog(),
            "disk" => return disk(&sigma).await,
            "all" => {
                std::thread::spawn(spin);
                std::thread::spawn(hog);
                return disk(&sigma).await;
            }
            _ => return Err(Error::new(Code::Invalid, format!("{what:?} is no flood"))),
        };
        println!("got {got}");
        Ok(())
    })
}

/// How often an attempt succeeds until one fails.
fn count(mut attempt: impl FnMut() -> bool) -> usize {
    (0..PLENTY).take_while(|_| attempt()).count()
}

fn fork() -> bool {
    // SAFETY: a child, if there is one, makes more of itself, as a bomb does, until it cannot.
    match unsafe { syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) } {
        -1 => false,
        0 => fork(),
        _ => true,
    }
}

fn threads() -> usize {
    let (done, wait) = mpsc::channel::<()>();
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let threads: Vec<_> = (0..PLENTY)
        .map_while(|_| {
            let wait = wait.clone();
            let held = move || drop(wait.lock().map(|wait| wait.recv()));
            std::thread::Builder::new().stack_size(1 << 14).spawn(held).ok()
        })
        .collect();
    drop(done);
    threads.len()
}

/// Takes memory, page by page, until it is killed.
fn memory() -> usize {
    let mut taken = Vec::new();
    loop {
        let mut block = vec![0u8; 1 << 20];
        block.chunks_mut(4096).for_each(|page| page[0] = 1);
        taken.push(std::hint::black_box(block));
    }
}

fn socket_pair() -> bool {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors, which are kept on purpose.
    unsafe { socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()) == 0 }
}

/// Sends descriptors to the kernel.
fn smuggle() -> bool {
    let mut byte = [0u8; 1];
    let mut part = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    #[repr(C, align(8))]
    struct Space([u8; 24]);
    let mut space = Space([0; 24]);
    // SAFETY: the space is that of a control message with one descriptor; everything outlives the call.
    unsafe {
        let mut header: msghdr = std::mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.0.as_mut_ptr().cast();
        header.msg_controllen = CMSG_SPACE(4) as _;
        let control = CMSG_FIRSTHDR(&header);
        (*control).cmsg_level = SOL_SOCKET;
        (*control).cmsg_type = SCM_RIGHTS;
        (*control).cmsg_len = CMSG_LEN(4) as _;
        CMSG_DATA(control).cast::<c_int>().write_unaligned(0);
        sendmsg(3, &raw const header, MSG_NOSIGNAL) != -1
    }
}

/// Waits for files that never come.
async fn watches(sigma: &Sigma) -> Result<usize> {
    let watch = async |number| sigma.wait_for(&format!("/never-{number}")).await;
    let mut waiting: FuturesUnordered<_> = (0..PLENTY).map(watch).collect();
    // All of them wait, but those that are refused.
    match waiting.next().await {
        Some(Err(error)) => println!("refused: {error}"),
        other => println!("a watch ended: {other:?}"),
    }
    Ok(waiting.len())
}

async fn spawns(sigma: &Sigma) -> Result<usize> {
    let mut got = 0;
    while got < PLENTY {
        let spawn = async |_| sigma.spawn(ProcSpec::new("/bin/flood")?.args(["nothing"])).await;
        for spawned in join_all((0..AT_ONCE).map(spawn)).await {
            match spawned {
                Ok(_) => got += 1,
                Err(error) => {
                    println!("refused: {error}");
                    return Ok(got);
                }
            }
        }
    }
    Ok(got)
}

fn spin() -> usize {
    loop {
        std::hint::spin_loop();
    }
}

/// Sweeps over more memory than any cache holds.
fn hog() -> usize {
    let mut memory = vec![0u64; (64 << 20) / 8];
    loop {
        memory.iter_mut().for_each(|word| *word = word.wrapping_add(1));
        std::hint::black_box(&mut memory);
    }
}

/// Writes files over and over.
async fn disk(sigma: &Sigma) -> Result<()> {
    let path = format!("/ux/~local/flood-{}", sigma.me().await?.pid);
    let contents = vec![7; 1 << 20];
    loop {
        sigma.put_file(&path, contents.clone()).await?;
    }
}

/// Writes for as long as it is let.
fn output() -> usize {
    let line = [b'x'; 4096];
    let mut out = std::io::stdout().lock();
    loop {
        if out.write_all(&line).is_err() {
            return 0;
        }
    }
}
