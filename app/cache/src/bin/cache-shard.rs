//! The proc of one shard: `cache-shard DIRECTORY [BYTES]`. See [`cache::shard`].

use sigmaos::{Code, Error, Result};
use std::process::ExitCode;

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let (directory, limit_bytes) = arguments(&std::env::args().skip(1).collect::<Vec<_>>())?;
        cache::shard::serve(&sigma, &directory, limit_bytes).await
    })
}

fn arguments(args: &[String]) -> Result<(String, u64)> {
    let wrong = || Error::new(Code::Invalid, "usage: cache-shard DIRECTORY [BYTES]");
    match args {
        [directory] => Ok((directory.clone(), cache::shard::DEFAULT_LIMIT)),
        [directory, bytes] => Ok((directory.clone(), bytes.parse().map_err(|_| wrong())?)),
        _ => Err(wrong()),
    }
}
