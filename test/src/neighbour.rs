//! A neighbour in another realm, who must not feel what a hostile tenant does.

use crate::echo::{EchoClient, Text};
use crate::{Machine, Tenant, within};
use sigmaos::Pid;
use std::time::{Duration, Instant};

/// Has a server that answers calls, and a program to start.
#[derive(Debug)]
pub struct Neighbour {
    tenant: Tenant,
    server: Pid,
    echo: EchoClient,
}

impl Neighbour {
    pub async fn moves_in(machine: &Machine) -> Self {
        let tenant = machine.realm("neighbour").await;
        tenant.upload("noop").await;
        let server = tenant.spawn_lc(200, "echo serve /echo").await;
        tenant.wait_start(server).await.expect("it starts");
        let echo = within("a device", tenant.sigma.client("/echo/rpc")).await.expect("it serves");
        Self { tenant, server, echo }
    }

    /// Makes a call, which must be answered right; gives how long that took.
    pub async fn is_well(&self) -> Duration {
        let begun = Instant::now();
        let answer = within("the neighbour's answer", self.echo.say(Text { text: "well".into() })).await;
        let took = begun.elapsed();
        assert_eq!(answer.expect("an answer").text, "well");
        took
    }

    /// Runs a proc to its end; gives how long it took to start.
    pub async fn starts(&self) -> Duration {
        let begun = Instant::now();
        let pid = self.tenant.spawn_lc(100, "noop").await;
        self.tenant.wait_start(pid).await.expect("it starts");
        let took = begun.elapsed();
        assert!(self.tenant.wait_exit(pid).await.is_ok());
        took
    }

    pub async fn moves_out(self) {
        self.is_well().await;
        self.tenant.kill(self.server).await;
        assert!(self.tenant.wait_exit(self.server).await.is_ok());
    }
}
