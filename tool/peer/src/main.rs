//! What benchmarks measure the system beside: a bare socket, tonic, `fdatasync`, redb, a client of S3. Each is a process of its own, as what
//! it stands beside is, and heavy libraries are linked by nothing else.
//!
//! Every mode prints `ready` when it can begin. A server then serves until it is killed; the others wait for a line on
//! standard input, so that whoever started them can pin them first, and print a line for each operation that they did
//! one after the other, its nanoseconds, and at the end `total` and the nanoseconds of all.

mod disk;
mod echo;
mod pace;
mod ping_pong;
mod s3;

use clap::{Parser, Subcommand};
use pace::Load;
use std::path::PathBuf;

/// What 'sigma bench' measures the system beside.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Answers bytes with the same bytes, blocking
    Pong { socket: PathBuf },
    /// Sends bytes and waits for them to come back, blocking
    Ping {
        socket: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Serves the light call by tonic
    TonicServe { socket: PathBuf },
    /// Calls it
    TonicCall {
        socket: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Overwrites a block of a file and makes it durable, one after the other
    Fdatasync {
        file: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Gets an object from an S3 server; the lines of the file say from where, and by which key
    S3Get {
        place: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Puts it there
    S3Put {
        place: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Lists a directory there, of as many keys as `--bytes` says
    S3List {
        place: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Puts entries into a redb, `--in-flight` of them in each durable transaction
    Redb {
        file: PathBuf,
        #[command(flatten)]
        load: Load,
    },
}

fn main() -> anyhow::Result<()> {
    match Options::parse().mode {
        Mode::Pong { socket } => ping_pong::serve(&socket),
        Mode::Ping { socket, load } => ping_pong::call(&socket, &load),
        Mode::TonicServe { socket } => echo::serve(&socket),
        Mode::TonicCall { socket, load } => echo::call(&socket, &load),
        Mode::Fdatasync { file, load } => disk::fdatasync(&file, &load),
        Mode::S3Get { place, load } => s3::get(&place, &load),
        Mode::S3Put { place, load } => s3::put(&place, &load),
        Mode::S3List { place, load } => s3::list(&place, &load),
        Mode::Redb { file, load } => disk::redb(&file, &load),
    }
}
