//! What can happen to a server outside.

use super::*;
use rustix::process::geteuid;

/// The story on both servers.
fn on_servers(body: impl AsyncFn(&mut Machine, &Tenant, &mut Engine, Db)) {
    on("postgres", async |machine, tenant, engine, db| body(machine, tenant, engine, db).await);
    on("mariadb", async |machine, tenant, engine, db| body(machine, tenant, engine, db).await);
}

#[test]
fn a_server_that_is_killed_is_named_and_comes_back_with_its_data() {
    on_servers(async |_, _, engine, db| {
        execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY)", values![]).await;
        execute(&db, "INSERT INTO t VALUES (1)", values![]).await;
        let open = db.begin().await.unwrap();
        open.execute("INSERT INTO t VALUES (2)", values![]).await.unwrap();
        match engine {
            Engine::Postgres(server) => server.kill_9(),
            Engine::Mariadb(server) => server.kill_9(),
            Engine::Sqlite => unreachable!("it has no server"),
        }
        assert!(open.commit().await.is_err());
        let error = failed(db.query("SELECT id FROM t", values![]).await);
        assert!(error.code == Code::Unreachable && error.message.contains("127.0.0.1"), "{error}");
        match engine {
            Engine::Postgres(server) => server.start_again().await,
            Engine::Mariadb(server) => server.start_again().await,
            Engine::Sqlite => unreachable!("it has no server"),
        }
        assert_eq!(count(&db, "t").await, 1, "what was committed is there, and nothing else");
    });
}

#[test]
fn a_server_that_hangs_holds_nobody_else_up() {
    on_servers(async |machine, tenant, engine, db| {
        within("an embedded one", tenant.sigma.create_dir("/db/side")).await.unwrap();
        let side = Db::open(&machine.client(REALM), "/db/side").await.unwrap();
        let server = match engine {
            Engine::Postgres(server) => server.server(),
            Engine::Mariadb(server) => server.server(),
            Engine::Sqlite => unreachable!("it has no server"),
        };
        execute(&db, "SELECT 1", values![]).await;
        server.freeze();
        let hurried = db.deadline(Duration::from_millis(500));
        let late = async {
            for _ in 0..3 {
                let error = failed(hurried.query("SELECT 1", values![]).await);
                assert_eq!(error.code, Code::Deadline, "{error}");
                assert!(error.message.contains(&server.address()), "{error}");
            }
        };
        let others = async {
            for _ in 0..50 {
                execute(&side, "SELECT 1", values![]).await;
            }
        };
        tokio::join!(late, others);
        server.thaw();
        eventually("it answers again", async || db.query("SELECT 1", values![]).await.ok().map(drop)).await;
    });
}

#[test]
fn a_wrong_password_is_denied_and_no_secret_is_anywhere() {
    on_servers(async |machine, tenant, engine, db| {
        execute(&db, "SELECT 1", values![]).await;
        engine.set(machine, "main", Some("wr0ng-s3cret")).await;
        let error = eventually("the new setting", async || {
            let error = db.query("SELECT 1", values![]).await.err()?;
            (error.code == Code::Denied).then_some(error)
        })
        .await;
        assert!(error.message.contains("127.0.0.1") && !error.message.contains("wr0ng-s3cret"), "{error}");
        engine.set(machine, "main", None).await;
        eventually("the right one", async || db.query("SELECT 1", values![]).await.ok().map(drop)).await;
        // A proc that has used the database.
        execute(&db, "CREATE TABLE t (id INTEGER)", values![]).await;
        let line = "actor sql-in-transaction:INSERT_INTO_t_VALUES_(1) start wait-kill";
        let pid = tenant.start(line).await;
        let sigmad = machine.sigmad().await;
        let proxy = host::find_all(sigmad, "db")[0];
        let is_ours = |pid: &u32| host::command(*pid).ends_with("start wait-kill");
        let proc = host::descendants(sigmad).into_iter().find(is_ours).unwrap();
        let environment = |pid| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let log = std::fs::read(machine.state().join("sigmad.log")).unwrap();
        let said = [host::command(proxy).into_bytes(), environment(proxy), environment(proc), log].concat();
        let right =
            if matches!(engine, Engine::Postgres(_)) { postgres::PASSWORD } else { mariadb::PASSWORD };
        for secret in ["wr0ng-s3cret", right] {
            assert!(!said.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret}");
            let held = host::memory_holds(proc, secret.as_bytes());
            // An ordinary user may not look into a proc.
            assert!(held == Some(false) || (held.is_none() && !geteuid().is_root()), "{secret}: {held:?}");
        }
        assert_ne!(host::memory_holds(proxy, right.as_bytes()), Some(false), "it is where it is used");
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
    });
}

#[test]
fn a_server_is_believed_by_its_certificate() {
    story(async |machine| {
        let (Some(certificate), Some(other)) = (Certificate::new(), Certificate::new()) else { return };
        let postgres = Postgres::start_with(Some(&certificate)).await;
        let mariadb = Mariadb::start_with(Some(&certificate)).await;
        let tenant = machine.realm(REALM).await;
        let engines = [postgres.map(Engine::Postgres), mariadb.map(Engine::Mariadb)];
        for engine in engines.into_iter().flatten() {
            engine.set(machine, "main", None).await;
            // Without an authority it is not asked who it is.
            let db = within("the database", Db::open(&tenant.sigma, "/db/main")).await.unwrap();
            let secured = match engine {
                Engine::Postgres(_) => "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                _ => {
                    "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_version'"
                }
            };
            let secured = async || {
                let row = db.query(secured, values![]).await?.first().await?;
                row.unwrap().at::<String>(0)
            };
            let how = eventually("the new setting", async || secured().await.ok()).await;
            assert!(how == "true" || how.starts_with("TLS"), "{how}");
            for (certificate, believed) in [(&other, false), (&certificate, true), (&other, false)] {
                machine.set_from_file(REALM, "db.main.ca", &certificate.authority).await;
                eventually("the new authority", async || match secured().await {
                    Ok(_) => believed.then_some(()),
                    Err(error) => (!believed && error.message.contains("db.NAME.ca")).then_some(()),
                })
                .await;
            }
            machine.ok(&["realm", "set", REALM, "db.main.ca="]).await;
        }
    });
}

#[test]
fn a_setting_that_is_wrong_is_said_to_who_asks() {
    on("sqlite", async |machine, tenant, _, _| {
        machine.ok(&["realm", "set", REALM, "db.main.url=postgres://host/shop"]).await;
        let error = eventually("the new setting", async || {
            let db = Db::open(&tenant.sigma, "/db/main").await;
            db.err().filter(|error| error.message.contains("names no user"))
        })
        .await;
        assert!(error.message.contains("db.main.url"), "{error}");
        machine.ok(&["realm", "set", REALM, "db.main.url="]).await;
        eventually("the embedded one", async || Db::open(&tenant.sigma, "/db/main").await.ok()).await;
    });
}
