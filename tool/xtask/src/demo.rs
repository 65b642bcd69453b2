//! `cargo xtask demo`: a whole life of a small cloud. Boots a kernel in a temporary folder, resizes pictures with
//! one best-effort proc each, shows how their starts went, and shuts down; also after Ctrl-C, at any time.

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
    let results = workspace.target.join("demo");
    let sigma = Sigma::new(dist.join("bin/sigma"), folder.path().join("state"), &interrupt);
    sigma.up()?;
    sigma.run(&job(options, image.as_deref(), &results))?;
    sigma.down()
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
