//! A program that never heard of SigmaOS. It plays its arguments: `say:TEXT`, `exit:CODE`, `copy-input`,
//! `ignore-term`, `handle-term` (the end is then exit code 7), `wait`, which never ends by itself, and `door:HEX`, which
//! writes bytes to its door and says whether the kernel then closed it.

// It sets signal handlers as C does.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write, copy, stdin, stdout};
use std::os::fd::FromRawFd;

fn main() -> std::io::Result<()> {
    for argument in std::env::args().skip(1) {
        let (word, rest) = argument.split_once(':').unwrap_or((&argument, ""));
        match word {
            "say" => println!("{rest}"),
            "exit" => std::process::exit(rest.parse().unwrap_or(1)),
            "copy-input" => drop(copy(&mut stdin(), &mut stdout())?),
            "ignore-term" => on_term(libc::SIG_IGN),
            "handle-term" => on_term(end as *const () as libc::sighandler_t),
            "door" => door(rest)?,
            "wait" => loop {
                std::thread::park();
            },
            _ => panic!("{word:?} is not a step that plain knows"),
        }
    }
    Ok(())
}

fn door(hex: &str) -> std::io::Result<()> {
    let bytes: Vec<u8> =
        (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect();
    // SAFETY: descriptor 3 is the door, which nothing else in this program uses.
    let mut door = unsafe { File::from_raw_fd(3) };
    door.write_all(&bytes)?;
    let mut said = Vec::new();
    // One that is closed with bytes unread is reset; that is an end, too.
    let _ = door.read_to_end(&mut said);
    println!(
        "the door was closed: {}",
        String::from_utf8_lossy(&said).replace(|c: char| c.is_control(), " ")
    );
    stdout().flush()
}

fn on_term(handler: libc::sighandler_t) {
    // SAFETY: the handler is a constant of the system, or a function that only calls _exit.
    unsafe { libc::signal(libc::SIGTERM, handler) };
}

extern "C" fn end(_: libc::c_int) {
    // SAFETY: _exit may be called in a signal handler, signal-safety(7).
    unsafe { libc::_exit(7) }
}
