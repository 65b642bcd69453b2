//! Statements, and what becomes of them.

use super::*;
use Dialect::{Mysql, Postgres, Sqlite};
use proptest::prelude::*;

fn refused(dialect: Dialect, sql: &str) -> Option<Code> {
    plan(dialect, sql, 0, false).err().map(|error| error.code)
}

#[test]
fn what_leaves_its_database_is_refused_however_it_is_written() {
    for sql in [
        "ATTACH 'other.sqlite' AS other",
        "  attach database '/etc/passwd' as p",
        "-- harmless\nATTACH 'x' AS y",
        "/* SELECT */ /* 1 */ AtTaCh 'x' AS y",
        ";;ATTACH 'x' AS y",
        "\u{b}ATTACH 'x' AS y",
        "\u{feff}ATTACH 'x' AS y",
        "EXPLAIN ATTACH 'x' AS y",
        "EXPLAIN QUERY PLAN ATTACH 'x' AS y",
        "SELECT 1; ATTACH 'x' AS y",
        "SELECT ';'; ATTACH 'x' AS y",
        "SELECT 1 -- ;\n; ATTACH 'x' AS y",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END; ATTACH 'x' AS y",
        "DETACH x",
        "VACUUM",
        "VACUUM INTO '/tmp/copy'",
        "PRAGMA writable_schema = 1",
        "PRAGMA main.writable_schema = 1",
        "EXPLAIN PRAGMA writable_schema = 1",
        "EXPLAIN QUERY PLAN PRAGMA journal_mode = OFF",
        "pragma Journal_Mode = OFF",
        "PRAGMA /**/ main . max_page_count(9999999)",
        "PRAGMA \"journal_mode\" = OFF",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA hard_heap_limit = 0",
    ] {
        assert_eq!(refused(Sqlite, sql), Some(Code::Denied), "{sql}");
    }
}

#[test]
fn what_only_looks_like_it_is_not() {
    for sql in [
        "SELECT 'ATTACH'",
        "SELECT 1 AS attach",
        "SELECT 1;",
        "SELECT 1; -- done",
        "SELECT '; VACUUM'",
        "SELECT [a;b] FROM `c;d`",
        "INSERT INTO pragma VALUES (1)",
        "PRAGMA table_info(t)",
        "PRAGMA main.table_info('t')",
        "PRAGMA user_version = 3",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x = 1; DELETE FROM c; END",
        "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;",
    ] {
        assert_eq!(refused(Sqlite, sql), None, "{sql}");
    }
}

#[test]
fn there_is_one_statement_and_it_is_no_transaction() {
    for (dialect, sql) in [
        (Sqlite, "SELECT 1; SELECT 2"),
        (Sqlite, "  -- nothing\n"),
        (Sqlite, ";"),
        (Sqlite, "SELECT 'a\0b'"),
        (Sqlite, "BEGIN"),
        (Postgres, "/* /* nested */ */ commit"),
        (Postgres, "END"),
        (Postgres, "prepare transaction 'x'"),
        (Mysql, "# comment\nSTART TRANSACTION"),
        (Mysql, "XA START 'x'"),
        (Mysql, "ROLLBACK TO SAVEPOINT a"),
        (Postgres, "SAVEPOINT a"),
    ] {
        assert_eq!(refused(dialect, sql), Some(Code::Invalid), "{sql}");
    }
    for sql in ["SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "rollback to savepoint a"] {
        assert!(plan(Sqlite, sql, 0, true).is_ok(), "{sql}");
    }
    assert!(plan(Sqlite, "ROLLBACK", 0, true).is_err());
    assert_eq!(refused(Postgres, "COPY t FROM STDIN"), Some(Code::Unsupported));
}

#[test]
fn readers_and_writers_are_told_apart() {
    let writes = |sql: &str| plan(Sqlite, sql, 0, false).unwrap().writes;
    for sql in [
        "SELECT 1",
        "(SELECT 1)",
        "VALUES (1)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "EXPLAIN DELETE FROM t",
    ] {
        assert!(!writes(sql) || sql.starts_with("EXPLAIN"), "{sql}");
    }
    for sql in
        ["INSERT INTO t VALUES (1)", "WITH a AS (SELECT 1) DELETE FROM t", "CREATE TABLE t (x)", "nonsense"]
    {
        assert!(writes(sql), "{sql}");
    }
}

#[test]
fn who_changes_the_connection_is_known() {
    let taints = |dialect, sql: &str| plan(dialect, sql, 0, false).unwrap().taints;
    for (dialect, sql) in [
        (Postgres, "SET statement_timeout = 0"),
        (Postgres, "LISTEN a"),
        (Postgres, "CREATE TEMP TABLE t (x int)"),
        (Sqlite, "CREATE TEMPORARY TABLE t (x)"),
        (Mysql, "USE other"),
        (Mysql, "/*! SET autocommit = 0 */"),
        (Mysql, "LOCK TABLES t READ"),
    ] {
        assert!(taints(dialect, sql), "{sql}");
    }
    for (dialect, sql) in
        [(Postgres, "SELECT 1"), (Mysql, "INSERT INTO t VALUES (1)"), (Sqlite, "CREATE TABLE t (x)")]
    {
        assert!(!taints(dialect, sql), "{sql}");
    }
}

#[test]
fn placeholders_are_counted() {
    let check = |sql: &str, wanted: usize| {
        assert!(plan(Sqlite, sql, wanted, false).is_ok(), "{sql}");
        let error = plan(Sqlite, sql, wanted + 1, false).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{sql}");
    };
    check("SELECT ?, ?", 2);
    check("SELECT $1, $2, $1", 2);
    check("SELECT ?3", 3);
    check("SELECT '?', \"?\", -- ?\n ?", 1);
    for sql in ["SELECT $0", "SELECT ?0", "SELECT :name", "SELECT @name", "SELECT $name", "SELECT $99999"] {
        assert_eq!(refused(Sqlite, sql), Some(Code::Invalid), "{sql}: SQLite's driver once fell over $0");
    }
}

proptest! {
    #[test]
    fn any_text_is_cut_wholly_and_in_order(sql in "[ -~\n]{0,60}") {
        for dialect in [Sqlite, Postgres, Mysql] {
            let all: Vec<_> = tokens(dialect, &sql).collect();
            let mut rest = sql.as_str();
            for token in all {
                let text = match token {
                    Token::Bare(text) | Token::Quoted(text) | Token::Place(text) | Token::Other(text) => text,
                    Token::End => ";",
                };
                let place = rest.find(text).expect("it is a part of the statement");
                rest = &rest[place + text.len()..];
            }
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(sql in "\\PC{0,80}", parameters in 0_usize..3) {
        for dialect in [Sqlite, Postgres, Mysql] {
            let _ = plan(dialect, &sql, parameters, false);
        }
    }
}

#[test]
fn what_may_change_something_is_taken_for_a_change() {
    for sql in [
        "INSERT INTO t VALUES (1)",
        "EXPLAIN (ANALYZE) INSERT INTO t VALUES (1)",
        "WITH x AS (SELECT 1) MERGE INTO t USING x ON TRUE WHEN MATCHED THEN DELETE",
        "SELECT 1 INTO t",
        "PRAGMA user_version = 2",
        "CALL p()",
        "(DELETE FROM t RETURNING x)",
    ] {
        assert!(may_change(Postgres, sql), "{sql}");
    }
    for sql in ["SELECT 'INSERT' FROM t -- UPDATE", "VALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x"] {
        assert!(!may_change(Postgres, sql), "{sql}");
    }
}
