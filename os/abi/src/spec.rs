//! What to run: [`ProcSpec`], checked on its way in, so that a wrong combination is an error at spawn.

use crate::error::{Code, Error};
use crate::limits::{
    DEFAULT_GRACE, DEFAULT_MEMORY, DEFAULT_RESTARTS, LEAST_MCPU, LEAST_MEMORY, MAX_ARGS, MAX_GRACE,
    MAX_PUBLISHED, MAX_RESTARTS,
};
use crate::path::Path;
use crate::proto;
use crate::realm::{KERNEL_PRINCIPAL, Principal};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a proc is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Best-effort: runs on what latency-critical procs leave.
    Be,
    /// Latency-critical, with thousandths of a core reserved.
    Lc { mcpu: u32 },
}

impl Class {
    pub fn is_lc(self) -> bool {
        matches!(self, Self::Lc { .. })
    }

    /// Thousandths of a core that are reserved.
    pub fn mcpu(self) -> u32 {
        match self {
            Self::Be => 0,
            Self::Lc { mcpu } => mcpu,
        }
    }

    pub fn to_proto(self) -> proto::Class {
        match self {
            Self::Be => proto::Class::Be,
            Self::Lc { .. } => proto::Class::Lc,
        }
    }
}

/// What happens when a proc has ended and nobody asked for that. The pid stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    #[default]
    Never,
    /// It is started again unless it ended as `Ok`, until `limit` restarts in a row have failed.
    OnFailure { limit: u32 },
    /// It is started again however it ended, and for ever.
    Always,
}

impl Restart {
    /// On failure, with the default limit.
    pub const ON_FAILURE: Self = Self::OnFailure { limit: DEFAULT_RESTARTS };
}

/// A proc to be: binary, arguments, class and limits.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcSpec {
    /// A static binary in the namespace.
    pub binary: Path,
    /// Arguments, without the program's own name.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub class: Class,
    /// The most memory that it may use, in bytes.
    pub memory_bytes: u64,
    /// From the request to end until the kernel kills.
    pub grace: Duration,
    /// Who it acts as; `None`: as its spawner.
    pub principal: Option<Principal>,
    pub restart: Restart,
    /// TCP ports of the machine whose connections it takes, of those that the operator granted to its realm.
    pub publish: Vec<u16>,
}

impl ProcSpec {
    /// A best-effort proc with the default limits.
    ///
    /// # Errors
    /// As [`Path::parse`].
    pub fn new(binary: &str) -> Result<Self, Error> {
        Ok(Self {
            binary: Path::parse(binary).map_err(|error| error.context("binary"))?,
            args: Vec::new(),
            env: BTreeMap::new(),
            class: Class::Be,
            memory_bytes: DEFAULT_MEMORY,
            grace: DEFAULT_GRACE,
            principal: None,
            restart: Restart::Never,
            publish: Vec::new(),
        })
    }

    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Latency-critical, with `mcpu` thousandths of a core reserved.
    #[must_use]
    pub fn latency_critical(mut self, mcpu: u32) -> Self {
        self.class = Class::Lc { mcpu };
        self
    }

    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Takes the connections to a TCP port of the machine.
    #[must_use]
    pub fn publish(mut self, port: u16) -> Self {
        self.publish.push(port);
        self
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |code, text: String| Err(Error::new(code, text));
        if let Class::Lc { mcpu } = self.class
            && mcpu < LEAST_MCPU
        {
            return refuse(Code::Invalid, format!("mcpu {mcpu}: an LC proc reserves at least {LEAST_MCPU}"));
        }
        if self.memory_bytes < LEAST_MEMORY {
            return refuse(
                Code::Invalid,
                format!("memory_bytes {}: the least limit is {LEAST_MEMORY}", self.memory_bytes),
            );
        }
        if self.grace > MAX_GRACE {
            return refuse(Code::Invalid, format!("grace {:?}: the most is {MAX_GRACE:?}", self.grace));
        }
        if let Restart::OnFailure { limit } = self.restart
            && !(1..=MAX_RESTARTS).contains(&limit)
        {
            return refuse(Code::Invalid, format!("restart: a limit of {limit}: it is 1 to {MAX_RESTARTS}"));
        }
        if self.publish.len() > MAX_PUBLISHED {
            return refuse(Code::TooLarge, format!("publish: at most {MAX_PUBLISHED} ports"));
        }
        for (at, port) in self.publish.iter().enumerate() {
            if *port == 0 || self.publish[..at].contains(port) {
                return refuse(Code::Invalid, format!("publish {port}: each port once, and none is 0"));
            }
        }
        if let Some(arg) = self.args.iter().find(|arg| arg.contains('\0')) {
            return refuse(Code::Invalid, format!("args: {arg:?} contains NUL"));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return refuse(Code::Invalid, format!("env: {name:?} is not a variable that can be set"));
            }
        }
        let args: usize = self.args.iter().map(|arg| arg.len() + 1).sum();
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if args.max(env) > MAX_ARGS {
            let field = if args > env { "args" } else { "env" };
            return refuse(
                Code::TooLarge,
                format!("{field}: {} bytes, and the limit is {MAX_ARGS}", args.max(env)),
            );
        }
        Ok(())
    }
}

impl TryFrom<proto::ProcSpec> for ProcSpec {
    type Error = Error;

    /// # Errors
    /// `Invalid` or `TooLarge`, naming the field.
    fn try_from(wire: proto::ProcSpec) -> Result<Self, Error> {
        let class = match (proto::Class::try_from(wire.class), wire.mcpu) {
            (Ok(proto::Class::Be), 0) => Class::Be,
            (Ok(proto::Class::Be), mcpu) => {
                return Err(Error::new(
                    Code::Invalid,
                    format!("mcpu {mcpu}: a BE proc reserves no CPU; leave it out, or make the class LC"),
                ));
            }
            (Ok(proto::Class::Lc), 0) => {
                return Err(Error::new(
                    Code::Invalid,
                    "mcpu is missing: an LC proc says how much CPU it reserves, in thousandths of a core",
                ));
            }
            (Ok(proto::Class::Lc), mcpu) => Class::Lc { mcpu },
            (Err(_), _) => return Err(Error::new(Code::Invalid, format!("class {}: unknown", wire.class))),
        };
        let principal = match wire.principal.as_str() {
            "" => None,
            KERNEL_PRINCIPAL => {
                let text =
                    format!("principal {KERNEL_PRINCIPAL}: no proc acts as the kernel; choose another");
                return Err(Error::new(Code::Invalid, text));
            }
            name => Some(Principal::parse(name)?),
        };
        let port = |port: u32| {
            u16::try_from(port)
                .map_err(|_| Error::new(Code::Invalid, format!("publish {port}: the last port is 65535")))
        };
        let spec = Self {
            publish: wire.publish.into_iter().map(port).collect::<Result<_, _>>()?,
            args: wire.args,
            env: wire.env,
            class,
            memory_bytes: if wire.memory_bytes == 0 { DEFAULT_MEMORY } else { wire.memory_bytes },
            grace: wire.grace_ms.map_or(DEFAULT_GRACE, |ms| Duration::from_millis(ms.into())),
            principal,
            restart: wire.restart.unwrap_or_default().try_into()?,
            ..Self::new(&wire.binary)?
        };
        spec.check()?;
        Ok(spec)
    }
}

impl From<ProcSpec> for proto::ProcSpec {
    fn from(spec: ProcSpec) -> Self {
        Self {
            binary: spec.binary.as_str().to_owned(),
            args: spec.args,
            env: spec.env,
            class: spec.class.to_proto().into(),
            mcpu: spec.class.mcpu(),
            memory_bytes: spec.memory_bytes,
            grace_ms: Some(u32::try_from(spec.grace.as_millis()).unwrap_or(u32::MAX)),
            principal: spec.principal.map(|principal| principal.to_string()).unwrap_or_default(),
            restart: (spec.restart != Restart::Never).then(|| spec.restart.into()),
            publish: spec.publish.into_iter().map(u32::from).collect(),
        }
    }
}

impl TryFrom<proto::Restart> for Restart {
    type Error = Error;

    fn try_from(wire: proto::Restart) -> Result<Self, Error> {
        use proto::restart::When;
        let proto::Restart { when, limit } = wire;
        match (When::try_from(when), limit) {
            (Ok(When::Never), 0) => Ok(Self::Never),
            (Ok(When::Always), 0) => Ok(Self::Always),
            (Ok(When::OnFailure), 0) => Ok(Self::ON_FAILURE),
            (Ok(When::OnFailure), limit) => Ok(Self::OnFailure { limit }),
            (Ok(_), limit) => Err(Error::new(
                Code::Invalid,
                format!("restart: a limit of {limit} goes with on-failure alone; leave it out"),
            )),
            (Err(_), _) => Err(Error::new(Code::Invalid, format!("restart: {when} is not a policy"))),
        }
    }
}

impl From<Restart> for proto::Restart {
    fn from(restart: Restart) -> Self {
        use proto::restart::When;
        let (when, limit) = match restart {
            Restart::Never => (When::Never, 0),
            Restart::OnFailure { limit } => (When::OnFailure, limit),
            Restart::Always => (When::Always, 0),
        };
        Self { when: when.into(), limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ProcSpec {
        ProcSpec::new("/bin/a").unwrap()
    }

    fn check(spec: impl Into<proto::ProcSpec>, expect: &str) {
        let error = ProcSpec::try_from(spec.into()).expect_err(expect);
        assert!(error.message.contains(expect), "{:?} does not name {expect:?}", error.message);
    }

    #[test]
    fn a_spec_survives_the_wire() {
        let spec =
            spec().args(["-x", "1"]).env("A", "b").latency_critical(250).grace(Duration::ZERO).publish(8080);
        for restart in [Restart::Never, Restart::ON_FAILURE, Restart::OnFailure { limit: 3 }, Restart::Always]
        {
            let spec = spec.clone().restart(restart);
            assert_eq!(ProcSpec::try_from(proto::ProcSpec::from(spec.clone())), Ok(spec));
        }
    }

    #[test]
    fn wrong_specs_are_refused_by_the_field() {
        check(proto::ProcSpec { binary: "bin/a".into(), ..Default::default() }, "binary");
        check(proto::ProcSpec { mcpu: 5, ..spec().into() }, "mcpu 5");
        check(proto::ProcSpec { class: 1, ..spec().into() }, "mcpu is missing");
        check(proto::ProcSpec { class: 7, ..spec().into() }, "class 7");
        check(spec().latency_critical(LEAST_MCPU - 1), "mcpu 9");
        check(spec().memory_bytes(1), "memory_bytes 1");
        check(spec().grace(MAX_GRACE * 2), "grace");
        check(spec().args(["a\0b"]), "args");
        check(spec().env("A=B", "c"), "env");
        check(spec().args(["x".repeat(MAX_ARGS)]), "args");
        check(spec().env("A", "x".repeat(MAX_ARGS)), "env");
        check(spec().restart(Restart::OnFailure { limit: MAX_RESTARTS + 1 }), "restart: a limit of 1001");
        let restart =
            |when, limit| proto::ProcSpec { restart: Some(proto::Restart { when, limit }), ..spec().into() };
        check(restart(0, 3), "restart: a limit of 3 goes with on-failure");
        check(restart(2, 3), "restart: a limit of 3 goes with on-failure");
        check(restart(9, 0), "restart: 9 is not a policy");
        check(spec().publish(0), "publish 0");
        check(spec().publish(80).publish(80), "publish 80");
        check(proto::ProcSpec { publish: vec![65536], ..spec().into() }, "publish 65536");
        check(proto::ProcSpec { publish: (1..=9).collect(), ..spec().into() }, "at most 8");
        check(proto::ProcSpec { principal: "../x".into(), ..spec().into() }, "principal");
        check(proto::ProcSpec { principal: "kernel".into(), ..spec().into() }, "no proc acts as the kernel");
    }
}
