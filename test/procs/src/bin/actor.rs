//! An SDK proc that plays the part that its arguments write, one step after the other. See [`step`] for the steps.

// A step ends by a wild write: that is the point.
#![allow(unsafe_code)]

use sigmaos::{Code, Create, Error, Export, Pid, Principal, ProcSpec, Result, Sigma, Status, proto};
use std::io::{Read, Write, stdin};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "actor/published.rs"]
mod published;

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let mut child = None;
        for argument in std::env::args().skip(1) {
            let (word, rest) = argument.split_once(':').unwrap_or((&argument, ""));
            step(&sigma, &mut child, word, rest).await?;
        }
        Ok::<(), Error>(())
    })
}

/// Plays one step: `word`, or `word:rest`.
async fn step(sigma: &Sigma, child: &mut Option<Pid>, word: &str, rest: &str) -> Result<()> {
    match word {
        "start" => sigma.started().await,
        // Until somebody asks for the end.
        "wait-kill" => sigma.wait_kill().await,
        // Whatever anybody asks.
        "forever" => std::future::pending().await,
        "spin" => loop {
            std::hint::spin_loop();
        },
        // As what uses half a core and is never done.
        "spin-half" => loop {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_millis(5));
        },
        // Until its input ends.
        "spin-until-fed" => {
            let fed = std::thread::spawn(|| stdin().read_to_end(&mut Vec::new()));
            while !fed.is_finished() {
                std::hint::spin_loop();
            }
            Ok(())
        }
        // As long as the spinning of so many steps takes, on whatever machine.
        "work" => {
            (0..number(rest)).for_each(|_| std::hint::spin_loop());
            Ok(())
        }
        "say" => {
            println!("{rest}");
            Ok(())
        }
        "stdout" => fill(&mut std::io::stdout(), number(rest)),
        "stderr" => fill(&mut std::io::stderr(), number(rest)),
        "copy-input" => {
            let mut all = Vec::new();
            stdin().read_to_end(&mut all).map_err(broken)?;
            std::io::stdout().write_all(&all).map_err(broken)
        }
        "ok" => sigma.exited(status(rest, true)).await,
        "err" => sigma.exited(status(rest, false)).await,
        "fail" => Err(Error::new(Code::Invalid, rest)),
        "exit" => std::process::exit(number(rest) as i32),
        "abort" => std::process::abort(),
        "segv" => {
            // SAFETY: there is no memory at address 8: the process ends by SIGSEGV here, as the test wants.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
            Ok(())
        }
        "eat-mib" => {
            let mut eaten = vec![0u8; number(rest) << 20];
            // Written page by page, so that the system must give each of them.
            eaten.chunks_mut(4096).for_each(|page| page[0] = 1);
            println!("ate {} MiB", std::hint::black_box(eaten).len() >> 20);
            Ok(())
        }
        // A statement in a transaction that stays open; _ stands for a space.
        "sql-in-transaction" => {
            let db = sigmaos::db::Db::open(sigma, "/db/main").await?;
            let transaction = db.begin().await?;
            transaction.execute(&rest.replace('_', " "), []).await?;
            std::mem::forget(transaction);
            Ok(())
        }
        // BINARY,STEP,STEP…
        "spawn" => {
            let mut words = rest.split(',');
            let spec = ProcSpec::new(words.next().unwrap_or_default())?.args(words);
            let pid = sigma.spawn(spec).await?;
            println!("{pid}");
            *child = Some(pid);
            Ok(())
        }
        "wait-child" => match child {
            Some(pid) => sigma.wait_exit(*pid).await.map(drop),
            None => Err(Error::new(Code::Invalid, "there is no child to wait for")),
        },
        "put" => {
            let (path, text) = rest.split_once('=').unwrap_or((rest, ""));
            sigma.put_file(path, text.to_owned()).await.map(drop)
        }
        // PATH=MIB: opens it to be made anew, writes so much, and never closes it.
        "half-write" => {
            let (path, mib) = rest.split_once('=').unwrap_or((rest, ""));
            let how = proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
            let mut file = sigma.open_with(path, how).await?;
            file.write(vec![7; number(mib) << 20]).await?;
            std::mem::forget(file);
            Ok(())
        }
        "get" => {
            println!("{}", String::from_utf8_lossy(&sigma.get_file(rest).await?));
            Ok(())
        }
        "remove" => sigma.remove(rest).await,
        "rename" => {
            let (from, to) = rest.split_once('=').unwrap_or((rest, ""));
            sigma.rename(from, to).await
        }
        // PATH=PERM
        "mkdir" => {
            let (path, perm) = with_perm(rest)?;
            sigma.create(path, Create::directory().perm(perm)).await.map(drop)
        }
        // PATH=PERM: an empty file.
        "touch" => {
            let (path, perm) = with_perm(rest)?;
            sigma.create(path, Create::file().perm(perm)).await.map(drop)
        }
        // STEP: one that is `Denied`.
        "denied" => refused(sigma, child, rest, Code::Denied).await,
        // PATH: an ephemeral file there, for as long as this lives.
        "hold" => sigma.create(rest, Create::file().ephemeral()).await.map(drop),
        // PATH: serves a file `first` below it.
        "serve" => sigma.mount(rest, Export::new().file("first", "look twice")?).await,
        // Takes every descriptor that it may have, until its input ends.
        "hoard" => {
            let mut kept = Vec::new();
            while let Ok(one) = stdin().as_fd().try_clone_to_owned() {
                kept.push(one);
            }
            println!("hoards {}", kept.len());
            std::thread::spawn(move || {
                // However it ends.
                let _ = stdin().read_to_end(&mut Vec::new());
                drop(kept);
                println!("gave back");
            });
            Ok(())
        }
        // STEP: one that is `Busy`.
        "busy" => refused(sigma, child, rest, Code::Busy).await,
        // PATH,FENCE: says its epoch when it is the leader.
        "lead" => {
            let (path, fence) = rest.split_once(',').unwrap_or((rest, ""));
            println!("epoch {}", sigma.elect(path, fence, "an actor").await?.epoch());
            Ok(())
        }
        // PATH=TEXT
        "write-pipe" => {
            let (path, text) = rest.split_once('=').unwrap_or((rest, ""));
            let how = proto::OpenRequest { write: true, ..Default::default() };
            sigma.open_with(path, how).await?.write(text.to_owned()).await
        }
        "read-pipe" => {
            println!("{}", String::from_utf8_lossy(&sigma.open(rest).await?.read_to_end().await?));
            Ok(())
        }
        // Opens it, and never lets go.
        "keep-pipe" => {
            let how = proto::OpenRequest { read: true, ..Default::default() };
            std::mem::forget(sigma.open_with(rest, how).await?);
            Ok(())
        }
        // PORT,CONNECTIONS: answers so many requests to a port that it publishes.
        "publish" => {
            let (port, connections) = rest.split_once(',').unwrap_or((rest, ""));
            published::answer(sigma, number(port) as u16, number(connections)).await
        }
        // PORT: tries to make something else of a connection that was handed over.
        "turn" => published::turn(sigma, number(rest) as u16).await,
        // PORT: keeps what arrives, and takes nothing.
        "block" => {
            let kept = sigma.published(number(rest) as u16).await?;
            sigma.started().await?;
            sigma.wait_kill().await?;
            drop(kept);
            Ok(())
        }
        // BINARY,PRINCIPAL: spawns as a principal.
        "spawn-as" => {
            let (binary, principal) = rest.split_once(',').unwrap_or((rest, ""));
            let spec = ProcSpec { principal: Some(Principal::parse(principal)?), ..ProcSpec::new(binary)? };
            println!("{}", sigma.spawn(spec).await?);
            Ok(())
        }
        _ => Err(Error::new(Code::Invalid, format!("{word:?} is not a step that an actor knows"))),
    }
}

/// Plays a step that must fail by `code`.
async fn refused(sigma: &Sigma, child: &mut Option<Pid>, played: &str, code: Code) -> Result<()> {
    let (word, rest) = played.split_once(':').unwrap_or((played, ""));
    match Box::pin(step(sigma, child, word, rest)).await {
        Err(error) if error.code == code => Ok(()),
        done => Err(Error::new(Code::Internal, format!("{played} was not refused as {code:?}: {done:?}"))),
    }
}

/// PATH=PERM, in octal digits.
fn with_perm(text: &str) -> Result<(&str, u32)> {
    let (path, perm) = text.split_once('=').unwrap_or((text, "66"));
    let perm = u32::from_str_radix(perm, 8).map_err(|error| Error::new(Code::Invalid, error.to_string()))?;
    Ok((path, perm))
}

/// MESSAGE,DATA
fn status(text: &str, ok: bool) -> Status {
    let (message, data) = text.split_once(',').unwrap_or((text, ""));
    let (message, data) = (message.to_owned(), data.to_owned().into());
    if ok { Status::Ok { message, data } } else { Status::Err { message, data } }
}

/// Lines of 8 bytes, numbered, so that each place in the stream is known.
fn fill(out: &mut impl Write, bytes: usize) -> Result<()> {
    let all: String = (0..bytes.div_ceil(8)).map(|line| format!("{line:07}\n")).collect();
    out.write_all(&all.as_bytes()[..bytes]).and_then(|()| out.flush()).map_err(broken)
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn broken(error: std::io::Error) -> Error {
    Error::new(Code::Internal, error.to_string())
}
