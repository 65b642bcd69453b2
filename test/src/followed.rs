//! Whether a watch of a directory told all that happened there, once, in order, and nothing else. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A change of a directory's entries, as an event tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    Created(String),
    Removed(String),
    Renamed(String, String),
}

/// A change that a client made, from its call to its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub what: Seen,
    pub called: u64,
    pub answered: u64,
}

/// What a watch told, in order, each with the directory's version.
pub type Told = Vec<(u64, Seen)>;

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(name) => write!(formatter, "+{name}"),
            Self::Removed(name) => write!(formatter, "-{name}"),
            Self::Renamed(from, to) => write!(formatter, "{from}>{to}"),
        }
    }
}

/// Whether a watch that began when the directory held `before` told what was `made` until it held `after`:
/// - each change once, and nothing that nobody made;
/// - versions that grow, and changes in an order in which they can have happened: one that was answered before another was called
///   comes first;
/// - from what was there before to what is there after, step by step.
///
/// # Errors
/// What was lost, invented, or told out of order.
pub fn exact(
    before: &BTreeSet<String>,
    made: &[Made],
    told: &Told,
    after: &BTreeSet<String>,
) -> Result<(), String> {
    ordered(made, told)?;
    replayed(before, told, after)
}

fn ordered(made: &[Made], told: &Told) -> Result<(), String> {
    let mut left: BTreeMap<&Seen, Vec<&Made>> = BTreeMap::new();
    for made in made {
        left.entry(&made.what).or_default().push(made);
    }
    // The earliest moment at which all that was told so far can have happened, in this order.
    let (mut last_version, mut moment) = (0, 0);
    for (version, seen) in told {
        if *version <= last_version {
            return Err(format!("{seen} has version {version}, and version {last_version} came before it"));
        }
        let Some(alike) = left.get_mut(seen).filter(|alike| !alike.is_empty()) else {
            return Err(format!("{seen} of version {version} was told, and not made, or not so often"));
        };
        moment = alike.iter().map(|made| made.called).min().map_or(moment, |called| called.max(moment));
        // Of those that look the same and may have happened by then, the one that was answered first: if any order explains
        // all of them, this does.
        let called = alike.iter().enumerate().filter(|(_, made)| made.called <= moment);
        let first = called.min_by_key(|(_, made)| made.answered).map_or(0, |(place, _)| place);
        if alike.swap_remove(first).answered < moment {
            return Err(format!("{seen} was told after a change that was called when it had been answered"));
        }
        last_version = *version;
    }
    match left.iter().find(|(_, left)| !left.is_empty()) {
        Some((seen, left)) => Err(format!("{seen} was made and never told ({} times)", left.len())),
        None => Ok(()),
    }
}

fn replayed(before: &BTreeSet<String>, told: &Told, after: &BTreeSet<String>) -> Result<(), String> {
    let mut names = before.clone();
    for (version, seen) in told {
        let possible = match seen {
            // It may have replaced one of that name.
            Seen::Created(name) => {
                names.insert(name.clone());
                true
            }
            Seen::Removed(name) => names.remove(name),
            Seen::Renamed(from, to) => {
                let was = names.remove(from);
                names.insert(to.clone());
                was
            }
        };
        if !possible {
            return Err(format!("{seen} of version {version}: there was no such entry"));
        }
    }
    match &names == after {
        true => Ok(()),
        false => Err(format!("the events lead to {names:?}, and the directory holds {after:?}")),
    }
}
