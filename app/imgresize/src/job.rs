//! A job: which pictures become which.

use crate::picture::MAX_SIDE;
use crate::resize::MAX_TIMES;
use sigmaos::Path;
use std::collections::HashMap;

/// Tasks of one job.
pub const MAX_TASKS: u32 = 100_000;

/// Why a job makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no input: name the paths of pictures")]
    NoInput,
    #[error("a width of {0}: it must be from 1 to {MAX_SIDE}")]
    Width(u32),
    #[error("{0} resizes: it must be from 1 to {MAX_TIMES}")]
    Resizes(u32),
    #[error("{0} tasks: it must be from 1 to {MAX_TASKS}")]
    Tasks(usize),
    #[error(transparent)]
    Path(#[from] sigmaos::Error),
    #[error("{0} is the top of a tree, not a picture")]
    NoName(Path),
    #[error("{0} and {1} would become the same {2}: give --tasks to number the results")]
    SameName(Path, Path, Path),
    #[error("{0} would be replaced by its own result: choose another directory for the results")]
    OverInput(Path),
}

/// A checked job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub output: Path,
    pub width: u32,
    pub resizes: u32,
    pub inputs: Vec<Path>,
    tasks: Vec<Task>,
}

/// What one worker does.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Which of the job's inputs.
    pub input: usize,
    pub output: Path,
}

impl Job {
    /// Checks a job. With `tasks` the inputs are used in turn until there are so many, and the results are numbered from
    /// 0, `<stem>-<index>.<extension>`; without, each is used once, and its result has its name.
    ///
    /// # Errors
    /// One sentence that names what is wrong.
    pub fn new(
        inputs: &[String],
        output: &str,
        width: u32,
        resizes: u32,
        tasks: Option<u32>,
    ) -> Result<Self, Error> {
        let inputs = inputs.iter().map(|input| Path::parse(input)).collect::<Result<Vec<_>, _>>()?;
        let output = Path::parse(output)?;
        let count = tasks.map_or(inputs.len(), |tasks| tasks as usize);
        match () {
            () if inputs.is_empty() => return Err(Error::NoInput),
            () if !(1..=MAX_SIDE).contains(&width) => return Err(Error::Width(width)),
            () if !(1..=MAX_TIMES).contains(&resizes) => return Err(Error::Resizes(resizes)),
            () if !(1..=MAX_TASKS as usize).contains(&count) => return Err(Error::Tasks(count)),
            () => {}
        }
        let mut planned: Vec<Task> = Vec::with_capacity(count);
        let mut taken = HashMap::with_capacity(count);
        for index in 0..count {
            let input = index % inputs.len();
            let name = inputs[input].name().ok_or_else(|| Error::NoName(inputs[input].clone()))?;
            let name = if tasks.is_some() { numbered(name, index) } else { name.to_owned() };
            let to = output.join(&name)?;
            if let Some(other) = taken.insert(to.clone(), input) {
                return Err(Error::SameName(inputs[other].clone(), inputs[input].clone(), to));
            }
            planned.push(Task { input, output: to });
        }
        match inputs.iter().find(|input| taken.contains_key(*input)) {
            Some(input) => Err(Error::OverInput(input.clone())),
            None => Ok(Self { output, width, resizes, inputs, tasks: planned }),
        }
    }

    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }
}

/// `a.jpg` and 3 make `a-3.jpg`.
pub fn numbered(name: &str, index: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{index}.{extension}"),
        _ => format!("{name}-{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(inputs: &[&str], output: &str, tasks: Option<u32>) -> Result<Vec<(usize, String)>, String> {
        let inputs: Vec<_> = inputs.iter().map(|&input| input.to_owned()).collect();
        let job = Job::new(&inputs, output, 80, 1, tasks).map_err(|error| error.to_string())?;
        Ok(job.tasks().iter().map(|task| (task.input, task.output.to_string())).collect())
    }

    #[test]
    fn results_keep_their_names_or_are_numbered() {
        let of = |tasks| job(&["/a/x.jpg", "/b/y"], "/out", tasks).unwrap();
        assert_eq!(of(None), [(0, "/out/x.jpg".into()), (1, "/out/y".into())]);
        assert_eq!(
            of(Some(3)),
            [(0, "/out/x-0.jpg".into()), (1, "/out/y-1".into()), (0, "/out/x-2.jpg".into())]
        );
        assert_eq!(numbered(".jpg", 1), ".jpg-1");
        assert_eq!(numbered("a.b.png", 1), "a.b-1.png");
    }

    #[test]
    fn no_result_replaces_another_or_an_input() {
        assert!(job(&["/a/x.jpg", "/b/x.jpg"], "/out", None).unwrap_err().contains("/out/x.jpg"));
        job(&["/a/x.jpg", "/b/x.jpg"], "/out", Some(2)).unwrap();
        assert!(job(&["/a/x.jpg"], "/a", None).unwrap_err().contains("/a/x.jpg would be replaced"));
        job(&["/a/x.jpg"], "/a", Some(1)).unwrap();
        assert!(job(&["/"], "/a", None).unwrap_err().contains("not a picture"));
        assert!(job(&[], "/a", None).unwrap_err().contains("no input"));
    }
}
