//! `cargo xtask demo`: a whole life of a small cloud. Boots a kernel in a temporary folder, resizes pictures with
//! one best-effort proc each, shows how their starts went, and shuts down; also after Ctrl-C, at any time.

mod interrupt;
mod sigma;
mod starts;

use crate::build;
use crate::workspace::{Workspace, run as run_command};
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use interrupt::Interrupt;
use sigma::Sigma;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Where the pictures are while the job runs.
const INPUT: &str = "/ux/~local/demo";
const OUTPUT: &str = "/ux/~local/demo/out";

/// What the proc that orchestrates reserves, in thousandths of a core.
const MANAGER_MCPU: u32 = 100;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many pictures, each a proc of its own
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// How often each proc resizes its picture
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    resizes: u32,
    /// The picture, a JPEG or a PNG; made on the spot if not given (a JPEG of 6.3 MB)
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The width of the results, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..))]
    width: u32,
    /// Keep the kernel's state directory, with its logs
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let image = options.image.as_deref().map(|file| {
        fs::canonicalize(file).with_context(|| format!("there is no picture {}", file.display()))
    });
    let image = image.transpose()?;
    let dist = build::run(workspace)?;
    // From here on Ctrl-C asks us to stop, and everything that was started is stopped on the way out.
    let interrupt = Interrupt::install()?;
    let mut folder =
        tempfile::Builder::new().prefix("sigma-demo-").tempdir().context("making a temporary folder")?;
    if options.keep {
        folder.disable_cleanup(true);
        eprintln!("The state directory is kept: {}", folder.path().display());
    }
    let image = match image {
        Some(file) => file,
        None => make_image(&dist, folder.path())?,
    };
    let results = workspace.target.join("demo");

    let sigma = Sigma::new(dist.join("bin/sigma"), folder.path().join("state"), &interrupt);
    sigma.up()?;
    resize(&sigma, options, &image)?;
    fetch(&sigma, &results)?;
    let listing = sigma.output(&["ps", "--all", "--json"])?;
    print!("{}", starts::table(&listing)?);
    sigma.down()?;
    println!("The pictures are in {}", results.display());
    Ok(())
}

/// The proc's own program makes the picture, so that xtask needs no picture library.
fn make_image(dist: &Path, folder: &Path) -> Result<PathBuf> {
    let file = folder.join("sample.jpg");
    let mut program = Command::new(dist.join("proc/imgresize"));
    run_command(
        program.arg("sample").arg(&file),
        "the sample picture could not be made; give one with --image",
    )?;
    Ok(file)
}

fn resize(sigma: &Sigma, options: &Options, image: &Path) -> Result<()> {
    let extension = image.extension().map_or("jpg".into(), |extension| extension.to_string_lossy());
    let input = format!("{INPUT}/in.{extension}");
    sigma.output(&["put", &image.to_string_lossy(), &input])?;

    let (mcpu, width) = (MANAGER_MCPU.to_string(), options.width.to_string());
    let (resizes, tasks) = (options.resizes.to_string(), options.tasks.to_string());
    let bar = ProgressBar::new(options.tasks.into());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} pictures, {elapsed}")?);
    let started = Instant::now();
    let run =
        ["run", "--lc", &mcpu, "imgresize", "--width", &width, "--resizes", &resizes, "--tasks", &tasks];
    let run = [&run[..], &["--input", &input, "--output", OUTPUT]].concat();
    sigma.lines(&run, |line| match progress(line) {
        Some((done, of)) => {
            bar.set_length(of);
            bar.set_position(done);
        }
        None => bar.suspend(|| println!("{line}")),
    })?;
    bar.finish();
    println!(
        "{tasks} procs resized {} {resizes} times each to a width of {width} in {:.2} s",
        image.display(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What the job says of itself on a line of its own: `progress DONE TOTAL`.
fn progress(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (word, done, of) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (word == "progress" && words.next().is_none()).then_some((done, of))
}

/// Copies what came out into a fresh folder.
fn fetch(sigma: &Sigma, results: &Path) -> Result<()> {
    if results.exists() {
        fs::remove_dir_all(results).with_context(|| format!("emptying {}", results.display()))?;
    }
    fs::create_dir_all(results).with_context(|| format!("making {}", results.display()))?;
    let listing = sigma.output(&["ls", "--json", OUTPUT])?;
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(&listing).context("reading the list of results")?;
    ensure!(!entries.is_empty(), "the job ended well but left nothing in {OUTPUT}");
    for entry in entries {
        let name = entry["name"].as_str().context("an entry of the list has no name")?;
        sigma.output(&["get", &format!("{OUTPUT}/{name}"), &results.join(name).to_string_lossy()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_is_told_from_other_lines() {
        assert_eq!(progress("progress 3 48"), Some((3, 48)));
        for line in ["progress", "progress 3", "progress 3 48 1", "progress a 48", "in progress 3 48", ""] {
            assert_eq!(progress(line), None, "{line}");
        }
    }
}
