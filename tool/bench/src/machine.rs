//! A kernel that a benchmark boots, in a state directory that goes with it.

use crate::realm;
use anyhow::{Context, Result, ensure};
use sigmaos::stub::AdminClient;
use sigmaos::{Realm, Sigma, proto};
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Machine {
    sigma: PathBuf,
    state: TempDir,
    /// The kernel ends with this: also where the benchmark is killed.
    _lifeline: PipeWriter,
}

impl Machine {
    pub(crate) fn boot(sigma: &Path, options: &[&str]) -> Result<Self> {
        let (input, lifeline) = std::io::pipe()?;
        let machine = Self {
            sigma: sigma.to_owned(),
            state: tempfile::Builder::new().prefix("sigma-bench-").tempdir()?,
            _lifeline: lifeline,
        };
        let mut up = machine.command();
        up.args(["up", "--ends-with-input"]).args(options).stdin(input);
        let output = up.output().context("run 'sigma up'")?;
        ensure!(output.status.success(), "sigma up: {}", String::from_utf8_lossy(&output.stderr));
        Ok(machine)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.sigma);
        command.arg("--state").arg(self.state.path()).stdin(Stdio::null());
        command
    }

    pub(crate) async fn kernel(&self) -> Result<proto::KernelInfo> {
        Ok(self.operator()?.kernel_status(proto::Empty {}).await?)
    }

    /// A client of a realm, which is made.
    pub(crate) async fn realm(&self, name: &str) -> Result<Sigma> {
        self.operator()?.realm_create(realm::named(name)).await?;
        Ok(Sigma::connect(self.state.path(), Some(&Realm::parse(name)?))?)
    }

    fn operator(&self) -> Result<AdminClient> {
        realm::operator(self.state.path())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let down = self.command().arg("down").stderr(Stdio::null()).status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("the kernel in {} could not be ended", self.state.path().display());
        }
    }
}
