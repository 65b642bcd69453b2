//! `cargo xtask demo`: a whole life of a small cloud. Boots a kernel in a temporary folder, resizes pictures with
//! one best-effort proc each, shows how their starts went, runs the social network in a second realm under the load of the thesis, and
//! shuts down; also after Ctrl-C, at any time.

mod interrupt;
mod sigma;

use crate::build;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use interrupt::Interrupt;
use sigma::Sigma;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The load of the social network that a core bears with ease.
const SCALE_OF_A_CORE: f64 = 0.25;

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
    /// A free TCP port of this machine for the social network
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The load of the social network: times 600, 1200, 1800 and 900 requests a second; a quarter for each core if not given, at most 1
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// Leave it all running in the end, with the social network for people
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
    let results = workspace.target.join("demo");
    let sigma = Sigma::new(dist.join("bin/sigma"), folder.path().join("state"), &interrupt);
    sigma.up(options.keep)?;
    sigma.run(&job(options, image.as_deref(), &results))?;
    sigma.run(&network(options))?;
    if options.keep {
        folder.disable_cleanup(true);
        return sigma.leave();
    }
    sigma.down()
}

/// The social network in a realm of its own: its users, the staircase, Figure 4.6's columns.
fn network(options: &Options) -> Vec<OsString> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let scale = options.scale.unwrap_or((cores as f64 * SCALE_OF_A_CORE).min(1.0));
    let mut arguments: Vec<OsString> = ["bench", "socialnet", "--once", "--check"].map(OsString::from).into();
    arguments.extend(["--port".into(), options.port.to_string().into()]);
    arguments.extend(["--scale".into(), scale.to_string().into()]);
    arguments.extend(options.keep.then(|| "--keep".into()));
    arguments
}

/// The job beside one plain process that does the same: the bar, the ratio, the steps of the starts, the pictures.
fn job(options: &Options, image: Option<&Path>, results: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["bench", "image"].map(OsString::from).into();
    let numbers = [("--tasks", options.tasks), ("--resizes", options.resizes), ("--width", options.width)];
    for (flag, number) in numbers {
        arguments.extend([flag.into(), number.to_string().into()]);
    }
    if let Some(image) = image {
        arguments.extend(["--image".into(), image.into()]);
    }
    arguments.extend(["--output".into(), results.into()]);
    arguments
}
