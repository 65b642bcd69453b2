//! Links and mentions in a text. Pure. What is neither stays as it is written, byte for byte.

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What is neither.
    Text(&'a str),
    /// `http://…` or `https://…`, of the characters of RFC 3986; without the punctuation of the sentence that it is in.
    Link(&'a str),
    /// The name behind an `@`, which is a part of the text before it.
    Mention(&'a str),
}

impl<'a> Part<'a> {
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Link(text) | Self::Mention(text) => text,
        }
    }
}

/// The parts of a text, in their order; together they are the text.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut plain, mut at) = (Vec::new(), 0, 0);
    let mut before = None;
    while let Some(character) = text[at..].chars().next() {
        let rest = &text[at..];
        // What follows a letter is a part of a word: `xhttp://`, and the name in an address, `ada@example.org`.
        let begins = !before.is_some_and(is_name);
        let found = match character {
            'h' | 'H' if begins => link(rest).map(|length| (at, Part::Link(&rest[..length]))),
            '@' if begins => name(&rest[1..]).map(|length| (at + 1, Part::Mention(&rest[1..=length]))),
            _ => None,
        };
        let Some((from, part)) = found else {
            at += character.len_utf8();
            before = Some(character);
            continue;
        };
        if from > plain {
            parts.push(Part::Text(&text[plain..from]));
        }
        at = from + part.as_str().len();
        plain = at;
        before = text[..at].chars().next_back();
        parts.push(part);
    }
    if plain < text.len() {
        parts.push(Part::Text(&text[plain..]));
    }
    parts
}

/// Whether a user's name may have this character. Those of ASCII alone: no two names look the same.
pub fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// The length of the name at the beginning.
fn name(text: &str) -> Option<usize> {
    let length = text.find(|character| !is_name(character)).unwrap_or(text.len());
    (length > 0).then_some(length)
}

/// The length of the link at the beginning.
fn link(text: &str) -> Option<usize> {
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))?;
    let end = text.find(|character| !is_link(character)).unwrap_or(text.len());
    let mut link = &text[..end];
    while let Some(last) = link.chars().next_back() {
        let closes = |open, close| link.matches(open).count() < link.matches(close).count();
        let of_the_sentence = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' => true,
            ')' => closes('(', ')'),
            ']' => closes('[', ']'),
            _ => false,
        };
        if !of_the_sentence {
            break;
        }
        link = &link[..link.len() - 1];
    }
    (link.len() > scheme.len()).then_some(link.len())
}

fn is_link(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(character)
}

#[cfg(test)]
mod tests {
    use super::Part::{Link, Mention, Text};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_and_mentions_are_found_and_all_else_is_text() {
        let check = |text, expected: &[Part<'_>]| assert_eq!(parts(text), expected, "{text:?}");
        check("", &[]);
        check("only words", &[Text("only words")]);
        check(
            "hi @ada, see http://a.org/x?y=1#z and more",
            &[Text("hi @"), Mention("ada"), Text(", see "), Link("http://a.org/x?y=1#z"), Text(" and more")],
        );
        check(
            "https://a.b @ada_1 after the last",
            &[Link("https://a.b"), Text(" @"), Mention("ada_1"), Text(" after the last")],
        );
        check("(see http://a.b/c).", &[Text("(see "), Link("http://a.b/c"), Text(").")]);
        check("http://en.org/A_(b)", &[Link("http://en.org/A_(b)")]);
        check("HTTP://A.B", &[Link("HTTP://A.B")]);
        check("mail ada@example.org", &[Text("mail ada@example.org")]);
        check("http:// and @ and xhttp://a.b", &[Text("http:// and @ and xhttp://a.b")]);
        check("http://a.b/@ada", &[Link("http://a.b/@ada")]);
        check("@@ada", &[Text("@@"), Mention("ada")]);
    }

    #[test]
    fn text_of_any_script_is_kept_and_ends_a_link() {
        let text = "Привет @ada! Смотри http://a.b/c。你好 🎉 @bob你好";
        assert_eq!(
            parts(text),
            [
                Text("Привет @"),
                Mention("ada"),
                Text("! Смотри "),
                Link("http://a.b/c"),
                Text("。你好 🎉 @"),
                Mention("bob"),
                Text("你好")
            ]
        );
    }

    proptest! {
        #[test]
        fn the_parts_together_are_the_text(text in "(http://|https://|@|[a-c.,)(/ é你]|\\PC){0,40}") {
            let all: String = parts(&text).into_iter().map(Part::as_str).collect();
            prop_assert_eq!(all, text);
        }
    }
}
