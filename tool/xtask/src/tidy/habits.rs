//! Small habits, line by line.

use super::source::{Line, Source, has_word};
use super::{Problem, Text, size};

/// What does not belong into code that ships, and what to do instead.
const UNFINISHED: &[(&str, &str)] = &[
    (".unwrap()", "return the error, or say in expect(\"…\") why it cannot happen"),
    ("todo!", "write it, or file an issue"),
    ("unimplemented!", "write it, or return an error that says so"),
    ("dbg!", "use tracing, or remove it"),
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "misc", "helper", "helpers", "manager", "managers"];

/// Files that may have such a name, and why.
const NAMED_ANYWAY: &[(&str, &str)] =
    &[("app/imgresize/", "\"manager\" is the thesis' word for the proc that orchestrates (section 3.2)")];

/// Crates that decide purely: what they may not touch, and where it belongs.
const PURE: &[&str] = &["os/abi/src/", "os/schedd/src/"];
const IMPURE: &[&str] =
    &["std::fs", "std::net", "std::process", "std::thread", "std::env", "Instant::now", "SystemTime::now"];

/// What runs for days: it must not depend on a clock that somebody may set.
const UNTIMED: &[&str] = &["os/", "proxy/", "app/"];

/// Files of it that ask that clock all the same, and why a jump of it harms nobody.
const WALL_CLOCKS: &[(&str, &str)] = &[
    ("os/kernel/src/proc.rs", "when a proc was spawned, for people"),
    ("os/named/src/server.rs", "when an entry was changed, for people"),
    ("app/socialnet/src/clock.rs", "when a post was written; numbers grow whatever the clock does"),
];

/// Programs that may sleep although they lie in `test/`.
const SLEEPERS: &[(&str, &str)] = &[("test/procs/", "a proc that idles is what some tests run")];

pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems: Vec<_> = check_name(source).into_iter().chain(check_docs(source)).collect();
    let mut above: Option<&Line> = None;
    for (number, line) in source.numbered() {
        let mut refuse = |rule, fix: &str| problems.push(Problem::new(&source.path, number, rule, fix));
        if !line.is_test {
            for (word, fix) in UNFINISHED.iter().filter(|(word, _)| line.code.contains(word)) {
                refuse("unfinished", &format!("{word} outside of tests: {fix}"));
            }
            for mark in unfinished_marks().iter().filter(|mark| has_word(&line.raw, mark)) {
                refuse(
                    "unfinished",
                    &format!("{mark} outside of tests: file an issue, and describe what is there"),
                );
            }
        }
        if line.code.contains("#[ignore") {
            refuse("tests", "an ignored test proves nothing: repair it or delete it");
        }
        if line.is_test && sleeps(source, line) && !has_reason(line, above) {
            refuse("tests", "wait for an event instead of sleeping, or say why time must pass in a comment");
        }
        if PURE.iter().any(|place| source.path.starts_with(place)) && !line.is_test {
            for word in IMPURE.iter().filter(|word| line.code.contains(**word)) {
                refuse("pure", &format!("{word} in a crate that decides purely: let the caller pass it in"));
            }
        }
        let asks = line.code.contains("SystemTime::now") || line.code.contains("UNIX_EPOCH.elapsed");
        let may_ask = || WALL_CLOCKS.iter().any(|(file, _)| *file == source.path);
        if asks && UNTIMED.iter().any(|place| source.path.starts_with(place)) && !line.is_test && !may_ask() {
            refuse(
                "clock",
                "a clock that may be set: take Instant, or list the file with why a jump harms nobody",
            );
        }
        above = Some(line);
    }
    problems
}

/// Rules for all text.
pub(super) fn check_text(file: &Text) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for place in places_of_a_machine().iter().filter(|place| has_path(line, place)) {
            let fix = format!("{place} exists on one developer's machine only: use a relative path");
            problems.push(Problem::new(&file.path, index + 1, "places", fix));
        }
    }
    problems
}

fn check_name(source: &Source) -> Option<Problem> {
    let exempt = NAMED_ANYWAY.iter().any(|(place, _)| source.path.starts_with(place));
    let names = source.path.rsplit('/').skip(1).chain([source.stem()]);
    let empty = names.into_iter().find(|name| EMPTY_NAMES.contains(name)).filter(|_| !exempt);
    if let Some(name) = empty {
        let fix = format!("\"{name}\" does not say what is inside: name it by its noun");
        return Some(Problem::new(&source.path, 1, "names", fix));
    }
    // A module within a file.
    source.numbered().find_map(|(number, line)| {
        let name = EMPTY_NAMES.iter().find(|name| line.code.contains(&format!("mod {name} {{")))?;
        let fix = format!("module \"{name}\" does not say what is inside: name it by its noun");
        (!exempt).then(|| Problem::new(&source.path, number, "names", fix))
    })
}

fn check_docs(source: &Source) -> Option<Problem> {
    let module_of_tests =
        source.stem() == "tests" || source.path.contains("/src/") && source.path.contains("/tests/");
    let build_script = source.stem() == "build" && !source.path.contains("/src/");
    let documented = source.lines.first().is_some_and(|line| line.raw.starts_with("//!"));
    if documented || module_of_tests || build_script || size::is_exempt(source) {
        return None;
    }
    let fix = "begin with //! lines: what this is, why it exists, what it guarantees";
    Some(Problem::new(&source.path, 1, "docs", fix))
}

fn sleeps(source: &Source, line: &Line) -> bool {
    let sleeper = SLEEPERS.iter().any(|(place, _)| source.path.starts_with(place));
    let sleeps = ["thread::sleep", "time::sleep"].iter().any(|call| line.code.contains(call))
        || has_word(&line.code, "sleep") && line.code.contains("sleep(");
    !sleeper && sleeps
}

/// Whether the line, or the one above it, is explained by a comment.
fn has_reason(line: &Line, above: Option<&Line>) -> bool {
    let is_comment = |line: &Line| line.raw.trim_start().starts_with("// ");
    let at_its_end = line.raw.contains("// ") && !line.code.contains("// ");
    at_its_end || above.is_some_and(is_comment)
}

/// Put together here, so that this file does not hold what it refuses.
fn unfinished_marks() -> [String; 2] {
    ["X", "FIX"].map(|word| if word == "X" { word.repeat(3) } else { format!("{word}ME") })
}

fn places_of_a_machine() -> [String; 2] {
    // A realm may well have a folder named root; one with hidden files is somebody's home.
    ["work/", "root/."].map(|folder| format!("/{folder}"))
}

/// Whether `line` holds an absolute path that begins with `place`: `/a/place/x` does not, nor does `~place/x`.
fn has_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "_-.~}>*)$".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that `text` at `path` breaks, with their lines.
    fn broken(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        check(&Source::parse(path, text)).iter().map(|problem| (problem.line, problem.rule)).collect()
    }

    const NONE: [(usize, &str); 0] = [];

    #[test]
    fn unfinished_code_is_refused_outside_of_tests() {
        for word in ["x.unwrap();", "todo!();", "unimplemented!();", "dbg!(x);"] {
            let text = format!("//! X.\n{word}\n#[cfg(test)]\nmod tests {{\n{word}\n}}\n");
            assert_eq!(broken("os/x.rs", &text), [(2, "unfinished")], "{word}");
        }
        assert_eq!(broken("os/x.rs", "//! x.unwrap() is refused.\nx.unwrap_or(\"todo!\");\n"), NONE);
        for mark in unfinished_marks() {
            assert_eq!(broken("os/x.rs", &format!("//! X.\n// {mark} later\n")), [(2, "unfinished")]);
        }
    }

    #[test]
    fn a_file_begins_with_what_it_is() {
        assert_eq!(broken("os/x.rs", "use y;\n"), [(1, "docs")]);
        assert_eq!(broken("os/x.rs", ""), [(1, "docs")]);
        assert_eq!(broken("os/abi/build.rs", "fn main() {}\n"), NONE);
        assert_eq!(broken("os/x/src/tests.rs", "use super::*;\n"), NONE);
        assert_eq!(broken("os/x/src/tests/stories.rs", "use super::*;\n"), NONE);
        assert_eq!(broken("os/x/tests/stories.rs", "use x::*;\n"), [(1, "docs")]);
        assert_eq!(broken("os/x.rs", "// @generated by rpcgen\n"), NONE);
    }

    #[test]
    fn empty_names_are_refused() {
        assert_eq!(broken("os/util.rs", "//! X.\n"), [(1, "names")]);
        assert_eq!(broken("test/tests/common/mod.rs", "//! X.\n"), [(1, "names")]);
        assert_eq!(broken("os/x.rs", "//! X.\nmod helpers {\n}\n"), [(2, "names")]);
        assert_eq!(broken("app/imgresize/src/manager.rs", "//! X.\n"), NONE);
        assert_eq!(broken("os/utility_of_it.rs", "//! X.\n"), NONE);
    }

    #[test]
    fn tests_neither_sleep_nor_hide() {
        let sleep = "//! X.\nstd::thread::sleep(d);\n";
        assert_eq!(broken("test/src/x.rs", sleep), [(2, "tests")]);
        assert_eq!(broken("os/abi/tests/x.rs", "//! X.\ntokio::time::sleep(d).await;\n"), [(2, "tests")]);
        assert_eq!(broken("test/src/x.rs", "//! X.\nsleep(d); // a lease must run out\n"), NONE);
        assert_eq!(broken("test/src/x.rs", "//! X.\n// A lease must run out.\nsleep(d);\n"), NONE);
        assert_eq!(broken("os/x.rs", sleep), NONE);
        assert_eq!(broken("test/procs/src/main.rs", sleep), NONE);
        assert_eq!(broken("os/x.rs", "//! X.\n#[ignore]\n"), [(2, "tests")]);
    }

    #[test]
    fn what_decides_purely_touches_nothing() {
        let text = "//! X.\nuse std::fs;\nlet now = Instant::now();\n";
        assert_eq!(broken("os/abi/src/x.rs", text), [(2, "pure"), (3, "pure")]);
        assert_eq!(broken("os/kernel/src/x.rs", text), NONE);
    }

    #[test]
    fn what_runs_for_days_depends_on_no_clock_that_may_be_set() {
        for text in ["//! X.\nlet now = SystemTime::now();\n", "//! X.\nlet now = UNIX_EPOCH.elapsed();\n"] {
            assert_eq!(broken("os/named/src/x.rs", text), [(2, "clock")]);
            assert_eq!(broken("os/named/src/server.rs", text), NONE);
            assert_eq!(broken("tool/cli/src/x.rs", text), NONE);
        }
        assert_eq!(broken("os/kernel/src/x.rs", "//! X.\nlet now = Instant::now();\n"), NONE);
    }

    #[test]
    fn paths_of_a_developers_machine_are_refused() {
        let broken = |line: &str| {
            let text = line.replace('@', "/");
            !check_text(&Text { path: "x.md".into(), text }).is_empty()
        };
        assert!(broken("see @work@main"));
        assert!(broken("\"@root@.cargo\""));
        assert!(!broken("the folder os@work@main"));
        assert!(!broken("@sigma@root@.x"));
        assert!(!broken("world.get(\"@root@x\")"));
        assert!(!broken("@rootless@x"));
    }
}
