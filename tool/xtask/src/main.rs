//! `cargo xtask`: builds, checks and shows the project. A file per command.

mod build;
mod demo;
mod servers;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put all that runs into target/dist: copied to another machine, that folder is an installation
    Build,
    /// Check formatting, lints and habits, build target/dist, then run all tests
    Test,
    /// Install the systems that tests speak to, and print the environment variables that name their places
    Servers,
    /// Check the habits of the project that a program can check
    Tidy,
    /// Resize pictures on a machine of one's own, from boot to shut-down
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(without_separator(std::env::args().collect()));
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain on one line; a backtrace would not say more.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Build => build::run(&workspace).map(drop),
        Command::Test => test::run(&workspace),
        Command::Servers => servers::run(&workspace),
        Command::Tidy => tidy::run(&workspace),
        Command::Demo(options) => demo::run(&workspace, &options),
    }
}

/// `cargo xtask demo -- --tasks 48` and `cargo xtask demo --tasks 48` mean the same.
fn without_separator(mut arguments: Vec<String>) -> Vec<String> {
    if arguments.get(2).is_some_and(|argument| argument == "--") {
        arguments.remove(2);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_may_follow_a_separator() {
        let check = |given: &[&str], expect: &[&str]| {
            assert_eq!(without_separator(given.iter().map(|&word| word.to_owned()).collect()), expect);
        };
        check(&["xtask", "demo", "--", "--tasks", "3"], &["xtask", "demo", "--tasks", "3"]);
        check(&["xtask", "demo", "--tasks", "3"], &["xtask", "demo", "--tasks", "3"]);
        check(&["xtask"], &["xtask"]);
    }

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }
}
