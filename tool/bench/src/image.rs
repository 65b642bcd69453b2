//! `sigma bench image`: the image job (thesis, section 3.2 and Figure 4.9) beside one plain process that runs the same
//! worker code on all cores.

use crate::procs::read_all;
use crate::promise::IMAGE_MAKESPAN;
use crate::report::Report;
use crate::steps::Steps;
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sigmaos::{Pid, ProcSpec, Sigma, proto};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the job works in the namespace.
const FOLDER: &str = "/ux/~local/bench-image";

/// What the proc that orchestrates reserves, in thousandths of a core. It mostly waits.
const MANAGER_MCPU: u32 = 100;

/// What to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// Pictures, each a worker proc of its own.
    pub tasks: u32,
    /// How often each worker resizes its picture.
    pub resizes: u32,
    /// The width of the results, in pixels.
    pub width: u32,
    /// The picture; `None`: one is made, a JPEG of 6.3 MB.
    pub image: Option<PathBuf>,
    /// Where the results are copied to.
    pub output: Option<PathBuf>,
}

/// Runs the job as one plain process and as procs, one after the other.
///
/// `programs` is the folder with `imgresize` and `imgresize-worker`.
///
/// # Errors
/// Where a part of the job fails, saying which.
pub async fn run(sigma: &Sigma, kernel: &proto::KernelInfo, programs: &Path, job: &Job) -> Result<Report> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let image = match &job.image {
        Some(image) => image.clone(),
        None => make_image(programs, folder.path())?,
    };
    let plain = plain(programs, job, &image, folder.path())?;
    let input = prepare(sigma, programs, &image).await?;
    let (makespan, pids) = procs(sigma, job, &input).await?;
    let mut report = Report::new("image");
    report.kernel(kernel);
    report.environment(
        "job",
        format!("{} tasks, {} resizes each to a width of {}", job.tasks, job.resizes, job.width),
    );
    report
        .environment("picture", format!("{} ({} bytes)", image.display(), std::fs::metadata(&image)?.len()));
    if let Some(output) = &job.output {
        report.environment("results", format!("{} in {}", fetch(sigma, output).await?, output.display()));
    }
    report.row("one plain process, all cores", plain.as_secs_f64(), "s");
    report.row("a proc for each picture", makespan.as_secs_f64(), "s");
    report.row("procs", pids.len() as f64, "");
    steps(sigma, &pids).await?.print(&mut report);
    report.row("thesis: 48 tasks, 20 resizes each, SigmaOS", 37.52, "s");
    report.row("thesis: the same, Kubernetes", 37.45, "s");
    report.promise(IMAGE_MAKESPAN, makespan.as_secs_f64() / plain.as_secs_f64());
    clear(sigma).await?;
    Ok(report)
}

fn make_image(programs: &Path, folder: &Path) -> Result<PathBuf> {
    let image = folder.join("sample.jpg");
    let made = Command::new(programs.join("imgresize")).arg("sample").arg(&image).status();
    ensure!(
        made.context("run imgresize")?.success(),
        "the sample picture could not be made; give one with --image"
    );
    Ok(image)
}

/// The floor: one process, a thread for each core, the same worker code.
fn plain(programs: &Path, job: &Job, image: &Path, folder: &Path) -> Result<Duration> {
    let out = folder.join("plain");
    std::fs::create_dir(&out).context("make a temporary folder")?;
    let begun = Instant::now();
    let status = Command::new(programs.join("imgresize"))
        .arg("plain")
        .args(["--width", &job.width.to_string(), "--resizes", &job.resizes.to_string()])
        .args(["--tasks", &job.tasks.to_string()])
        .args([image, &out])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("run imgresize")?;
    ensure!(status.success(), "the plain process failed on {}", image.display());
    Ok(begun.elapsed())
}

/// Brings the programs and the picture into the namespace.
async fn prepare(sigma: &Sigma, programs: &Path, image: &Path) -> Result<String> {
    for program in ["imgresize", "imgresize-worker"] {
        let path = programs.join(program);
        let contents = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        sigma.put_file(&format!("/bin/{program}"), contents).await?;
    }
    clear(sigma).await?;
    sigma.create_dir_all(&format!("{FOLDER}/out")).await?;
    let extension = image.extension().map_or("jpg".into(), |extension| extension.to_string_lossy());
    let input = format!("{FOLDER}/in.{extension}");
    let contents = std::fs::read(image).with_context(|| format!("read {}", image.display()))?;
    sigma.put_file(&input, contents).await?;
    Ok(input)
}

/// Runs the job as procs; its makespan, and the pids of all of them.
async fn procs(sigma: &Sigma, job: &Job, input: &str) -> Result<(Duration, Vec<Pid>)> {
    let spec = ProcSpec::new("/bin/imgresize")?
        .args(["--width", &job.width.to_string(), "--resizes", &job.resizes.to_string()])
        .latency_critical(MANAGER_MCPU);
    let mut args = spec.args.clone();
    args.extend([
        "--tasks".to_owned(),
        job.tasks.to_string(),
        "--output".to_owned(),
        format!("{FOLDER}/out"),
    ]);
    args.push(input.to_owned());
    let spec = spec.args(args);
    let begun = Instant::now();
    let request = proto::SpawnRequest { spec: Some(spec.into()), follow: true, input: false };
    let manager = sigma.spawn_with(request).await?;
    let (shown, errors) = tokio::join!(show_progress(sigma, manager, job), read_all(sigma, manager, true));
    let status = sigma.wait_exit(manager).await?;
    let makespan = begun.elapsed();
    shown?;
    ensure!(status.is_ok(), "the job ended with {status}\n{}", errors?);
    let mut pids = vec![manager];
    let manager = manager.to_string();
    for proc in sigma.procs(true).await?.iter().filter(|proc| proc.parent == manager) {
        pids.push(proc.pid.parse()?);
    }
    Ok((makespan, pids))
}

/// Draws a bar from the manager's lines `progress DONE TOTAL`.
async fn show_progress(sigma: &Sigma, manager: Pid, job: &Job) -> Result<()> {
    let bar = ProgressBar::new(job.tasks.into());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} pictures, {elapsed}")?);
    let (mut offset, mut line) = (0, Vec::new());
    loop {
        let output = sigma.output(manager, false, offset).await?;
        if output.end {
            bar.finish();
            return Ok(());
        }
        offset = output.offset + output.bytes.len() as u64;
        for byte in output.bytes {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if let Some(done) = progress(&String::from_utf8_lossy(&line)) {
                bar.set_position(done);
            }
            line.clear();
        }
    }
}

fn progress(line: &str) -> Option<u64> {
    line.strip_prefix("progress ")?.split(' ').next()?.parse().ok()
}

async fn steps(sigma: &Sigma, pids: &[Pid]) -> Result<Steps> {
    let mut steps = Steps::new()?;
    for pid in pids {
        steps.record(&sigma.info(*pid).await?.timing.unwrap_or_default())?;
    }
    Ok(steps)
}

/// Copies the results out; how many there are.
async fn fetch(sigma: &Sigma, output: &Path) -> Result<usize> {
    if output.exists() {
        std::fs::remove_dir_all(output).with_context(|| format!("empty {}", output.display()))?;
    }
    std::fs::create_dir_all(output).with_context(|| format!("make {}", output.display()))?;
    let results = sigma.read_dir(&format!("{FOLDER}/out")).await?;
    for result in &results {
        let contents = sigma.get_file(&format!("{FOLDER}/out/{}", result.name)).await?;
        let path = output.join(&result.name);
        std::fs::write(&path, contents).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(results.len())
}

/// Removes what an earlier run left in the namespace.
async fn clear(sigma: &Sigma) -> Result<()> {
    for folder in [format!("{FOLDER}/out"), FOLDER.to_owned()] {
        let entries = match sigma.read_dir(&folder).await {
            Err(error) if error.code == sigmaos::Code::NotFound => continue,
            entries => entries?,
        };
        for entry in entries.iter().filter(|entry| entry.kind() == proto::Kind::File) {
            sigma.remove(&format!("{folder}/{}", entry.name)).await?;
        }
        sigma.remove(&folder).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_is_told_from_other_lines() {
        assert_eq!(progress("progress 3 48"), Some(3));
        for line in ["progress", "progress x 48", "in progress 3 48", ""] {
            assert_eq!(progress(line), None, "{line}");
        }
    }
}
