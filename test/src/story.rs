//! A story: a machine boots, things happen to it, and all of it is bounded in time.

use crate::Machine;
use std::time::{Duration, Instant};

/// How long a story may take as a whole.
const STORY_DEADLINE: Duration = Duration::from_secs(60);

/// How long one event may take to come.
const EVENT_DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at what tells no event.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Tells a story on a machine of its own.
pub fn story(body: impl AsyncFnOnce(&mut Machine)) {
    story_with(&[], body);
}

/// As [`story`], with options of `sigma up`.
pub fn story_with(options: &[&str], body: impl AsyncFnOnce(&mut Machine)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut machine = Machine::boot(options).await;
        let told = tokio::time::timeout(STORY_DEADLINE, Box::pin(body(&mut machine))).await;
        assert!(told.is_ok(), "the story takes longer than {STORY_DEADLINE:?}");
    });
}

/// Waits for one event.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(EVENT_DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited for {EVENT_DEADLINE:?}: {what}"),
    }
}

/// Waits until a look finds something. For what tells no event only: the host's processes, and states of the kernel
/// that nobody can wait for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + EVENT_DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "looked for {EVENT_DEADLINE:?}: {what}");
        // There is no event to wait for, or the story would.
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
