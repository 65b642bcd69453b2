//! Leaders who are followed by others.

use super::*;
use std::time::Duration;
use tokio::time::timeout;

/// A pause in which whoever can go on does.
const MEANWHILE: Duration = Duration::from_millis(200);

impl Fixture {
    /// A connection of who wins the next election.
    async fn leader(&self) -> Caller {
        let epoch = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Caller { leads: vec![Fence { path: "/db/main".into(), epoch }], ..self.caller().await }
    }
}

impl Caller {
    /// A change that takes a second or two, as this engine writes it.
    fn slow_change(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => {
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 10000000) \
                 INSERT INTO t SELECT 7 FROM n WHERE x = 10000000"
            }
            Dialect::Postgres => "INSERT INTO t SELECT 7 FROM pg_sleep(1)",
            Dialect::Mysql => "INSERT INTO t SELECT 7 + sleep(1)",
        }
    }
}

#[tokio::test]
async fn who_led_before_changes_nothing_once_the_next_one_was_heard_of() {
    all(async |fixture| {
        let old = fixture.leader().await;
        old.execute("CREATE TABLE t (x INTEGER)", &[]).await.unwrap();
        old.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        let open = old.begin().await.unwrap();
        old.execute_in(open, "INSERT INTO t VALUES (2)", &[]).await.unwrap();
        let new = fixture.leader().await;
        assert_eq!(new.count("SELECT count(*) FROM t").await, 1);
        for sql in ["INSERT INTO t VALUES (3)", "DELETE FROM t", "DROP TABLE t", "SELECT x FROM t"] {
            assert_eq!(code(old.execute(sql, &[]).await).0, Code::Stale, "{sql}");
            assert_eq!(
                code(old.execute_in(open, sql, &[]).await).0,
                Code::Stale,
                "in its transaction: {sql}"
            );
        }
        let (stale, message) = code(old.end(open, true).await);
        assert!(stale == Code::Stale && message.contains("rolled back"), "{message}");
        new.execute("INSERT INTO t VALUES (4)", &[]).await.unwrap();
        let anybody = fixture.caller().await;
        assert_eq!(anybody.count("SELECT sum(x) FROM t").await, 1 + 4, "nothing of the transaction");
        let never =
            Caller { leads: vec![Fence { path: "/db/main".into(), epoch: 9 }], ..fixture.caller().await };
        assert_eq!(code(never.execute("DELETE FROM t", &[]).await).0, Code::Invalid, "nobody was elected");
    })
    .await;
}

#[tokio::test]
async fn the_next_leader_waits_for_what_the_one_before_has_begun() {
    all(async |fixture| {
        let old = fixture.leader().await;
        old.execute("CREATE TABLE t (x INTEGER)", &[]).await.unwrap();
        let (new, anybody) = (fixture.leader().await, fixture.caller().await);
        let change = old.execute(old.slow_change(), &[]);
        tokio::pin!(change);
        assert!(timeout(MEANWHILE, &mut change).await.is_err(), "it is under way");
        let look = new.count("SELECT count(*) FROM t");
        tokio::pin!(look);
        // What rests on no election waits for nobody.
        assert_eq!(anybody.count("SELECT count(*) FROM t").await, 0);
        assert!(timeout(MEANWHILE, &mut look).await.is_err(), "the change is under way");
        let (changed, seen) = tokio::join!(change, look);
        assert_eq!((changed.unwrap().affected, seen), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn what_a_leader_gave_up_has_ended_before_the_next_one_looks() {
    all(async |fixture| {
        let old = fixture.leader().await;
        old.execute("CREATE TABLE t (x INTEGER)", &[]).await.unwrap();
        let new = fixture.leader().await;
        assert!(timeout(MEANWHILE, old.execute(old.slow_change(), &[])).await.is_err(), "it is under way");
        let seen = new.count("SELECT count(*) FROM t").await;
        // Nothing tells of what does not happen: the change would have been there by then.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(new.count("SELECT count(*) FROM t").await, seen, "what was given up came later");
    })
    .await;
}
