//! The servers that stories speak to, themselves: what other stories rest on.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::outside::mariadb::Mariadb;
use sigma_test::outside::postgres::Postgres;

#[tokio::test]
async fn postgres_is_killed_and_comes_back_with_its_data() {
    let Some(mut postgres) = Postgres::start().await else { return };
    assert_eq!(postgres.sql("CREATE TABLE t (x int); INSERT INTO t VALUES (7); SELECT x FROM t"), "7");
    postgres.kill_9();
    assert_eq!(postgres.server().pid(), None);
    postgres.start_again().await;
    assert_eq!(postgres.sql("SELECT x FROM t"), "7");
}

#[tokio::test]
async fn mariadb_is_killed_and_comes_back_with_its_data() {
    let Some(mut mariadb) = Mariadb::start().await else { return };
    assert_eq!(mariadb.sql("CREATE TABLE t (x int); INSERT INTO t VALUES (7); SELECT x FROM t"), "7");
    mariadb.kill_9();
    assert_eq!(mariadb.server().pid(), None);
    mariadb.start_again().await;
    assert_eq!(mariadb.sql("SELECT x FROM t"), "7");
}
