//! `cargo xtask tidy`: the habits of the project that a program can check, each with its place and its fix.
//!
//! A rule is a function from what is there to [`Problem`]s; only this file reads anything. What a rule exempts is
//! a table in the rule's file, with a reason in each row.
//!
//! That every promise of SPECIFICATION.md has its constant, and every constant its row, is not checked here but by
//! a test of tool/bench: it alone can see the constants' values.

mod arrows;
mod dependencies;
mod habits;
mod size;
mod source;
mod unsafety;

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use source::Source;
use std::fmt;
use std::fs;
use std::process::Command;

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: &'static str,
    fix: String,
}

impl Problem {
    fn new(path: &str, line: usize, rule: &'static str, fix: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.fix)
    }
}

/// A file of text that is not Rust.
struct Text {
    path: String,
    text: String,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let texts = read(workspace)?;
    let sources: Vec<_> = texts
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| Source::parse(&file.path, &file.text))
        .collect();
    let text_of = |path: &str| texts.iter().find(|file| file.path == path).map(|file| file.text.as_str());

    let mut problems = arrows::check(&workspace.packages);
    problems.extend(dependencies::check(
        text_of("Cargo.toml").context("there is no Cargo.toml")?,
        text_of("CONTRIBUTING.md"),
        &workspace.packages,
    ));
    for source in &sources {
        problems.extend(unsafety::check(source));
        problems.extend(habits::check(source));
        problems.extend(size::check(source));
    }
    for file in &texts {
        problems.extend(habits::check_text(file));
    }
    problems.sort();

    if let Some(note) = size::note(&sources) {
        eprintln!("{note}");
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} places are not tidy: each line above says what to do", problems.len());
    }
    eprintln!("tidy: {} files of Rust, {} in all", sources.len(), texts.len());
    Ok(())
}

/// All files of text that belong to the project, new ones included.
fn read(workspace: &Workspace) -> Result<Vec<Text>> {
    let output = Command::new("git")
        // The workspace may belong to another user.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&workspace.root)
        .output()
        .context("starting git, which knows the files of the project")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let paths = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let mut texts = Vec::new();
    for path in paths.split_terminator('\0') {
        // A file may be deleted but not yet committed; what is not UTF-8 is no text.
        if let Ok(text) = fs::read_to_string(workspace.root.join(path)) {
            texts.push(Text { path: path.to_owned(), text });
        }
    }
    Ok(texts)
}
