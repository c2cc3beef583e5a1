//! What a process costs, by what the kernel says of it.

use std::time::Duration;

/// A look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// CPU time of all its threads, to a clock tick (10 ms).
    pub cpu: Duration,
    /// Memory of its own, without the kernel's, in bytes.
    pub memory_bytes: u64,
}

impl Cost {
    /// Of several processes together; None if there are none, or one of them isn't there.
    pub fn of_all(pids: &[u32]) -> Option<Self> {
        let mut all = Self::default();
        for pid in pids {
            let one = Self::of(*pid)?;
            all.cpu += one.cpu;
            all.memory_bytes += one.memory_bytes;
        }
        (!pids.is_empty()).then_some(all)
    }

    /// None if there is no such process, or it isn't ours to look at.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets; behind the last bracket it is regular.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let each = rustix::param::clock_ticks_per_second();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let anon = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        let kib: u64 = anon.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            cpu: Duration::from_millis(ticks * 1000 / each.max(1)),
            memory_bytes: kib * 1024,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_be_looked_at() {
        let before = Cost::of(std::process::id()).unwrap();
        let held = vec![1u8; 32 << 20];
        let mut sum = 0u64;
        let mut after = before;
        while after.cpu < before.cpu + Duration::from_millis(20) {
            sum += held.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            after = Cost::of(std::process::id()).unwrap();
        }
        assert!(sum > 0 && after.memory_bytes >= before.memory_bytes + (30 << 20));
        assert!(Cost::of(u32::MAX).is_none());
        let own = std::process::id();
        assert!(Cost::of_all(&[own, own]).unwrap().cpu >= 2 * after.cpu);
        assert!(Cost::of_all(&[own, u32::MAX]).is_none() && Cost::of_all(&[]).is_none());
    }
}
