//! What the kernel is and does.

use crate::context::Context;
use crate::{realm, report};
use anstream::println;
use anyhow::Result;
use sigmaos::proto;

pub(crate) async fn status(context: &Context) -> Result<()> {
    let info = context.kernel()?.kernel_status(proto::Empty {}).await?;
    if context.json {
        return report::json(&object(&info));
    }
    let line = |name: &str, value: String| println!("{name:<12} {value}");
    line("machine", format!("{}, boot {}, up {} s", info.machine, info.epoch, info.uptime_ms / 1000));
    line("version", info.version.clone());
    line("process", info.os_pid.to_string());
    line("state", info.state_dir.clone());
    line("log", info.log_file.clone());
    line(
        "cpu",
        format!("{} of {} mcpu reserved for LC procs", info.lc_reserved_mcpu, u64::from(info.cores) * 1000),
    );
    line(
        "memory",
        format!(
            "{} of {} promised",
            report::bytes(info.memory_reserved_bytes),
            report::bytes(info.memory_bytes)
        ),
    );
    let demoted = match info.demoted {
        0 => String::new(),
        demoted => format!(", {demoted} LC served as BE"),
    };
    line(
        "procs",
        format!("{} running of {} at most{demoted}, {} queued", info.running, info.most_procs, info.queued),
    );
    if !info.sched_idle {
        line("sched idle", "off: BE procs compete with LC procs as ordinary work does".to_owned());
    }
    if let Some(pressure) = &info.pressure {
        line(
            "pressure",
            format!(
                "of the last 10 s tasks waited {:.0} % for CPU, {:.0} % for memory, {:.0} % for disks; {} available{}",
                pressure.cpu_percent,
                pressure.memory_percent,
                pressure.io_percent,
                report::bytes(pressure.memory_available_bytes),
                if pressure.memory_short { "; memory is short: no new BE procs start" } else { "" }
            ),
        );
    }
    line("launchers", format!("{} prepared", info.prepared_launchers));
    line("cgroups", info.cgroups.clone());
    let on: Vec<_> = info.layers.iter().filter(|layer| layer.on).map(|layer| layer.name.as_str()).collect();
    line("sandbox", if info.realms.is_empty() { "no realm yet".to_owned() } else { on.join(" ") });
    for layer in info.layers.iter().filter(|layer| !layer.on) {
        line("  WITHOUT", format!("{}: {}", layer.name, layer.note));
    }
    for realm in &info.realms {
        let removing =
            if realm.removing.is_empty() { String::new() } else { format!(", {}", realm.removing) };
        line("realm", format!("{}, {} procs{removing}", realm.name, realm.procs));
    }
    Ok(())
}

fn object(info: &proto::KernelInfo) -> serde_json::Value {
    let layers: Vec<_> = info
        .layers
        .iter()
        .map(|layer| serde_json::json!({ "name": layer.name, "on": layer.on, "note": layer.note }))
        .collect();
    let realms: Vec<_> = info.realms.iter().map(realm::object).collect();
    serde_json::json!({
        "version": info.version,
        "machine": info.machine,
        "boot": info.epoch,
        "state_dir": info.state_dir,
        "log_file": info.log_file,
        "os_pid": info.os_pid,
        "uptime_ms": info.uptime_ms,
        "cores": info.cores,
        "memory_bytes": info.memory_bytes,
        "lc_reserved_mcpu": info.lc_reserved_mcpu,
        "memory_reserved_bytes": info.memory_reserved_bytes,
        "queued": info.queued,
        "demoted": info.demoted,
        "most_procs": info.most_procs,
        "sched_idle": info.sched_idle,
        "running": info.running,
        "prepared_launchers": info.prepared_launchers,
        "cgroups": info.cgroups,
        "layers": layers,
        "realms": realms,
        "pressure": info.pressure.map(|pressure| serde_json::json!({
            "cpu_percent": pressure.cpu_percent,
            "memory_percent": pressure.memory_percent,
            "io_percent": pressure.io_percent,
            "memory_available_bytes": pressure.memory_available_bytes,
            "memory_short": pressure.memory_short,
        })),
    })
}
