//! What the cgroup allows this process: memory and processors, cgroup v2 and v1.

use std::fs::read_to_string;

/// The most memory in bytes; none where nothing limits it.
pub(super) fn memory() -> Option<u64> {
    let v2 = own_path().and_then(|p| read_to_string(format!("/sys/fs/cgroup{p}/memory.max")).ok());
    let text = v2
        .or_else(|| read_to_string("/sys/fs/cgroup/memory.max").ok())
        .or_else(|| read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").ok())?;
    // v1 writes a huge number where there is no limit.
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 50)
}

/// Threads that carry traffic: the CPU quota rounded up, else the processors, at most 4.
pub(super) fn threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    quota().map_or(processors.min(4), |quota| quota.clamp(1, processors))
}

fn quota() -> Option<usize> {
    let v2 = own_path().and_then(|p| read_to_string(format!("/sys/fs/cgroup{p}/cpu.max")).ok());
    let text = v2.or_else(|| read_to_string("/sys/fs/cgroup/cpu.max").ok());
    if let Some(text) = text {
        return parse_quota(&text);
    }
    let quota: i64 = read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").ok()?.trim().parse().ok()?;
    let period: i64 = read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_period_us").ok()?.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| quota.div_euclid(period) as usize + usize::from(quota % period > 0))
}

/// `200000 100000`: two processors; `max 100000`: no limit.
fn parse_quota(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

fn own_path() -> Option<String> {
    let text = read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|l| l.strip_prefix("0::")).map(|p| p.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_quota;

    #[test]
    fn a_quota_is_rounded_up() {
        assert_eq!(parse_quota("150000 100000\n"), Some(2));
        assert_eq!(parse_quota("50000 100000"), Some(1));
        assert_eq!(parse_quota("max 100000"), None);
    }
}
