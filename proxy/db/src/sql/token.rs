//! Cutting a statement into tokens, as its engine does.

use super::Dialect;
use sigmaos::{Code, Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, or a name that is not quoted.
    Bare(&'a str),
    /// A string, or a name that is quoted, with its quotes.
    Quoted(&'a str),
    /// A placeholder: `?`, `?1`, `$1`, `:name`.
    Place(&'a str),
    /// `;`
    End,
    /// Anything else, such as one character of an operator or a number.
    Other(&'a str),
}

impl Token<'_> {
    /// A word in capital letters.
    pub(super) fn word(&self) -> Option<String> {
        match self {
            Self::Bare(word) => Some(word.to_ascii_uppercase()),
            _ => None,
        }
    }
}

/// Cuts a statement; spaces and comments are left out. A quote or a comment that does not end takes the rest.
pub(super) fn tokens(dialect: Dialect, sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches(is_space);
            match comment(dialect, rest) {
                0 => break,
                length => rest = &rest[length..],
            }
        }
        let first = rest.chars().next()?;
        let length = length(dialect, rest, first);
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(match first {
            ';' => Token::End,
            '\'' | '"' | '`' => Token::Quoted(token),
            '[' if dialect == Dialect::Sqlite => Token::Quoted(token),
            '$' if token.len() > 1 && token.ends_with('$') => Token::Quoted(token),
            '?' | '$' | ':' | '@' => Token::Place(token),
            first if begins_word(first) => Token::Bare(token),
            _ => Token::Other(token),
        })
    })
}

/// SQLite takes a byte order mark for a space.
fn is_space(character: char) -> bool {
    character.is_ascii_whitespace() || matches!(character, '\u{b}' | '\u{feff}')
}

/// How many values the placeholders of a SQLite statement want.
///
/// # Errors
/// `Invalid` for placeholders with names.
pub(super) fn parameters(all: &[Token<'_>]) -> Result<usize> {
    let (mut unnumbered, mut greatest) = (0, 0);
    for token in all {
        let Token::Place(place) = token else { continue };
        if *place == "?" {
            unnumbered += 1;
            continue;
        }
        let number = place.strip_prefix(['?', '$']).and_then(|number| number.parse::<usize>().ok());
        match number {
            // The most that SQLite takes.
            Some(number @ 1..=32_766) => greatest = greatest.max(number),
            _ => {
                let text = format!("{place} is no placeholder here: write ? or $1");
                return Err(Error::new(Code::Invalid, text));
            }
        }
    }
    Ok(unnumbered.max(greatest))
}

/// The length of the comment at the beginning; 0 where there is none.
fn comment(dialect: Dialect, text: &str) -> usize {
    let line = |text: &str| text.find('\n').map_or(text.len(), |end| end + 1);
    if text.starts_with("--") || (dialect == Dialect::Mysql && text.starts_with('#')) {
        return line(text);
    }
    // What MariaDB carries out in spite of it: it is read as code.
    let code = dialect == Dialect::Mysql && (text.starts_with("/*!") || text.starts_with("/*M!"));
    if !text.starts_with("/*") || code {
        return 0;
    }
    if dialect != Dialect::Postgres {
        return text[2..].find("*/").map_or(text.len(), |end| end + 4);
    }
    nested(text)
}

/// PostgreSQL's comments nest.
fn nested(text: &str) -> usize {
    let (mut depth, mut place) = (0_usize, 0);
    while place < text.len() {
        let here = &text.as_bytes()[place..];
        if here.starts_with(b"/*") {
            (depth, place) = (depth + 1, place + 2);
        } else if here.starts_with(b"*/") {
            (depth, place) = (depth - 1, place + 2);
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    text.len()
}

fn begins_word(character: char) -> bool {
    character.is_alphabetic() || character == '_' || !character.is_ascii()
}

/// The length of the token at the beginning.
fn length(dialect: Dialect, text: &str, first: char) -> usize {
    let word = |text: &str| {
        let goes_on =
            |character: char| begins_word(character) || character.is_ascii_digit() || character == '$';
        text.find(|character| !goes_on(character)).unwrap_or(text.len())
    };
    match first {
        '\'' | '"' => quoted(text, first, dialect == Dialect::Mysql),
        '`' => quoted(text, first, false),
        '[' if dialect == Dialect::Sqlite => text.find(']').map_or(text.len(), |end| end + 1),
        'e' | 'E' if dialect == Dialect::Postgres && text[1..].starts_with('\'') => {
            1 + quoted(&text[1..], '\'', true)
        }
        '$' if dialect == Dialect::Postgres => dollar_quoted(text).unwrap_or(1 + word(&text[1..])),
        '?' | '$' | ':' | '@' => 1 + word(&text[1..]),
        first if begins_word(first) => word(text),
        first => first.len_utf8(),
    }
}

/// A quote that is written twice stands for itself.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        if backslashes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return place + quote.len_utf8();
        }
    }
    text.len()
}

/// PostgreSQL's `$tag$ … $tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 1;
    let tag = &text[1..end];
    let is_tag = tag.chars().all(|character| begins_word(character) || character.is_ascii_digit())
        && !tag.starts_with(|character: char| character.is_ascii_digit());
    let mark = &text[..=end];
    is_tag.then(|| text[mark.len()..].find(mark).map_or(text.len(), |close| close + 2 * mark.len()))
}
