//! The system calls of a jail: a list of what is allowed, as data, and the filters made from it.
//!
//! Three filters are stacked; the kernel runs all of them and takes the strictest answer, of equal ones the newest:
//! 1. the **list**, installed once by the jail, inherited by every clone: all lines of [`table`], else EPERM;
//! 2. the **clone3** filter, installed right after it: `clone3` is ENOSYS, so that C libraries fall back to `clone`,
//!    whose flags a filter can see;
//! 3. the **last** filter, installed by each launcher when it is ready, before it waits for its launch: refuses every
//!    line of [`table::Phase::Launch`], and signals to any pid but its own. Installing it (about 45 µs) is no part of a
//!    warm start, because what is left to do from then on needs only lines that are harmless to procs.

pub(crate) mod filter;
mod table;

pub(crate) use table::{LAUNCHER, SO_PASSRIGHTS};

#[cfg(test)]
mod tests;

/// Prints the lines of procs, for people who decide whether to trust them.
pub(crate) fn print() {
    for line in table::TABLE.iter().filter(|line| line.phase == table::Phase::Proc) {
        let name = line.name.trim_start_matches("SYS_");
        let limited = if matches!(line.args, table::Args::Any) { "" } else { " (some arguments)" };
        println!("{name}{limited}: {}", line.reason);
    }
}
