//! What somebody may have meant by a word that is not there.

/// The candidate that is nearest to `word`, where one is near: few letters differ, or only its last part was given.
pub(super) fn near<S: AsRef<str>>(word: &str, candidates: &[S]) -> Option<String> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let distances = candidates.iter().map(AsRef::as_ref).map(|candidate| {
        let lower = candidate.to_lowercase();
        let last = lower.rsplit('.').next().unwrap_or_default();
        (distance(&word, &lower).min(distance(&word, last)), candidate)
    });
    let (least, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (least <= allowed).then(|| nearest.to_owned())
}

/// How many letters must be put in, taken out or replaced (Levenshtein, 1965).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<_> = to.chars().collect();
    let mut row: Vec<_> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_little_is_near() {
        let names = ["Greeter.Greet", "Greeter.Part"];
        for (word, expect) in [
            ("Greter.Greet", Some("Greeter.Greet")),
            ("greeter.greet", Some("Greeter.Greet")),
            ("Part", Some("Greeter.Part")),
            ("pert", Some("Greeter.Part")),
            ("Namespace.Get", None),
        ] {
            assert_eq!(near(word, &names).as_deref(), expect, "{word}");
        }
        assert_eq!(near("x", &[] as &[&str]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
