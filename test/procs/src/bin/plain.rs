//! A program that never heard of SigmaOS. It plays its arguments: `say:TEXT`, `exit:CODE`, `copy-input`,
//! `ignore-term`, `handle-term` (the end is then exit code 7), and `wait`, which never ends by itself.

// It sets signal handlers as C does.
#![allow(unsafe_code)]

use std::io::{copy, stdin, stdout};

fn main() -> std::io::Result<()> {
    for argument in std::env::args().skip(1) {
        let (word, rest) = argument.split_once(':').unwrap_or((&argument, ""));
        match word {
            "say" => println!("{rest}"),
            "exit" => std::process::exit(rest.parse().unwrap_or(1)),
            "copy-input" => drop(copy(&mut stdin(), &mut stdout())?),
            "ignore-term" => on_term(libc::SIG_IGN),
            "handle-term" => on_term(end as *const () as libc::sighandler_t),
            "wait" => loop {
                std::thread::park();
            },
            _ => panic!("{word:?} is not a step that plain knows"),
        }
    }
    Ok(())
}

fn on_term(handler: libc::sighandler_t) {
    // SAFETY: the handler is a constant of the system, or a function that only calls _exit.
    unsafe { libc::signal(libc::SIGTERM, handler) };
}

extern "C" fn end(_: libc::c_int) {
    // SAFETY: _exit may be called in a signal handler, signal-safety(7).
    unsafe { libc::_exit(7) }
}
