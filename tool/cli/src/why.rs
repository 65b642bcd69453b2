//! Why a proc is where it is.

use crate::context::Context;
use crate::{ps, report};
use anstream::println;
use anyhow::Result;
use sigmaos::{Pid, proto};

pub(crate) async fn why(context: &Context, pid: &str) -> Result<()> {
    let pid: Pid = pid.parse()?;
    let proc = context.sigma().await?.info(pid).await?;
    if context.json {
        return report::json(&ps::object(&proc));
    }
    println!("{pid} {}: {}", ps::state(&proc), reason(&proc));
    Ok(())
}

fn reason(proc: &proto::ProcInfo) -> String {
    match ps::says(proc) {
        says if !says.is_empty() => says,
        _ if proc.state() == proto::State::Running => "as its class and its reservation say".to_owned(),
        _ => "it is on its way".to_owned(),
    }
}
