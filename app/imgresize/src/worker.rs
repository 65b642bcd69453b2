//! The worker: one picture, from the namespace and back.
//!
//! It reaches its picture by path alone, so that it does not matter which server has it.

use crate::args::{self, Args};
use crate::command::how;
use crate::resize::{self, thumbnail};
use sigmaos::{Code, Path, Sigma, Status};
use std::time::Duration;

/// How the program is called.
pub const USAGE: &str = "usage: imgresize-worker INPUT OUTPUT --width W [--resizes N]";

/// How often an access is tried while its server is not there, and how long it is waited in between; twice as long
/// each time. A server that was restarted is back by then.
const ACCESSES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Why there is no picture. All of it is final: the manager does not begin such a worker again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}\n{USAGE}")]
    Args(#[from] args::Error),
    #[error("an input and an output are wanted, not {0} paths\n{USAGE}")]
    Paths(usize),
    #[error(transparent)]
    Namespace(#[from] sigmaos::Error),
    #[error("{path} cannot be resized: {why}")]
    Picture { path: Path, why: resize::Error },
}

/// What a worker is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub input: Path,
    pub output: Path,
    pub width: u32,
    pub resizes: u32,
}

impl Request {
    /// # Errors
    /// One sentence that names the argument, and the usage.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut args = Args::parse(args, &["--width", "--resizes"])?;
        let (width, resizes) = how(&mut args)?;
        match args.rest.as_slice() {
            [input, output] => {
                Ok(Self { input: Path::parse(input)?, output: Path::parse(output)?, width, resizes })
            }
            other => Err(Error::Paths(other.len())),
        }
    }

    /// The arguments that [`Request::parse`] reads.
    pub fn to_args(&self) -> [String; 6] {
        let (input, output) = (self.input.to_string(), self.output.to_string());
        let (width, resizes) = (self.width.to_string(), self.resizes.to_string());
        [input, output, "--width".into(), width, "--resizes".into(), resizes]
    }
}

/// Does the work of the proc.
///
/// # Errors
/// Which file, and why.
pub async fn work(sigma: &Sigma, args: impl IntoIterator<Item = String>) -> Result<(), Error> {
    let request = Request::parse(args)?;
    sigma.started().await?;
    let bytes = patiently(async || sigma.get_file(request.input.as_str()).await).await?;
    let small = thumbnail(&bytes, request.width, request.resizes)
        .map_err(|why| Error::Picture { path: request.input.clone(), why })?;
    drop(bytes);
    let message = format!("{} × {} pixels, {} bytes", small.width, small.height, small.bytes.len());
    let contents = sigmaos::rpc::Bytes::from(small.bytes);
    patiently(async || sigma.put_file(request.output.as_str(), contents.clone()).await).await?;
    sigma.exited(Status::Ok { message, data: sigmaos::rpc::Bytes::new() }).await?;
    Ok(())
}

/// Tries again while the server is not there or has too much to do. Reading or replacing a whole file twice does no harm.
async fn patiently<T>(access: impl AsyncFn() -> sigmaos::Result<T>) -> sigmaos::Result<T> {
    let mut wait = FIRST_WAIT;
    for _ in 1..ACCESSES {
        match access().await {
            Err(error) if matches!(error.code, Code::Unreachable | Code::Busy | Code::Deadline) => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            done => return done,
        }
    }
    access().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_manager_writes_the_worker_reads() {
        let request = parse("/in.jpg /out.jpg --width 80 --resizes 3").unwrap();
        assert_eq!(Request::parse(request.to_args()).unwrap(), request);
    }

    #[test]
    fn wrong_arguments_are_told_with_the_usage() {
        for (line, text) in [
            ("/in.jpg --width 80", "not 1 paths"),
            ("in.jpg /out.jpg --width 80", "\"in.jpg\" is not an absolute path"),
            ("/in.jpg /out.jpg", "--width is missing"),
            ("/in.jpg /out.jpg --width 80 --times 3", "--times is no flag"),
        ] {
            assert!(parse(line).unwrap_err().contains(text), "{line}");
        }
    }
}
