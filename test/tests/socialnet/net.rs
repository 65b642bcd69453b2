//! The social network, started, with the verbs of the stories.

use crate::http::{Answer, ask, encode};
use sigma_test::{Machine, Tenant, within};
use sigmaos::{Pid, ProcSpec};
use std::net::{Ipv4Addr, TcpListener};

/// The realm that it is in.
pub(crate) const REALM: &str = "sn";

/// A social network that serves.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) tenant: Tenant,
    pub(crate) port: u16,
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// A realm that may publish a port, with the programs.
pub(crate) async fn realm(machine: &Machine, port: u16) -> Tenant {
    let tenant = machine.realm(REALM).await;
    machine.ok(&["realm", "set", REALM, &format!("publish.ports={port}")]).await;
    for program in ["cache-shard", "socialnet"] {
        tenant.upload(program).await;
    }
    tenant
}

impl Net {
    pub(crate) async fn start(machine: &Machine) -> Self {
        Self::start_with(machine, "--password-cost cheap").await
    }

    /// As [`Net::start`], with other options of `socialnet up`.
    pub(crate) async fn start_with(machine: &Machine, options: &str) -> Self {
        let port = free_port();
        let net = Self { tenant: realm(machine, port).await, port };
        net.run(&format!("socialnet up --port {port} {options}")).await;
        net
    }

    /// Runs a command of the program to its good end; what it said.
    pub(crate) async fn run(&self, line: &str) -> String {
        let pid = self.tenant.spawn(line).await;
        let status = self.tenant.wait_exit(pid).await;
        assert!(status.is_ok(), "{line}: {status:?}: {}", self.tenant.stderr(pid).await);
        self.tenant.stdout(pid).await
    }

    /// The client of a service.
    pub(crate) async fn client<C: From<sigmaos::rpc::Device>>(&self, name: &str) -> C {
        let path = format!("/sn/{name}/rpc");
        within(&path, self.tenant.sigma.client(&path)).await.unwrap()
    }

    /// The proc of a service, or of the first shard of the cache.
    pub(crate) async fn proc(&self, name: &str) -> (Pid, u32) {
        let is = |spec: &ProcSpec| {
            spec.args.first().is_some_and(|first| first == name)
                || (name == "cache" && spec.binary.as_str() == "/bin/cache-shard")
        };
        let procs = within("the procs", self.tenant.sigma.procs(false)).await.unwrap();
        let proc = procs.into_iter().find(|proc| {
            let spec = proc.spec.clone().and_then(|spec| ProcSpec::try_from(spec).ok());
            spec.is_some_and(|spec| is(&spec))
        });
        let proc = proc.unwrap_or_else(|| panic!("no proc is {name}"));
        (proc.pid.parse().unwrap(), proc.os_pid)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(self.port, "GET", path, &[], b"").await
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        ask(self.port, "POST", path, &headers, encode(fields).as_bytes()).await
    }

    /// Registers a user as DeathStarBench's clients do: `username_ID`.
    pub(crate) async fn register(&self, id: i64) {
        let (id, name, password) = (id.to_string(), format!("username_{id}"), format!("password_{id}"));
        let fields = [
            ("first_name", "Ada"),
            ("last_name", "L"),
            ("username", &*name),
            ("password", &password),
            ("user_id", &id),
        ];
        let answer = self.form("/wrk2-api/user/register", &fields).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Success!\n"));
    }

    pub(crate) async fn follow(&self, follower: i64, followee: i64) {
        let (follower, followee) = (follower.to_string(), followee.to_string());
        let fields = [("user_id", &*follower), ("followee_id", &*followee)];
        let answer = self.form("/wrk2-api/user/follow", &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Posts a text.
    pub(crate) async fn compose(&self, id: i64, text: &str) -> Answer {
        let (id, name) = (id.to_string(), format!("username_{id}"));
        let fields = [("user_id", &*id), ("username", &name), ("text", text), ("post_type", "0")];
        self.form("/wrk2-api/post/compose", &fields).await
    }

    pub(crate) async fn posted(&self, id: i64, text: &str) {
        let answer = self.compose(id, text).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Successfully upload post\n"));
    }

    pub(crate) async fn home(&self, id: i64, start: u32, stop: u32) -> Answer {
        self.get(&format!("/wrk2-api/home-timeline/read?user_id={id}&start={start}&stop={stop}")).await
    }

    pub(crate) async fn timeline(&self, id: i64, start: u32, stop: u32) -> Answer {
        self.get(&format!("/wrk2-api/user-timeline/read?user_id={id}&start={start}&stop={stop}")).await
    }

    /// The texts of a home timeline.
    pub(crate) async fn sees(&self, id: i64) -> Vec<String> {
        texts(&self.home(id, 0, 100).await)
    }

    /// The texts of a user's timeline.
    pub(crate) async fn wrote(&self, id: i64) -> Vec<String> {
        texts(&self.timeline(id, 0, 100).await)
    }
}

pub(crate) fn texts(answer: &Answer) -> Vec<String> {
    answer.posts().iter().map(|post| post["text"].as_str().unwrap().to_owned()).collect()
}
