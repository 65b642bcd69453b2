//! SQL of a tenant who means harm, on the engine that runs in the proxy itself.

use super::*;

async fn refused(caller: &Caller, sql: &str) -> Code {
    code(caller.rows(sql, &[]).await).0
}

#[tokio::test]
async fn what_leaves_the_database_is_refused_twice() {
    crate::engine::sqlite::ensure_bounded().await.expect("the build has its bounds");
    let fixture = Fixture::sqlite();
    let caller = fixture.caller().await;
    for sql in ["ATTACH '/tmp/x' AS x", "VACUUM INTO '/tmp/x'", "PRAGMA writable_schema = 1"] {
        assert_eq!(refused(&caller, sql).await, Code::Denied, "{sql}");
    }
    // What reading a statement would let through, the engine refuses.
    for sql in [
        "SELECT load_extension('/tmp/x.so')",
        "UPDATE sqlite_schema SET sql = ''",
        "SELECT readfile('/etc/passwd')",
    ] {
        assert_eq!(refused(&caller, sql).await, Code::Invalid, "{sql}");
    }
    let (_, message) = {
        // Past the first barrier, as if it had a hole.
        use sqlx::Connection;
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let attached = sqlx::query("ATTACH ':memory:' AS x").execute(&mut connection).await;
        (0, attached.unwrap_err().to_string())
    };
    assert!(message.contains("too many attached databases - max 0"), "{message}");
}

#[tokio::test]
async fn memory_rows_and_the_file_are_bounded() {
    let fixture = Fixture::sqlite();
    let caller = fixture.caller().await;
    for sql in [
        "SELECT zeroblob(1000001)",
        "SELECT hex(zeroblob(900000))",
        "SELECT randomblob(900000), randomblob(900000)",
    ] {
        assert_eq!(refused(&caller, sql).await, Code::TooLarge, "{sql}");
    }
    let text = Value::from("x".repeat(1_000_001));
    assert_eq!(code(caller.rows("SELECT ?", &[text]).await).0, Code::TooLarge);
    assert_eq!(refused(&caller, &format!("SELECT '{}'", "x".repeat(1_000_000))).await, Code::TooLarge);
    assert_eq!(refused(&caller, &format!("SELECT {}1", "1, ".repeat(300))).await, Code::Invalid);
    let large = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 600) \
                 SELECT x FROM n ORDER BY randomblob(900000)";
    let sorted = caller.rows(large, &[]).await;
    assert!(matches!(&sorted, Err(error) if error.code == Code::Quota), "{sorted:?}");
    assert_eq!(caller.value("SELECT 1", &[]).await.unwrap(), Value::Integer(1), "and it goes on");
    let pages = caller.count("SELECT max_page_count FROM pragma_max_page_count").await;
    assert_eq!(pages as u64 * 4096, crate::engine::sqlite::MAX_DATABASE);
}

#[tokio::test]
async fn writers_wait_in_turn_and_readers_do_not() {
    let fixture = Fixture::sqlite();
    let caller = fixture.caller().await;
    caller.execute("CREATE TABLE t (x)", &[]).await.unwrap();
    let transaction = caller.begin().await.unwrap();
    caller.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
    assert_eq!(caller.count("SELECT count(*) FROM t").await, 0);
    let mut query = caller.query("INSERT INTO t VALUES (2)", &[], 0);
    query.deadline_ms = 50;
    let (code, message) = code(caller.desk.execute(request(query)).await);
    assert!(code == Code::Busy && message.contains("another transaction writes"), "{message}");
    let writers = (0..50).map(|_| async {
        let other = fixture.caller().await;
        other.execute("INSERT INTO t VALUES (3)", &[]).await.unwrap();
    });
    let writers = futures_util::future::join_all(writers);
    let (_, ended) = tokio::join!(writers, caller.end(transaction, true));
    ended.unwrap();
    assert_eq!(caller.count("SELECT count(*) FROM t").await, 51);
}

#[tokio::test]
async fn a_transaction_that_nobody_uses_ends() {
    let fixture = Fixture::sqlite();
    let (mut caller, other) = (fixture.caller().await, fixture.caller().await);
    caller.execute("CREATE TABLE t (x)", &[]).await.unwrap();
    caller.desk.idle = std::time::Duration::from_millis(1);
    let transaction = caller.begin().await.unwrap();
    // It waits for the one writer to end.
    other.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    let (code, message) = code(caller.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await);
    assert!(code == Code::Closed && message.contains("nobody used it"), "{message}");
}

#[tokio::test]
async fn connections_are_bounded_and_come_back() {
    let fixture = Fixture::sqlite();
    let caller = fixture.caller().await;
    let begin = || caller.desk.begin(request(proto::BeginRequest { read_only: true, deadline_ms: 50 }));
    let mut open = Vec::new();
    let (code, message) = loop {
        match begin().await {
            Ok(begun) => open.push(begun.message.transaction),
            Err(error) => break (error.code, error.message),
        }
    };
    assert!(code == Code::Busy && message.contains("all 8 connections"), "{message}");
    assert_eq!(open.len(), 8);
    caller.end(open[0], false).await.unwrap();
    assert!(begin().await.is_ok(), "a place is free again");
}

#[tokio::test]
async fn who_cancels_a_statement_of_a_transaction_ends_that() {
    let fixture = Fixture::sqlite();
    let (caller, other) = (fixture.caller().await, fixture.caller().await);
    caller.execute("CREATE TABLE t (x)", &[]).await.unwrap();
    let transaction = caller.begin().await.unwrap();
    caller.execute_in(transaction, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    {
        let mut asked = std::pin::pin!(caller.execute_in(transaction, endless, &[]));
        // It has begun, and is dropped.
        assert!(futures_util::poll!(&mut asked).is_pending());
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut asked).is_pending());
    }
    assert_eq!(code(caller.end(transaction, true).await).0, Code::Closed);
    // The one writer has stopped, and what it did is taken back.
    other.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    assert_eq!(other.count("SELECT count(*) FROM t").await, 1);
}

#[tokio::test]
async fn databases_come_and_go() {
    let fixture = Fixture::sqlite();
    assert_eq!(code(fixture.names.create("../x", true).await).0, Code::Invalid);
    assert_eq!(fixture.names.get("orders").await.err().map(|error| error.code), Some(Code::NotFound));
    fixture.names.create("orders", true).await.unwrap();
    assert_eq!(code(fixture.names.create("orders", true).await).0, Code::Exists);
    let caller = fixture.caller_of("orders").await;
    caller.execute("CREATE TABLE t (x)", &[]).await.unwrap();
    let transaction = caller.begin().await.unwrap();
    assert_eq!(code(fixture.names.remove("orders").await).0, Code::Busy);
    caller.end(transaction, false).await.unwrap();
    fixture.names.remove("orders").await.unwrap();
    assert_eq!(code(caller.value("SELECT 1", &[]).await).0, Code::NotFound);
    assert_eq!(code(fixture.names.remove("main").await).0, Code::Denied);
    let left: Vec<_> = std::fs::read_dir(fixture.folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    for number in 1..crate::names::MAX_DATABASES {
        fixture.names.create(&format!("db{number}"), true).await.unwrap();
    }
    assert_eq!(code(fixture.names.create("more", true).await).0, Code::Quota);
}
