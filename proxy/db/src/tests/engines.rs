//! What holds on every engine.

use super::*;

#[tokio::test]
async fn values_come_back_as_they_went() {
    all(async |fixture| {
        let caller = fixture.caller().await;
        let bytes = if caller.dialect == Dialect::Postgres { "BYTEA" } else { "BLOB" };
        let double = if caller.dialect == Dialect::Sqlite { "REAL" } else { "DOUBLE PRECISION" };
        let create = format!(
            "CREATE TABLE v (id BIGINT PRIMARY KEY, b BOOLEAN, r {double}, t VARCHAR(200), y {bytes})"
        );
        caller.execute(&create, &[]).await.unwrap();
        let rows = [
            [
                Value::Integer(i64::MIN),
                Value::Boolean(true),
                Value::Real(0.1),
                Value::from("grüße 你好 🙂"),
                Value::from(vec![0_u8, 1, 255]),
            ],
            [
                Value::Integer(2),
                Value::Boolean(false),
                Value::Real(-1e300),
                Value::from(""),
                Value::from(Vec::new()),
            ],
            [Value::Integer(i64::MAX), Value::Null, Value::Null, Value::Null, Value::Null],
        ];
        for row in &rows {
            let done = caller.execute("INSERT INTO v VALUES (?, ?, ?, ?, ?)", row).await.unwrap();
            assert_eq!(done.affected, 1);
        }
        assert_eq!(caller.rows("SELECT * FROM v ORDER BY id", &[]).await.unwrap(), rows);
        // The same statement with other types, which a kept statement must not be mistaken for.
        for parameter in [Value::Integer(2), Value::Null, Value::Integer(2)] {
            let found =
                caller.rows("SELECT id FROM v WHERE id = ?", std::slice::from_ref(&parameter)).await.unwrap();
            assert_eq!(found.len(), usize::from(parameter != Value::Null));
        }
        let empty = caller
            .desk
            .query(request(caller.query("SELECT id, t FROM v WHERE id = 77", &[], 0)))
            .await
            .unwrap();
        let names: Vec<_> = empty.message.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "t"], "of a result without rows, too");
    })
    .await;
}

#[tokio::test]
async fn errors_have_a_code_and_the_words_of_the_engine() {
    all(async |fixture| {
        let caller = fixture.caller().await;
        caller.execute("CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", &[]).await.unwrap();
        caller.execute("INSERT INTO u VALUES (1, 1)", &[]).await.unwrap();
        for (sql, expect, words) in [
            ("SELEKT 1", Code::Invalid, "SELEKT"),
            ("SELECT * FROM nowhere", Code::Invalid, "nowhere"),
            ("INSERT INTO u VALUES (1, 2)", Code::Exists, "u"),
            ("INSERT INTO u VALUES (2, NULL)", Code::Invalid, "n"),
            ("BEGIN", Code::Invalid, "transactions have calls"),
        ] {
            let (code, message) = code(caller.execute(sql, &[]).await);
            assert_eq!(code, expect, "{sql}: {message}");
            assert!(message.contains(words), "{sql}: {message}");
        }
        let (code, message) = code(caller.rows("SELECT ?, ?", &[Value::from("a")]).await);
        assert_eq!(code, Code::Invalid, "{message}");
        assert_eq!(caller.count("SELECT count(*) FROM u").await, 1, "and the connection is well");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_seen_when_it_is_committed() {
    all(async |fixture| {
        let (caller, other) = (fixture.caller().await, fixture.caller().await);
        caller.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)", &[]).await.unwrap();
        let transaction = caller.begin().await.unwrap();
        caller.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
        assert_eq!(other.count("SELECT count(*) FROM t").await, 0);
        // A statement that fails leaves the decision to the caller.
        assert_eq!(
            code(caller.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await).0,
            Code::Exists
        );
        let committed = caller.end(transaction, true).await;
        if caller.dialect == Dialect::Postgres {
            let (code, message) = code(committed);
            assert!(code == Code::Invalid && message.contains("duplicate key"), "{message}");
            assert_eq!(other.count("SELECT count(*) FROM t").await, 0, "PostgreSQL takes all of it back");
        } else {
            committed.unwrap();
            assert_eq!(other.count("SELECT count(*) FROM t").await, 1);
        }
        let (code, _) = code(caller.end(transaction, true).await);
        assert_eq!(code, Code::Closed);
    })
    .await;
}

#[tokio::test]
async fn who_goes_away_leaves_nothing() {
    all(async |fixture| {
        let caller = fixture.caller().await;
        caller.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)", &[]).await.unwrap();
        let leaver = fixture.caller().await;
        let transaction = leaver.begin().await.unwrap();
        leaver.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
        drop(leaver);
        // It waits for the row, or for the one writer, until the transaction is rolled back.
        caller.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        assert_eq!(caller.count("SELECT count(*) FROM t").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_large_result_comes_in_pages_and_may_be_left() {
    all(async |fixture| {
        let caller = fixture.caller().await;
        let numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 900) ";
        let sql = format!("{numbers}SELECT a.x, b.x FROM n a, n b WHERE b.x <= 100");
        let mut page = caller.desk.query(request(caller.query(&sql, &[], 0))).await.unwrap().message;
        let (mut rows, mut pages) = (page.rows.len(), 1);
        assert_eq!(page.columns.len(), 2);
        while page.result != 0 {
            let more = request(proto::MoreRequest { result: page.result, deadline_ms: 10_000 });
            page = caller.desk.more(more).await.unwrap().message;
            (rows, pages) = (rows + page.rows.len(), pages + 1);
        }
        assert_eq!((rows, pages), (90_000, 90));
        // In a transaction, a result that is left does not end it.
        let transaction = caller.begin().await.unwrap();
        let page = caller.desk.query(request(caller.query(&sql, &[], transaction))).await.unwrap().message;
        let close = request(proto::ResultRequest { result: page.result });
        caller.desk.close_result(close).await.unwrap();
        caller.execute_in(transaction, "CREATE TABLE later (x INTEGER)", &[]).await.unwrap();
        caller.end(transaction, true).await.unwrap();
        let more = request(proto::MoreRequest { result: page.result, deadline_ms: 100 });
        assert_eq!(code(caller.desk.more(more).await).0, Code::Closed);
    })
    .await;
}

#[tokio::test]
async fn a_statement_without_end_is_cancelled_and_others_go_on() {
    all(async |fixture| {
        let caller = fixture.caller().await;
        let endless = match caller.dialect {
            Dialect::Sqlite => {
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
            }
            Dialect::Postgres => "SELECT pg_sleep(1000)",
            Dialect::Mysql => "SELECT sleep(1000)",
        };
        for _ in 0..20 {
            // More than there are connections: each is free again.
            let mut query = caller.query(endless, &[], 0);
            query.deadline_ms = 30;
            let (code, message) = code(caller.desk.query(request(query)).await);
            assert_eq!(code, Code::Deadline, "{message}");
            assert!(message.contains(caller.desk.base.system()), "{message}");
        }
        assert_eq!(caller.value("SELECT 7", &[]).await.unwrap(), Value::Integer(7));
    })
    .await;
}

#[tokio::test]
async fn what_the_engines_call_their_types_travels() {
    if let Some(fixture) = Fixture::postgres().await {
        let caller = fixture.caller().await;
        for (sql, expect) in [
            ("12.50::numeric", Value::from("12.50")),
            ("'2026-11-25'::date", Value::from("2026-11-25")),
            ("'2026-11-25 13:37:00.5+02'::timestamptz", Value::from("2026-11-25 11:37:00.5+00")),
            ("'0044-03-15 12:00:00 BC'::timestamp", Value::from("0044-03-15 12:00:00 BC")),
            ("'-infinity'::date", Value::from("-infinity")),
            ("-0.00001234::numeric", Value::from("-0.00001234")),
            (
                "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
                Value::from("00112233-4455-6677-8899-aabbccddeeff"),
            ),
            ("'{\"a\": 1}'::jsonb", Value::from("{\"a\": 1}")),
            ("'x'::char(3)", Value::from("x  ")),
            ("7::smallint", Value::Integer(7)),
            ("0.5::real", Value::Real(0.5)),
            ("sum(x) FROM (VALUES (1::bigint), (2)) AS v(x)", Value::from("3")),
        ] {
            assert_eq!(caller.value(&format!("SELECT {sql}"), &[]).await.unwrap(), expect, "{sql}");
        }
        caller.execute("CREATE TYPE mood AS ENUM ('good', 'bad')", &[]).await.unwrap();
        assert_eq!(caller.value("SELECT 'bad'::mood", &[]).await.unwrap(), Value::from("bad"));
        let (code, message) = code(caller.value("SELECT ARRAY[1, 2] AS pair", &[]).await);
        assert!(code == Code::Unsupported && message.contains("column pair"), "{message}");
    }
    if let Some(fixture) = Fixture::mariadb().await {
        let caller = fixture.caller().await;
        for (sql, expect) in [
            ("CAST(12.50 AS DECIMAL(10, 2))", Value::from("12.50")),
            ("CAST('2026-11-25' AS DATE)", Value::from("2026-11-25")),
            ("CAST('2026-11-25 13:37:00.5' AS DATETIME(1))", Value::from("2026-11-25 13:37:00.5")),
            ("CAST('-51:04:05' AS TIME)", Value::from("-51:04:05")),
            ("18446744073709551615", Value::from("18446744073709551615")),
            ("CAST('abc' AS CHAR) COLLATE utf8mb4_bin", Value::from("abc")),
            ("x'00ff'", Value::from(vec![0_u8, 255])),
            ("b'101' + 0", Value::Integer(5)),
        ] {
            assert_eq!(caller.value(&format!("SELECT {sql}"), &[]).await.unwrap(), expect, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_told() {
    let refused = async |fixture: &Fixture| {
        let (code, message) = code(fixture.caller().await.value("SELECT 1", &[]).await);
        assert_eq!(code, Code::Denied, "{message}");
        assert!(message.contains("127.0.0.1") && !message.contains("wr0ng-s3cret"), "{message}");
    };
    if let Some(server) = postgres::Postgres::start().await {
        refused(&Fixture::outside(&server.url(), "wr0ng-s3cret", (Some(server), None))).await;
    }
    if let Some(server) = mariadb::Mariadb::start().await {
        refused(&Fixture::outside(&server.url(), "wr0ng-s3cret", (None, Some(server)))).await;
    }
}

#[tokio::test]
async fn the_first_callers_of_a_new_database_may_come_together() {
    for _ in 0..100 {
        let fixture = Fixture::sqlite();
        let callers = futures_util::future::join_all((0..8).map(|_| fixture.caller())).await;
        let first = callers.iter().map(|caller| caller.count("SELECT count(*) FROM sqlite_schema"));
        assert_eq!(futures_util::future::join_all(first).await, [0; 8]);
    }
}
