//! A file of Rust as the rules see it: lines with and without their comments and strings, and which are tests.

/// A file of Rust.
pub(super) struct Source {
    /// Relative to the root.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
}

/// A line of it.
pub(super) struct Line {
    pub(super) raw: String,
    /// The line with comments, strings and characters blanked, so that words in it are code.
    pub(super) code: String,
    /// Whether it is compiled for tests only.
    pub(super) is_test: bool,
}

impl Source {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let code = blank(text);
        let is_test_file = is_test_file(path);
        let test_items = test_items(&code);
        let mut start = 0;
        let mut lines = Vec::new();
        for (raw, code) in text.split('\n').zip(code.split('\n')) {
            let is_test = is_test_file || test_items.iter().any(|range| range.contains(&start));
            start += code.len() + 1;
            lines.push(Line { raw: raw.to_owned(), code: code.to_owned(), is_test });
        }
        // What follows the last newline is not a line.
        if text.ends_with('\n') || text.is_empty() {
            lines.pop();
        }
        Self { path: path.to_owned(), lines }
    }

    /// The lines with their numbers, counted from 1.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The file's name without `.rs`.
    pub(super) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }
}

/// Stories and fixtures of `test/`, integration tests, and modules of tests in files of their own. The procs of
/// `test/procs` are programs.
fn is_test_file(path: &str) -> bool {
    let story = path.starts_with("test/") && !path.starts_with("test/procs/");
    story || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether a byte belongs to a name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in `code` as a whole name.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let bytes = code.as_bytes();
    code.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).is_some_and(|before| is_word(bytes[before]));
        let after = bytes.get(at + word.len()).is_some_and(|&after| is_word(after));
        !before && !after
    })
}

/// The ranges of items under `#[cfg(test)]`: up to the brace that closes them, or a semicolon before any.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let attribute = "#[cfg(test)]";
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find(attribute) {
        let start = from + found;
        let end = end_of_item(code, start + attribute.len());
        ranges.push(start..end);
        from = end;
    }
    ranges
}

fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments, strings and characters by blanks of the same length; newlines stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut blanked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => end_of_line(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'\'' => end_of_char(bytes, at),
            byte if is_word(byte) => {
                let end = at + bytes[at..].iter().take_while(|&&byte| is_word(byte)).count();
                match &bytes[at..end] {
                    b"r" | b"br" | b"cr" if matches!(bytes.get(end), Some(b'"' | b'#')) => {
                        end_of_raw_string(bytes, end)
                    }
                    // A word is code: step over it.
                    _ => {
                        at = end;
                        continue;
                    }
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        blanked[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    // Only whole characters were replaced, each by as many blanks as it has bytes.
    String::from_utf8_lossy(&blanked).into_owned()
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |found| at + found)
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// From the hashes on: `#"…"#` with any number of them. A raw name, `r#type`, is one byte of code.
fn end_of_raw_string(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(start + hashes) != Some(&b'"') {
        return start;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = start + hashes + 1;
    let found = bytes[body..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |found| body + found + close.len())
}

/// A character, or the one byte of the quote where it begins a lifetime.
fn end_of_char(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start + 1) {
        Some(b'\\') => {
            let body = start + 3;
            let found = bytes.get(body..).and_then(|rest| rest.iter().position(|&byte| byte == b'\''));
            found.map_or(bytes.len(), |found| body + found + 1)
        }
        Some(&first) => {
            let len = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            if bytes.get(start + 1 + len) == Some(&b'\'') { start + 2 + len } else { start + 1 }
        }
        None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let check = |text: &str, expect: &str| assert_eq!(blank(text), expect, "{text}");
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"x("a\"b", y)"#, r#"x(      , y)"#);
        check(r##"x(r#"a"b"#, y)"##, "x(        , y)");
        check("x(b\"ab\")", "x(b    )");
        check("let r#type = 'x';", "let  #type =    ;");
        check(r"('\'', '{', '\u{7f}')", r"(    ,    ,         )");
        check("fn f<'a>(x: &'a str)", "fn f< a>(x: & a str)");
        check("'é' + 'x'", "     +    ");
    }

    #[test]
    fn tests_are_known_by_their_attribute_and_by_their_place() {
        let text = "a();\n#[cfg(test)]\nmod tests {\n  fn f() { b(); }\n}\nc();\n";
        let tests =
            |path| Source::parse(path, text).lines.iter().map(|line| line.is_test).collect::<Vec<_>>();
        assert_eq!(tests("os/abi/src/path.rs"), [false, true, true, true, true, false]);
        assert_eq!(tests("os/abi/tests/wire.rs"), [true; 6]);
        assert_eq!(tests("test/src/cluster.rs"), [true; 6]);
        assert!(!tests("test/procs/src/bin/fork.rs")[0]);

        let outside = Source::parse("x.rs", "#[cfg(test)]\nmod tests;\nfn f() {}\n");
        assert_eq!(outside.lines.iter().map(|line| line.is_test).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_word_is_a_whole_name() {
        assert!(has_word("x = unsafe { y }", "unsafe"));
        assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
        assert!(!has_word("not_unsafe", "unsafe"));
    }
}
