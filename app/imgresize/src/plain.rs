//! The same work as one process of the machine, without SigmaOS: what a job of procs is measured against.

use crate::command::Plain;
use crate::job::numbered;
use crate::resize::thumbnail;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Why the work failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{attempted}: {why}")]
    File { attempted: String, why: std::io::Error },
    #[error("{input} cannot be resized: {why}")]
    Picture { input: String, why: crate::resize::Error },
    #[error("the sample: {0}")]
    Sample(#[from] crate::picture::Error),
}

/// Resizes the picture as many times over as there are tasks, with a thread for each core; each task reads, decodes,
/// resizes, encodes and writes. Tells how long all took.
///
/// # Errors
/// A file that cannot be read or written, a picture that is none. The first one ends its thread.
pub fn resize(job: &Plain) -> Result<Duration, Error> {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(job.tasks as usize);
    let work = || -> Result<(), Error> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= job.tasks as usize {
                return Ok(());
            }
            task(job, index)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(begun.elapsed())
}

fn task(job: &Plain, index: usize) -> Result<(), Error> {
    let bytes = std::fs::read(&job.input)
        .map_err(|why| Error::File { attempted: format!("read {}", job.input), why })?;
    let small = thumbnail(&bytes, job.width, job.resizes)
        .map_err(|why| Error::Picture { input: job.input.clone(), why })?;
    let name = Path::new(&job.input).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    write(&Path::new(&job.output).join(numbered(&name, index)), &small.bytes)
}

/// Writes the sample picture.
///
/// # Errors
/// Where the file cannot be written.
pub fn sample(out: &str) -> Result<(), Error> {
    write(Path::new(out), &crate::sample::jpeg()?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes)
        .map_err(|why| Error::File { attempted: format!("write {}", path.display()), why })
}
