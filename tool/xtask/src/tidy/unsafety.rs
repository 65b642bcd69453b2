//! `unsafe` is where it must be, and says why it is sound.

use super::Problem;
use super::source::{Source, has_word};

/// Where `unsafe` may be, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("os/jail/", "namespaces, clone and exec have no safe interface"),
    ("os/sigmaos/src/door.rs", "the one module that takes over passed descriptors"),
];

/// Where nothing is checked.
const EXEMPT: &[(&str, &str)] = &[("test/procs/", "these programs attack; unsound is what they try to be")];

/// How far above the word its SAFETY comment may begin, in lines.
const REACH_LINES: usize = 6;

pub(super) fn check(source: &Source) -> Vec<Problem> {
    if is_in(source, EXEMPT) {
        return Vec::new();
    }
    let allowed = is_in(source, ALLOWED);
    let mut problems = Vec::new();
    for (number, line) in source.numbered() {
        let lifts_lint = has_word(&line.code, "unsafe_code")
            && ["allow(", "expect("].iter().any(|lint| line.code.contains(lint));
        let uses = has_word(&line.code, "unsafe");
        if !allowed && (uses || lifts_lint) {
            let places = ALLOWED.iter().map(|(place, _)| *place).collect::<Vec<_>>().join(" and ");
            let fix = format!("unsafe is for {places} only: use a safe interface (rustix, OwnedFd)");
            problems.push(Problem::new(&source.path, number, "unsafe", fix));
        } else if uses && !is_explained(source, number) {
            let fix = "say in a \"SAFETY:\" comment above (\"# Safety\" for a function) why this is sound";
            problems.push(Problem::new(&source.path, number, "unsafe", fix));
        }
    }
    problems
}

fn is_in(source: &Source, places: &[(&str, &str)]) -> bool {
    places.iter().any(|(place, _)| source.path.starts_with(place))
}

/// Whether the line `number` or one of those before it explains itself; code of another block ends the search.
fn is_explained(source: &Source, number: usize) -> bool {
    let first = number.saturating_sub(REACH_LINES + 1);
    let above = source.lines[first..number].iter().rev();
    above
        .take_while({
            let mut seen = 0;
            move |line| {
                seen += 1;
                // The word itself, then comments, attributes and the beginning of its statement.
                seen == 1 || !matches!(line.code.trim().chars().last(), Some(';' | '}'))
            }
        })
        .any(|line| line.raw.contains("SAFETY:") || line.raw.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::parse(path, text)).iter().map(|problem| problem.line).collect()
    }

    const EXPLAINED: &str = "// SAFETY: it is ours.\nlet x =\n    unsafe { f() };\n";

    #[test]
    fn unsafe_is_refused_outside_of_its_places() {
        assert_eq!(lines("os/jail/src/clone.rs", EXPLAINED), [0; 0]);
        assert_eq!(lines("os/sigmaos/src/door.rs", EXPLAINED), [0; 0]);
        assert_eq!(lines("os/sigmaos/src/fs.rs", EXPLAINED), [3]);
        assert_eq!(lines("test/procs/src/bin/fork.rs", "unsafe { f() }\n"), [0; 0]);
    }

    #[test]
    fn lifting_the_lint_is_refused_too() {
        assert_eq!(lines("os/named/src/main.rs", "//! X.\n#![allow(unsafe_code)]\n"), [2]);
        assert_eq!(lines("os/named/src/main.rs", "#![deny(unsafe_code)]\n// unsafe\n\"unsafe\";\n"), [0; 0]);
    }

    #[test]
    fn unsafe_must_be_explained_where_it_stands() {
        assert_eq!(lines("os/jail/src/x.rs", "let x = unsafe { f() };\n"), [1]);
        assert_eq!(lines("os/jail/src/x.rs", "unsafe { f() } // SAFETY: it is ours.\n"), [0; 0]);
        assert_eq!(lines("os/jail/src/x.rs", "// SAFETY: a.\nunsafe { f() };\nunsafe { g() };\n"), [3]);
        assert_eq!(lines("os/jail/src/x.rs", "/// # Safety\n/// X.\npub unsafe fn f() {}\n"), [0; 0]);
    }
}
