//! What the proxy says of its cache: `outboard_cache_requests_total` of its metrics, for the routes of reads.

use std::collections::BTreeMap;

use super::plan::Kind;

const FAMILY: &str = "outboard_cache_requests_total{";

/// Requests of reads by what the cache made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheCount(BTreeMap<String, u64>);

impl CacheCount {
    /// From the metrics as text.
    pub(super) fn of(metrics: &str) -> Self {
        let mut found = CacheCount::default();
        for line in metrics.lines() {
            let Some((labels, value)) = line.strip_prefix(FAMILY).and_then(|rest| rest.split_once("} ")) else {
                continue;
            };
            let label = |name: &str| {
                labels.split(',').find_map(|l| l.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
            };
            let (Some(route), Some(result), Ok(n)) = (label("route"), label("result"), value.trim().parse::<f64>())
            else {
                continue;
            };
            if Kind::ALL.iter().any(|kind| kind.is_read() && kind.name() == route) {
                *found.0.entry(result.to_owned()).or_default() += n as u64;
            }
        }
        found
    }

    /// What was counted since.
    pub(super) fn since(&self, before: &CacheCount) -> Self {
        let of = |result: &str| before.0.get(result).copied().unwrap_or(0);
        CacheCount(self.0.iter().map(|(result, n)| (result.clone(), n.saturating_sub(of(result)))).collect())
    }

    /// The part of all reads that was answered from memory at once. None if none was counted.
    pub fn hit_ratio(&self) -> Option<f64> {
        let all: u64 = self.0.values().sum();
        (all > 0).then(|| self.get("hit") as f64 / all as f64)
    }

    /// So many had this result.
    pub fn get(&self, result: &str) -> u64 {
        self.0.get(result).copied().unwrap_or(0)
    }

    /// By result.
    pub fn results(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_by_result_and_other_routes_are_not() {
        let before = CacheCount::of("outboard_cache_requests_total{result=\"hit\",route=\"get-payment\"} 5\n");
        let after = CacheCount::of(
            "# TYPE outboard_cache_requests_total counter\n\
             outboard_cache_requests_total{result=\"hit\",route=\"get-payment\"} 35\n\
             outboard_cache_requests_total{result=\"hit\",route=\"list-payments\"} 50\n\
             outboard_cache_requests_total{result=\"miss\",route=\"list-payments\"} 15\n\
             outboard_cache_requests_total{result=\"coalesced\",route=\"list-payments\"} 5\n\
             outboard_cache_requests_total{result=\"bypass\",route=\"create-payment\"} 900\n\
             outboard_requests_total{route=\"get-payment\"} 9\n",
        );
        let found = after.since(&before);
        assert_eq!((found.get("hit"), found.get("miss"), found.get("bypass")), (80, 15, 0));
        assert_eq!(found.hit_ratio(), Some(0.8));
    }

    #[test]
    fn without_a_cache_there_is_no_ratio() {
        assert_eq!(CacheCount::of("outboard_requests_total{route=\"get-payment\"} 9\n").hit_ratio(), None);
    }
}
