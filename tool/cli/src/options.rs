//! Every command and flag, defined once: help and errors come from here.

mod load;
mod s3;
mod socialnet;

pub(crate) use load::Load;
pub(crate) use s3::S3;
pub(crate) use socialnet::Socialnet;

use clap::{Args, Parser, Subcommand};
use sigmaos::limits::DEFAULT_DEADLINE;
use sigmaos::{Pid, Restart};
use std::path::PathBuf;

/// A cloud operating system: procs, started in milliseconds, in a namespace that hides machines.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Where the kernel keeps its state [default: $XDG_STATE_HOME/sigmaos or ~/.local/state/sigmaos]
    #[arg(long, global = true, env = "SIGMA_STATE", value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// The realm to work in; the default one is made at first use
    #[arg(long, global = true, env = "SIGMA_REALM", default_value = "default", value_name = "NAME")]
    pub(crate) realm: String,

    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 3 no kernel runs; 4 something \
that was named does not exist. 'sigma run', 'wait' and 'kill --wait' exit as the proc did: 0 for Ok, 1 for Err, the code of a crash, 128 and the \
signal's number, 137 when killed or out of memory, 125 when it never started.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the kernel of this machine; returns when it serves
    Up(Up),
    /// End the kernel and everything that it runs
    Down,
    /// Show the kernel: what it has, what it runs, how well procs are kept apart
    Status,
    /// Show which layers of the sandbox and which limits this machine can have, and how to get the rest; no kernel needs to run
    Doctor,
    /// Make, list, limit and remove realms
    Realm {
        #[command(subcommand)]
        command: RealmCommand,
    },
    /// Run a program as a proc: uploads it, streams its output, passes input, exits as it does
    Run(Run),
    /// List the procs of the realm
    Ps {
        /// Also those that have ended
        #[arg(long, short)]
        all: bool,
    },
    /// Say why a proc waits, how a running one is served, or how it ended
    Why { pid: String },
    /// Write what a proc wrote: the beginning and the end of it, also after its end
    Logs {
        pid: Pid,
        /// And what it writes from now on, whole, until it ends
        #[arg(long, short)]
        follow: bool,
        /// Its standard error, not its standard output
        #[arg(long)]
        stderr: bool,
    },
    /// Ask a proc to end; after its grace period it is killed
    Kill {
        pid: Pid,
        /// Wait until it has ended, and exit as it did
        #[arg(long, short)]
        wait: bool,
    },
    /// Wait until a proc has ended, tell how, and exit as it did
    Wait { pid: Pid },
    /// List a directory of the namespace
    Ls {
        #[arg(default_value = "/")]
        path: String,
    },
    /// Write a file of the namespace to standard output
    Cat { path: String },
    /// Copy a local file into the namespace, making directories that are missing; '-' is standard input
    Put { file: PathBuf, path: String },
    /// Copy a file out of the namespace; '-' is standard output
    Get {
        path: String,
        /// [default: the file's name, here]
        file: Option<PathBuf>,
    },
    /// Remove an entry: a directory must be empty
    Rm { path: String },
    /// Rename an entry, a directory with all below it
    Mv { from: String, to: String },
    /// Make a directory
    Mkdir {
        path: String,
        /// Make those above it, too, and do not mind one that is there
        #[arg(long, short)]
        parents: bool,
    },
    /// Make a symlink at LINK that leads to TARGET
    Ln { target: String, link: String },
    /// Make a pipe: who opens it for reading waits for a writer, and the reverse
    Mkfifo { path: String },
    /// Show what is known of an entry
    Stat { path: String },
    /// Show a directory with all below it
    Tree {
        #[arg(default_value = "/")]
        path: String,
    },
    /// Show what happens in a directory, until interrupted
    Watch { path: String },
    /// Call a method of any service, or list what there is to call
    Rpc(Rpc),
    /// Measure, and hold the promises of SPECIFICATION.md
    Bench {
        #[command(subcommand)]
        command: Bench,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Stay in the foreground and show the log
    #[arg(long)]
    pub(crate) foreground: bool,

    /// End the kernel when the standard input, a pipe, is closed: as it is when whoever holds its other end is killed
    #[arg(long)]
    pub(crate) ends_with_input: bool,

    /// Run procs without a layer of their sandbox; 'sigma status' keeps showing it
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub(crate) insecure_without: Vec<String>,

    /// Off for experiments: BE procs then compete with LC procs as ordinary work does
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = ["on", "off"])]
    pub(crate) sched_idle: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RealmCommand {
    /// Make a realm
    Create { name: String },
    /// List the realms
    Ls,
    /// Remove a realm: its procs, its names and its files
    Rm { name: String },
    /// Set limits and grants of a realm; an empty value goes back to the default
    Set {
        name: String,
        /// Sizes take K, M or G; 'sigma realm show' lists the keys
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = parse_setting)]
        settings: Vec<(String, String)>,
    },
    /// Show the settings of a realm, and what it uses
    Show { name: String },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A static program: a local file, a path in /bin or /ux, or the name of one that comes with SigmaOS
    pub(crate) binary: String,

    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,

    /// Latency-critical, with so many thousandths of a core reserved
    #[arg(long, value_name = "MCPU")]
    pub(crate) lc: Option<u32>,

    /// The most memory that it may use: bytes, or with K, M or G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,

    /// Milliseconds from the request to end until the kernel kills
    #[arg(long, value_name = "MS")]
    pub(crate) grace: Option<u64>,

    /// What happens when it has ended by itself: never, on-failure, on-failure:LIMIT or always
    #[arg(long, value_name = "POLICY", default_value = "never", value_parser = parse_restart)]
    pub(crate) restart: Restart,

    /// Set a variable of its environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,

    /// Print only what the proc prints
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rpc {
    /// An rpc device, or a directory that holds one named rpc; for 'Namespace.*' any path of the server that is asked
    pub(crate) path: String,

    /// The method, as Service.Method; without it, services, methods and messages are listed
    pub(crate) method: Option<String>,

    /// The request as JSON; '-' is standard input
    #[arg(default_value = "{}")]
    pub(crate) request: String,

    /// Send the contents of a file beside the message; '-' is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,

    /// Keep what comes beside the reply; '-' is standard output, and the message then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Milliseconds until the call is given up
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_DEADLINE.as_millis() as u64)]
    pub(crate) deadline: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How long a proc takes to start, beside a bare process (thesis, Figure 4.2)
    Start {
        /// Starts to measure, one after the other
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(8..))]
        count: u32,

        /// Measure how many procs a second 8 spawners start, run and reap
        #[arg(long)]
        throughput: bool,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// What the kernel takes while nothing runs: the memory and the CPU of its processes
    Idle {
        /// How long to look
        #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// Light calls between two procs, beside a bare socket and tonic (thesis, Figure 4.8)
    Rpc {
        /// Calls to measure, one after the other
        #[arg(long, default_value_t = 5000, value_parser = parse_count)]
        count: usize,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// The operations of the namespace, in memory and on disk, beside a bare socket, the disk and the store
    Ns {
        /// How costs grow with the namespace, instead
        #[arg(long)]
        scale: bool,

        /// Operations of each kind to measure, one after the other
        #[arg(long, default_value_t = 5000, value_parser = parse_count)]
        count: usize,

        /// With --scale: entries of the largest directory
        #[arg(long, default_value_t = 1_000_000, value_parser = parse_count)]
        entries: usize,

        /// With --scale: the most watches
        #[arg(long, default_value_t = 10_000, value_parser = parse_count)]
        watches: usize,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// The calls of the realm's document database, beside a get at named and the disk
    Mongo {
        /// Calls of each kind to measure, one after the other
        #[arg(long, default_value_t = 5000, value_parser = parse_count)]
        count: usize,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// Objects read, written and listed through /s3, beside a bare client of the same S3 server; in a realm of its own
    S3(S3),
    /// The social network under the load of the thesis' Figure 4.5, in a realm of its own: latency, CPU, and the greatest scale that is borne
    Socialnet(Socialnet),
    /// The scheduler by itself: decisions a second, and how long a realm waits beside one that queues without end. Needs no kernel
    Sched {
        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// What best-effort work of another realm costs a latency-critical service; boots kernels of its own (Figures 4.10 to 4.14)
    Isolation {
        /// What the best-effort work does
        #[arg(long, default_value = "all", value_parser = ["all", "spin", "hog", "disk"])]
        noise: String,

        /// How long each run takes
        #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,

        /// Alternating runs, alone and beside best-effort work: medians of them count
        #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
    /// Sends HTTP requests on schedule, whatever the answers do, and measures from when each was due (Figure 4.5). Needs no kernel
    Load(Load),
    /// The image job, a proc for each picture, beside one plain process (thesis, Figure 4.9)
    Image {
        /// Pictures, each a proc of its own
        #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..))]
        tasks: u32,

        /// How often each proc resizes its picture
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        resizes: u32,

        /// The width of the results, in pixels
        #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..))]
        width: u32,

        /// The picture, a JPEG or a PNG [default: a JPEG of 6.3 MB, made on the spot]
        #[arg(long, value_name = "FILE")]
        image: Option<PathBuf>,

        /// Copy the results to this folder, which is emptied before
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,

        /// Exit with 1 when a promise is not kept
        #[arg(long)]
        check: bool,
    },
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE, such as limit.disk=2G")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A number that is not 0.
fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1 on".to_owned())
}

/// Bytes, or with K, M or G times 1024 each.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes, or with K, M or G: 512M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more bytes than any machine has".to_owned())
}

/// A restart policy; `on-failure:3` gives up after 3 restarts in a row.
fn parse_restart(text: &str) -> Result<Restart, String> {
    match text.split_once(':') {
        None if text == "never" => Ok(Restart::Never),
        None if text == "always" => Ok(Restart::Always),
        None if text == "on-failure" => Ok(Restart::ON_FAILURE),
        Some(("on-failure", limit)) => {
            let limit = limit.parse().map_err(|_| "on-failure:LIMIT takes a number".to_owned())?;
            Ok(Restart::OnFailure { limit })
        }
        _ => Err("never, on-failure, on-failure:LIMIT or always".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(parse_restart("never"), Ok(Restart::Never));
        assert_eq!(parse_restart("always"), Ok(Restart::Always));
        assert_eq!(parse_restart("on-failure"), Ok(Restart::ON_FAILURE));
        assert_eq!(parse_restart("on-failure:3"), Ok(Restart::OnFailure { limit: 3 }));
        for wrong in ["", "sometimes", "always:3", "on-failure:", "on-failure:-1"] {
            assert!(parse_restart(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("64K"), Ok(64 << 10));
        assert_eq!(parse_size("2g"), Ok(2 << 30));
        for wrong in ["", "M", "1T", "-1", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong:?}");
        }
    }
}
