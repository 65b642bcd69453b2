//! What holds for the databases within the proxy.

use super::*;

#[test]
fn databases_are_directories_that_come_and_go() {
    on("sqlite", async |machine, tenant, _, _| {
        let names = async || -> Vec<String> {
            let list = within("a listing", tenant.sigma.read_dir("/db")).await.unwrap();
            list.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names().await, ["main"]);
        machine.ok(&["--realm", REALM, "mkdir", "/db/orders"]).await;
        assert_eq!(names().await, ["main", "orders"]);
        let orders = Db::open(&tenant.sigma, "/db/orders").await.unwrap();
        execute(&orders, "CREATE TABLE t (x)", values![]).await;
        assert_eq!(failed(tenant.sigma.create_dir("/db/orders").await).code, Code::Exists);
        assert_eq!(failed(tenant.sigma.create_dir("/db/No_Name").await).code, Code::Invalid);
        assert_eq!(failed(tenant.sigma.remove("/db/main").await).code, Code::Denied);
        let open = orders.begin().await.unwrap();
        assert_eq!(failed(tenant.sigma.remove("/db/orders").await).code, Code::Busy);
        open.rollback().await.unwrap();
        within("a removal", tenant.sigma.remove("/db/orders")).await.unwrap();
        assert_eq!(failed(Db::open(&tenant.sigma, "/db/orders").await).code, Code::NotFound);
        let tree = machine.ok(&["--realm", REALM, "ls", "/db/main"]).await;
        assert!(tree.contains("rpc"), "{tree}");
    });
}

#[test]
fn hostile_sql_stays_in_its_database() {
    on("sqlite", async |machine, _, _, db| {
        let other = machine.realm("other").await;
        let theirs = Db::open(&other.sigma, "/db/main").await.unwrap();
        execute(&theirs, "CREATE TABLE secret (x)", values![]).await;
        let file = machine.state().join("realm/other/db/main.sqlite");
        assert!(file.exists(), "where an attack would find it");
        let attach = format!("ATTACH '{}' AS theirs", file.display());
        for sql in [
            attach.as_str(),
            &format!("/* x */ ; {attach}"),
            &format!("EXPLAIN {attach}"),
            &format!("SELECT 1; {attach}"),
            "VACUUM INTO 'copy.sqlite'",
            "PRAGMA journal_mode = OFF",
            "PRAGMA writable_schema = ON",
        ] {
            assert_eq!(failed(db.execute(sql, values![]).await).code, Code::Denied, "{sql}");
        }
        for sql in ["SELECT load_extension('x')", "SELECT writefile('x', 'y')", "DELETE FROM sqlite_schema"] {
            assert_eq!(failed(db.execute(sql, values![]).await).code, Code::Invalid, "{sql}");
        }
        assert_eq!(failed(db.query("SELECT * FROM secret", values![]).await).code, Code::Invalid);
        // What would take all memory or all time ends, and the proxy with its pid goes on.
        let proxy = host::find_all(machine.sigmad().await, "db");
        let hurried = db.deadline(Duration::from_millis(500));
        for (sql, code) in [
            ("SELECT zeroblob(2000000)", Code::TooLarge),
            (
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n",
                Code::Deadline,
            ),
            ("SELECT randomblob(900000), randomblob(900000)", Code::TooLarge),
        ] {
            assert_eq!(failed(hurried.query(sql, values![]).await).code, code, "{sql}");
        }
        execute(&db, "SELECT 1", values![]).await;
        assert_eq!(host::find_all(machine.sigmad().await, "db"), proxy);
        // A row that is larger than all the memory there is for databases: whatever it costs, it costs this realm alone.
        let wide = format!("SELECT {}", vec!["randomblob(900000)"; 250].join(", "));
        let error = failed(db.query(&wide, values![]).await);
        assert!(matches!(error.code, Code::TooLarge | Code::Quota | Code::Unreachable), "{error}");
        assert_eq!(count(&theirs, "secret").await, 0);
        eventually("it goes on", async || db.query("SELECT 1", values![]).await.ok().map(drop)).await;
    });
}

#[test]
fn a_database_counts_for_the_realms_limit_of_disk() {
    on("sqlite", async |machine, _, _, db| {
        execute(&db, "CREATE TABLE t (x)", values![]).await;
        machine.ok(&["realm", "set", REALM, "limit.disk=8M"]).await;
        let filling = async {
            loop {
                if let Err(error) = db.execute("INSERT INTO t VALUES (randomblob(500000))", values![]).await {
                    return error;
                }
            }
        };
        let error = within("the limit", filling).await;
        assert!(error.code == Code::Quota && error.message.contains("limit.disk"), "{error}");
        assert!(count(&db, "t").await > 0, "who reads is served");
        machine.ok(&["realm", "set", REALM, "limit.disk="]).await;
        execute(&db, "INSERT INTO t VALUES (1)", values![]).await;
    });
}
