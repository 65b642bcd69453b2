//! The examples in the documentation of the SDK: each is run on a machine and in a realm of its own.

use crate::story;
use sigmaos::{Result, Sigma};

/// The realm of an example.
const REALM: &str = "example";

/// Programs that an example finds in its `/bin`.
const PROGRAMS: [&str; 2] = ["actor", "plain"];

/// Runs an example, as a tool in a realm. An error is a failed example.
pub fn example(body: impl AsyncFnOnce(Sigma) -> Result<()>) {
    story(async |machine| {
        let tenant = machine.realm(REALM).await;
        for program in PROGRAMS {
            tenant.upload(program).await;
        }
        body(tenant.sigma).await.expect("the example does what its text says");
    });
}
