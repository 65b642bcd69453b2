//! What the program `imgresize` is asked to do.

use crate::args::{Args, Error as Wrong};
use crate::job::{Job, MAX_TASKS};
use crate::picture::MAX_SIDE;
use crate::resize::MAX_TIMES;
use sigmaos::Path;

/// How the program is called.
pub const USAGE: &str = "usage: imgresize --width W [--resizes N] [--tasks T] --output DIR INPUT...
       imgresize --serve PATH
outside SigmaOS:
       imgresize plain --width W [--resizes N] [--tasks T] INPUT.jpg OUTDIR
       imgresize sample OUT.jpg";

/// One of the things that the program does.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// As a proc: one job.
    Resize(Job),
    /// As a proc: jobs on request, at a path.
    Serve(Path),
    /// As a process of the machine: the same work without SigmaOS.
    Plain(Plain),
    /// As a process of the machine: the sample picture goes to this file.
    Sample(String),
}

/// A job for one plain process.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub input: String,
    pub output: String,
    pub width: u32,
    pub resizes: u32,
    pub tasks: u32,
}

/// Why the program cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Args(#[from] Wrong),
    #[error(transparent)]
    Job(#[from] crate::job::Error),
    #[error("{0} does not go with {1}")]
    Together(&'static str, &'static str),
    #[error("{mode} wants {wanted}")]
    Rest { mode: &'static str, wanted: &'static str },
    #[error("--serve: {0}")]
    Path(sigmaos::Error),
}

impl Command {
    /// Reads the arguments of the program.
    ///
    /// # Errors
    /// One sentence that names the argument.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let known = ["--width", "--resizes", "--tasks", "--output", "--serve"];
        let mut args = Args::parse(args, &known)?;
        let command = match args.rest.first().map(String::as_str) {
            Some("sample") => sample(&args)?,
            Some("plain") => plain(&mut args)?,
            _ => match args.text("--serve") {
                Some(path) if args.rest.is_empty() => Self::Serve(path.parse().map_err(Error::Path)?),
                Some(_) => {
                    return Err(Error::Rest {
                        mode: "--serve",
                        wanted: "no inputs: each request has its own",
                    });
                }
                None => resize(&mut args)?,
            },
        };
        match (args.left(), &command) {
            (None, _) => Ok(command),
            (Some(flag), Self::Serve(_)) => Err(Error::Together(flag, "--serve")),
            (Some(flag), Self::Plain(_)) => Err(Error::Together(flag, "plain")),
            (Some(flag), _) => Err(Error::Together(flag, "sample")),
        }
    }
}

fn sample(args: &Args) -> Result<Command, Error> {
    match args.rest.as_slice() {
        [_, out] => Ok(Command::Sample(out.clone())),
        _ => Err(Error::Rest { mode: "sample", wanted: "the one file to write" }),
    }
}

fn plain(args: &mut Args) -> Result<Command, Error> {
    let [_, input, output] = args.rest.as_slice() else {
        return Err(Error::Rest { mode: "plain", wanted: "a picture and a directory for the results" });
    };
    let (input, output) = (input.clone(), output.clone());
    let (width, resizes) = how(args)?;
    let tasks = args.number("--tasks", 1..=MAX_TASKS)?.unwrap_or(1);
    Ok(Command::Plain(Plain { input, output, width, resizes, tasks }))
}

fn resize(args: &mut Args) -> Result<Command, Error> {
    let (width, resizes) = how(args)?;
    let tasks = args.number("--tasks", 1..=MAX_TASKS)?;
    let output = args.required("--output")?;
    Ok(Command::Resize(Job::new(&args.rest, &output, width, resizes, tasks)?))
}

/// The width and the number of resizes, as the worker takes them, too.
///
/// # Errors
/// `Missing`, `Number`.
pub fn how(args: &mut Args) -> Result<(u32, u32), Wrong> {
    let width = args.number("--width", 1..=MAX_SIDE)?.ok_or(Wrong::Missing("--width"))?;
    Ok((width, args.number("--resizes", 1..=MAX_TIMES)?.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Error> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_way_to_call_it_is_understood() {
        let job = Job::new(&["/a/x.jpg".to_owned()], "/out", 80, 20, Some(48)).unwrap();
        let line = "--width 80 --resizes 20 --tasks 48 --output /out /a/x.jpg";
        assert_eq!(parse(line).unwrap(), Command::Resize(job));
        assert_eq!(parse("--serve /sn/img").unwrap(), Command::Serve("/sn/img".parse().unwrap()));
        assert_eq!(parse("sample x.jpg").unwrap(), Command::Sample("x.jpg".into()));
        let (input, output) = ("x.jpg".to_owned(), "out".to_owned());
        let plain = Plain { input, output, width: 80, resizes: 1, tasks: 4 };
        assert_eq!(parse("plain --width=80 --tasks=4 x.jpg out").unwrap(), Command::Plain(plain));
    }

    #[test]
    fn each_wrong_call_has_its_sentence() {
        let check = |line, text: &str| {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(text), "{line}: {error}");
        };
        check("", "--width is missing");
        check("--width 80 /a.jpg", "--output is missing");
        check("--width 80 --output /out", "no input");
        check("--width 0 --output /out /a.jpg", "--width \"0\"");
        check("--width 80 --resizes 0 --output /out /a.jpg", "--resizes \"0\"");
        check("--width 80 --tasks 0 --output /out /a.jpg", "--tasks \"0\"");
        check("--width 80 --output out /a.jpg", "\"out\" is not an absolute path");
        check("--width 80 --output /out ../a.jpg", "\"../a.jpg\" is not an absolute path");
        check("--serve here", "--serve: \"here\" is not an absolute path");
        check("--serve /img --width 80", "--width does not go with --serve");
        check("--serve /img /a.jpg", "--serve wants no inputs");
        check("sample", "sample wants the one file");
        check("sample x.jpg --width 8", "--width does not go with sample");
        check("plain --width 8 x.jpg", "plain wants a picture and a directory");
        check("plain --width 8 --output o x.jpg y", "--output does not go with plain");
    }
}
