//! What the machine has, and how much of its CPU is idle.

use rustix::system::sysinfo;
use sigma_abi::MachineId;
use std::fs;

/// The capacity of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) id: MachineId,
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
}

impl Capacity {
    pub(crate) fn measure(id: MachineId) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let info = sysinfo();
        Self { id, cores, memory_bytes: info.totalram as u64 * u64::from(info.mem_unit) }
    }
}

/// Measures idle CPU between one call and the next.
#[derive(Debug, Default)]
pub(crate) struct IdleMeter {
    idle: u64,
    total: u64,
}

impl IdleMeter {
    /// Thousandths of a core that were idle since the last call; 0 where the system does not say.
    pub(crate) fn read(&mut self, cores: u32) -> u32 {
        let Some((idle, total)) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse) else {
            return 0;
        };
        let (idle_before, total_before) = (self.idle, self.total);
        (self.idle, self.total) = (idle, total);
        let passed = total.saturating_sub(total_before);
        if total_before == 0 || passed == 0 {
            return 0;
        }
        let idle = idle.saturating_sub(idle_before).min(passed);
        (idle * u64::from(cores) * 1000 / passed) as u32
    }
}

/// Idle and all jiffies of the first line of /proc/stat, proc_stat(5).
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let jiffies: Vec<u64> = fields.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle = jiffies.get(3)? + jiffies.get(4)?;
    Some((idle, jiffies.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_counts_waiting_for_disks() {
        assert_eq!(parse("cpu  10 0 20 60 10 0 0 0 5 5\ncpu0 1"), Some((70, 100)));
        assert_eq!(parse("intr 1"), None);
    }
}
