//! What a statement is, before an engine sees it: pure.
//!
//! Engines with a server of their own are told by that server what they may do; SQLite runs here, so what it must not do is refused
//! here, by a reading of the statement that cuts it into the same tokens as SQLite does. How it is built refuses the same
//! once more: see `.cargo/config.toml` and [`crate::engine::sqlite`].
//!
//! On all engines a statement may not begin or end a transaction, since connections are shared: that is what `Begin` is for.

mod token;

use sigmaos::{Code, Error, Result};
use token::{Token, tokens};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

/// How a statement is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// It may change the database.
    pub(crate) writes: bool,
    /// It may change the connection, which nobody else may then get.
    pub(crate) taints: bool,
}

/// First words of statements that leave a connection as it was.
const CLEAN: &[&str] = &[
    "SELECT",
    "VALUES",
    "WITH",
    "INSERT",
    "REPLACE",
    "UPDATE",
    "DELETE",
    "MERGE",
    "CREATE",
    "DROP",
    "ALTER",
    "TRUNCATE",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN",
    "PRAGMA",
    "SHOW",
    "DESCRIBE",
    "DESC",
    "TABLE",
    "COMMENT",
    "GRANT",
    "REVOKE",
    "SAVEPOINT",
    "RELEASE",
    "ROLLBACK",
    "VACUUM",
    "OPTIMIZE",
    "CHECK",
    "RENAME",
];

/// First words that only read, where nothing else in the statement says otherwise.
const READS: &[&str] = &["SELECT", "VALUES", "WITH", "EXPLAIN", "PRAGMA"];

/// Words that make a change of what begins with WITH.
const CHANGES: &[&str] = &["INSERT", "REPLACE", "UPDATE", "DELETE"];

/// First words that begin or end a transaction.
const CONTROL: &[&str] = &["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "XA"];

/// First words that are for the inside of a transaction alone.
const NESTED: &[&str] = &["SAVEPOINT", "RELEASE"];

/// What SQLite is not asked, and why.
const REFUSED: &[(&str, &str)] = &[
    ("ATTACH", "each database is on its own: open the other one by its path"),
    ("DETACH", "each database is on its own: open the other one by its path"),
    ("VACUUM", "it writes a second file; pages that are free are used again without it"),
];

/// The pragmas that SQLite is asked: those that tell, and two numbers that are the tenant's own.
const PRAGMAS: &[&str] = &[
    "TABLE_INFO",
    "TABLE_XINFO",
    "TABLE_LIST",
    "INDEX_INFO",
    "INDEX_LIST",
    "INDEX_XINFO",
    "FOREIGN_KEY_LIST",
    "FOREIGN_KEY_CHECK",
    "INTEGRITY_CHECK",
    "QUICK_CHECK",
    "COMPILE_OPTIONS",
    "USER_VERSION",
    "APPLICATION_ID",
];

/// Reads a statement with `parameters` values for its placeholders.
///
/// # Errors
/// `Invalid` where it is none, or none that may be asked here; `Denied` where it would leave its database.
pub(crate) fn plan(dialect: Dialect, sql: &str, parameters: usize, in_transaction: bool) -> Result<Plan> {
    if sql.contains('\0') {
        return Err(Error::new(Code::Invalid, "there is a byte of value 0 in the statement"));
    }
    let all: Vec<Token<'_>> = tokens(dialect, sql).collect();
    let words: Vec<String> = leading_words(&all);
    let first = words.first().map(String::as_str).unwrap_or_default();
    if all.iter().all(|token| *token == Token::End) {
        return Err(Error::new(Code::Invalid, "there is no statement"));
    }
    let second = words.get(1).map(String::as_str).unwrap_or_default();
    control(first, second, in_transaction)?;
    if dialect == Dialect::Sqlite {
        sqlite(&all, parameters)?;
    }
    if dialect == Dialect::Postgres && first == "COPY" {
        return Err(Error::new(Code::Unsupported, "COPY needs a connection of its own: use INSERT"));
    }
    let temporary =
        first == "CREATE" && words.iter().take(4).any(|word| word == "TEMP" || word == "TEMPORARY");
    let changes =
        || all.iter().any(|token| token.word().is_some_and(|word| CHANGES.contains(&word.as_str())));
    let writes = !READS.contains(&first) || (first == "WITH" && changes());
    Ok(Plan { writes, taints: temporary || !CLEAN.contains(&first) })
}

/// Whether a statement may change something, whatever it begins with: what is in doubt does. What a function does that it calls is not seen.
pub(crate) fn may_change(dialect: Dialect, sql: &str) -> bool {
    let all: Vec<Token<'_>> = tokens(dialect, sql).collect();
    let words: Vec<String> = all.iter().filter_map(Token::word).collect();
    let reads = words.first().is_some_and(|first| READS.contains(&first.as_str()) && first != "PRAGMA");
    !reads || words.iter().any(|word| CHANGES.contains(&word.as_str()) || word == "MERGE" || word == "INTO")
}

/// The words at the beginning, without an EXPLAIN before them.
fn leading_words(all: &[Token<'_>]) -> Vec<String> {
    let inner = all.iter().skip_while(|token| matches!(token, Token::Other("(") | Token::End));
    let mut words = inner.map_while(Token::word).take(6).collect::<Vec<_>>();
    if words.len() > 1 && words[0] == "EXPLAIN" {
        let skipped = if words[1..].starts_with(&["QUERY".to_owned(), "PLAN".to_owned()]) { 3 } else { 1 };
        // What is explained is not carried out, but read it is all the same, and SQLite carries some pragmas out as it reads them.
        words.drain(1..skipped);
        words.rotate_left(1);
    }
    words
}

fn control(first: &str, second: &str, in_transaction: bool) -> Result<()> {
    let to_savepoint = first == "ROLLBACK" && (second == "TO" || second == "TRANSACTION");
    if to_savepoint && in_transaction {
        return Ok(());
    }
    if CONTROL.contains(&first) || (first == "PREPARE" && second == "TRANSACTION") {
        let text = format!(
            "{first} is no statement here: connections are shared, so transactions have calls of their own"
        );
        return Err(Error::new(Code::Invalid, text));
    }
    if NESTED.contains(&first) && !in_transaction {
        let text = format!("{first} is for the inside of a transaction: begin one first");
        return Err(Error::new(Code::Invalid, text));
    }
    Ok(())
}

/// What holds for SQLite: one statement, of those that stay in their database, with placeholders that are numbered.
fn sqlite(all: &[Token<'_>], parameters: usize) -> Result<()> {
    let statements = all.split(|token| *token == Token::End).filter(|statement| !statement.is_empty());
    let mut trigger = false;
    for (number, statement) in statements.enumerate() {
        let words = leading_words(statement);
        let explained = words.last().is_some_and(|last| last == "EXPLAIN");
        let first = words.first().map(String::as_str).unwrap_or_default();
        if let Some((word, why)) = REFUSED.iter().find(|(word, _)| *word == first) {
            return Err(Error::new(Code::Denied, format!("{word} is refused: {why}")));
        }
        if statement.iter().any(|token| token.word().as_deref() == Some("PRAGMA"))
            && (first == "PRAGMA" || explained)
        {
            pragma(statement)?;
        }
        if number > 0 && !trigger {
            return Err(Error::new(Code::Invalid, "there is more than one statement: send them one by one"));
        }
        trigger |= first == "CREATE" && words.iter().take(3).any(|word| word == "TRIGGER");
    }
    let wanted = token::parameters(all)?;
    if wanted != parameters {
        let text = format!("the statement has places for {wanted} parameters, and there are {parameters}");
        return Err(Error::new(Code::Invalid, text));
    }
    Ok(())
}

fn pragma(statement: &[Token<'_>]) -> Result<()> {
    let mut rest = statement.iter().skip_while(|token| token.word().as_deref() != Some("PRAGMA")).skip(1);
    let mut name = rest.next().and_then(Token::word);
    if rest.next() == Some(&Token::Other(".")) {
        name = rest.next().and_then(Token::word);
    }
    match name {
        Some(name) if PRAGMAS.contains(&name.as_str()) => Ok(()),
        Some(name) => {
            let text =
                format!("PRAGMA {} is refused: it is set for all who use this database", name.to_lowercase());
            Err(Error::new(Code::Denied, text))
        }
        None => Err(Error::new(Code::Denied, "a PRAGMA with such a name is refused")),
    }
}

#[cfg(test)]
mod tests;
