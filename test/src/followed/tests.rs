use super::*;

fn seen(line: &str) -> Seen {
    match line.split_at(1) {
        ("+", name) => Seen::Created(name.into()),
        ("-", name) => Seen::Removed(name.into()),
        _ => {
            let (from, to) = line.split_once('>').unwrap();
            Seen::Renamed(from.into(), to.into())
        }
    }
}

fn made(lines: &[(u64, u64, &str)]) -> Vec<Made> {
    let made = |(called, answered, line): &(u64, u64, &str)| Made {
        what: seen(line),
        called: *called,
        answered: *answered,
    };
    lines.iter().map(made).collect()
}

fn told(lines: &[&str]) -> Told {
    lines.iter().zip(1..).map(|(line, version)| (version, seen(line))).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Changes of two clients that overlap.
fn changes() -> Vec<Made> {
    made(&[(1, 2, "+a"), (1, 4, "+b"), (3, 6, "a>c"), (5, 8, "-b"), (7, 9, "+a")])
}

fn check(told: &Told) -> Result<(), String> {
    exact(&names(&["old"]), &changes(), told, &names(&["a", "c", "old"]))
}

#[test]
fn any_order_in_which_it_can_have_happened_is_exact() {
    for lines in
        [["+a", "+b", "a>c", "-b", "+a"], ["+b", "+a", "a>c", "+a", "-b"], ["+a", "a>c", "+b", "-b", "+a"]]
    {
        check(&told(&lines)).unwrap();
    }
}

#[test]
fn planted_faults_are_found() {
    for (lines, word) in [
        (&["+a", "+b", "a>c", "+a"][..], "never told"),
        (&["+a", "+b", "a>c", "-b", "+a", "+a"], "not so often"),
        (&["+a", "+b", "a>c", "-b", "+a", "-old"], "not made"),
        (&["+a", "a>c", "+a", "+b", "-b"], "told after"),
        (&["a>c", "+a", "+b", "-b", "+a"], "told after"),
    ] {
        let error = check(&told(lines)).expect_err(word);
        assert!(error.contains(word), "{lines:?}: {error}");
    }
    let mut twice = told(&["+a", "+b", "a>c", "-b", "+a"]);
    twice[3].0 = twice[2].0;
    assert!(check(&twice).unwrap_err().contains("came before it"));
}

/// The answer to the first creation came late, after others had removed the entry and made it again.
#[test]
fn changes_that_look_alike_are_told_apart_by_when_they_can_have_happened() {
    let made = made(&[(10, 11, "+a"), (1, 12, "+a"), (2, 5, "-a")]);
    exact(&names(&[]), &made, &told(&["+a", "-a", "+a"]), &names(&["a"])).unwrap();
}

#[test]
fn events_must_lead_from_what_was_there_to_what_is() {
    let one = made(&[(1, 2, "-a")]);
    assert!(exact(&names(&[]), &one, &told(&["-a"]), &names(&[])).unwrap_err().contains("no such entry"));
    let error = exact(&names(&["a"]), &one, &told(&["-a"]), &names(&["a"])).unwrap_err();
    assert!(error.contains("the directory holds"), "{error}");
}
