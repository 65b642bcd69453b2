//! What holds on every engine.

use super::*;

pub(crate) async fn every_kind_of_value_comes_back_as_it_went(
    _: &mut Machine,
    _: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    let (real, bytes) = match engine {
        Engine::Sqlite => ("REAL", "BLOB"),
        Engine::Postgres(_) => ("DOUBLE PRECISION", "BYTEA"),
        Engine::Mariadb(_) => ("DOUBLE", "LONGBLOB"),
    };
    let create = format!(
        "CREATE TABLE v (id BIGINT PRIMARY KEY, yes BOOLEAN, ratio {real}, name VARCHAR(100), data {bytes}, note VARCHAR(9))"
    );
    execute(&db, &create, values![]).await;
    let insert = engine.sql("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?)");
    let data: Vec<u8> = (0..=255).collect();
    let row = values![i64::MAX, true, 0.1, "grüße 你好 🙂 '; DROP TABLE v", data.clone(), None::<String>];
    assert_eq!(execute(&db, &insert, row).await.affected, 1);
    execute(&db, &insert, values![i64::MIN, false, f64::MIN_POSITIVE, "", vec![0_u8; 500_000], "note"]).await;

    let select = engine.sql("SELECT id, yes, ratio, name, data, note FROM v WHERE id > ?");
    let mut rows = within("rows", db.query(&select, values![0])).await.unwrap();
    let names: Vec<_> = rows.columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["id", "yes", "ratio", "name", "data", "note"]);
    assert!(rows.columns().iter().all(|column| !column.kind.is_empty()), "each has the engine's type");
    let row = within("a row", rows.next()).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("id").unwrap(), i64::MAX);
    assert!(row.get::<bool>("yes").unwrap());
    assert_eq!(row.get::<f64>("ratio").unwrap(), 0.1);
    assert_eq!(row.get::<String>("name").unwrap(), "grüße 你好 🙂 '; DROP TABLE v");
    assert_eq!(row.get::<Vec<u8>>("data").unwrap(), data);
    assert_eq!(row.get::<Option<String>>("note").unwrap(), None);
    let wrong = row.get::<i64>("name").unwrap_err();
    assert!(wrong.code == Code::Invalid && wrong.message.contains("column name"), "{wrong}");
    assert_eq!(failed(row.get::<i64>("nothing")).code, Code::NotFound);
    assert_eq!(within("the end", rows.next()).await.unwrap(), None);

    let none = within("no rows", db.query(&select, values![i64::MAX])).await.unwrap();
    assert_eq!(none.columns().len(), 6, "a result without rows has its columns");
    if !matches!(engine, Engine::Postgres(_)) {
        let key = if matches!(engine, Engine::Sqlite) {
            "INTEGER PRIMARY KEY"
        } else {
            "BIGINT AUTO_INCREMENT PRIMARY KEY"
        };
        execute(&db, &format!("CREATE TABLE k (id {key}, x INTEGER)"), values![]).await;
        assert_eq!(execute(&db, "INSERT INTO k (x) VALUES (7)", values![]).await.last_id, Some(1));
    }
}

pub(crate) async fn a_transaction_is_seen_when_it_is_committed_and_ends_with_its_proc(
    machine: &mut Machine,
    tenant: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY)", values![]).await;
    let insert = engine.sql("INSERT INTO t VALUES (?)");
    let other = Db::open(&machine.client(REALM), "/db/main").await.unwrap();
    let transaction = db.begin().await.unwrap();
    transaction.execute(&insert, values![1]).await.unwrap();
    assert_eq!(count(&other, "t").await, 0, "not before the commit");
    let seen = within("its own rows", transaction.query("SELECT id FROM t", values![])).await.unwrap();
    assert_eq!(seen.all().await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(count(&other, "t").await, 1);

    let transaction = db.begin().await.unwrap();
    transaction.execute(&insert, values![2]).await.unwrap();
    transaction.rollback().await.unwrap();
    drop(db.begin().await.unwrap());
    // A reader sees one state, whatever is committed meanwhile, where the engine is asked for that.
    let reader = db.begin_read_only().await.unwrap();
    assert!(reader.execute(&insert, values![3]).await.is_err() || matches!(engine, Engine::Sqlite));
    drop(reader);

    // A proc that crashes in the middle leaves nothing, and nobody waits for it.
    let crashed = tenant.run("actor sql-in-transaction:INSERT_INTO_t_VALUES_(4) abort").await;
    assert!(matches!(crashed, Status::Crashed { .. }), "{crashed:?}");
    execute(&other, &insert, values![4]).await;
    assert_eq!(count(&other, "t").await, 2);
}

pub(crate) async fn a_hundred_thousand_rows_pass_through_bounded_memory(
    machine: &mut Machine,
    _: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    let proxy = host::find_all(machine.sigmad().await, "db")[0];
    let numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000)";
    let sql = format!("{numbers} SELECT a.x, {} FROM n a, n b WHERE b.x <= 100", engine.kilobyte());
    let before = host::resident_kib(proxy);
    let mut rows = db.query(&sql, values![]).await.unwrap();
    let (mut seen, mut most) = (0, 0);
    while let Some(row) = rows.next().await.unwrap() {
        assert_eq!(row.at::<String>(1).unwrap().len(), 1000);
        seen += 1;
        if seen % 10_000 == 0 {
            most = most.max(host::resident_kib(proxy));
            // Others are served meanwhile, also while a result is half read.
            let one = db.query("SELECT 1", values![]).await.unwrap().first().await.unwrap().unwrap();
            assert_eq!(one.at::<i64>(0).unwrap(), 1);
        }
    }
    assert_eq!(seen, 100_000);
    let grown = most.saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more for 100 MB of rows, from {before}");
}

pub(crate) async fn a_slow_statement_ends_at_its_deadline_while_others_go_on(
    machine: &mut Machine,
    _: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    let slow = db.deadline(Duration::from_millis(300));
    let (one, others) = tokio::join!(slow.query(engine.endless(), values![]), async {
        let mut answered = 0;
        for _ in 0..20 {
            execute(&db, "SELECT 1", values![]).await;
            answered += 1;
        }
        answered
    });
    let late = failed(one);
    assert_eq!((late.code, others), (Code::Deadline, 20), "{late}");
    let system = if matches!(engine, Engine::Sqlite) { "SQLite database main" } else { "127.0.0.1" };
    assert!(late.message.contains(system), "{late}");

    // In a transaction, that is rolled back.
    execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY)", values![]).await;
    let transaction = slow.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1)", values![]).await.unwrap();
    assert_eq!(failed(transaction.query(engine.endless(), values![]).await).code, Code::Deadline);
    assert_eq!(failed(transaction.commit().await).code, Code::Closed);
    execute(&db, "INSERT INTO t VALUES (1)", values![]).await;

    // A caller who goes away takes the statement along.
    let client = machine.client(REALM);
    let gone = Db::open(&client, "/db/main").await.unwrap();
    let endless = engine.endless();
    let asked = tokio::spawn(async move { gone.query(endless, values![]).await.map(drop) });
    if !matches!(engine, Engine::Sqlite) {
        eventually("it runs", async || (engine.at_work() == 1).then_some(())).await;
    }
    asked.abort();
    eventually("it is cancelled", async || (engine.at_work() == 0).then_some(())).await;
}

pub(crate) async fn a_proxy_that_is_killed_loses_nothing_that_was_answered(
    machine: &mut Machine,
    _: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY)", values![]).await;
    let insert = engine.sql("INSERT INTO t VALUES (?)");
    let open = db.begin().await.unwrap();
    open.execute(&insert, values![-1]).await.unwrap();
    machine.kill_9("db").await;
    assert_eq!(failed(open.commit().await).code, Code::Unreachable, "it was on a connection that is no more");
    let (mut answered, mut unknown) = (0, 0);
    for number in 0..120_i64 {
        if number % 40 == 20 {
            machine.kill_9("db").await;
        }
        match within("an answer", db.execute(&insert, values![number])).await {
            Ok(_) => answered += 1,
            Err(error) => {
                assert_eq!(error.code, Code::Unreachable, "{error}");
                unknown += i64::from(error.maybe_done);
            }
        }
    }
    let count = count(&db, "t WHERE id >= 0").await;
    assert!(
        (answered..=answered + unknown).contains(&count),
        "{count} rows, {answered} answered, {unknown} unknown"
    );
    assert_eq!(self::count(&db, "t WHERE id < 0").await, 0);
    assert!(answered >= 100, "{answered}");
}

pub(crate) async fn what_fails_says_so_in_the_words_of_the_engine(
    machine: &mut Machine,
    _: &Tenant,
    engine: &mut Engine,
    db: Db,
) {
    execute(&db, "CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", values![]).await;
    execute(&db, "INSERT INTO u VALUES (1, 1)", values![]).await;
    for (sql, code, word) in [
        ("SELEKT 1", Code::Invalid, "SELEKT"),
        ("SELECT x FROM nowhere", Code::Invalid, "nowhere"),
        ("INSERT INTO u VALUES (1, 2)", Code::Exists, "INSERT INTO u"),
        ("INSERT INTO u VALUES (2, NULL)", Code::Invalid, "n"),
        ("COMMIT", Code::Invalid, "transactions have calls"),
        ("", Code::Invalid, "no statement"),
    ] {
        let error = failed(db.execute(sql, values![]).await);
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(word) && !error.maybe_done, "{error}");
    }
    let sql = engine.sql("SELECT ? , ?");
    assert_eq!(failed(db.query(&sql, values!["one"]).await).code, Code::Invalid, "a parameter is missing");
    let unknown = failed(Db::open(&machine.client(REALM), "/db/nothing").await);
    assert!(unknown.code == Code::NotFound && unknown.message.contains("main"), "{unknown}");
    let text = machine
        .ok(&["--realm", REALM, "rpc", "/db/main", "Db.Query", r#"{"sql": "SELECT id FROM u"}"#])
        .await;
    assert!(text.contains("\"integer\""), "{text}");
    assert_eq!(count(&db, "u").await, 1);
}
