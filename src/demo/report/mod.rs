//! What was measured, side by side, and nothing else: no figure stands here that is not computed from a run.

mod line;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::line::{Line, Target, Unit};
use super::cache::CacheCount;
use super::latency::Latency;
use super::load::Report;
use super::overhead::Overhead;
use super::plan::{Kind, Plan};

/// One load to one side.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What the clients saw.
    pub load: Report,
    /// SQL statements of the application meanwhile.
    pub queries: u64,
    /// What the cache made of the reads meanwhile; empty directly.
    pub cache: CacheCount,
}

/// What one side did with the same three loads.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Every merchant's payment page once. Only its answers are looked at, not its times.
    pub warm_up: Part,
    /// All clients without a pause.
    pub saturated: Part,
    /// At half the rate that the application alone reached saturated.
    pub half: Part,
}

/// The whole measurement.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What was sent to both.
    pub plan: Plan,
    /// How long a round trip to the application's database takes.
    pub db_latency: Duration,
    /// Requests a second at half load, on both sides.
    pub half_rate: f64,
    /// To the application itself.
    pub direct: Side,
    /// Through the proxy.
    pub proxied: Side,
    /// What the proxy adds to one request.
    pub overhead: Overhead,
}

impl Part {
    fn latency(&self, of: impl Fn(Kind) -> bool) -> Latency {
        let all = Kind::ALL.iter().zip(&self.load.latencies).filter(|(kind, _)| of(**kind));
        Latency::of(all.flat_map(|(_, latencies)| latencies.iter().copied()).collect())
    }

    fn reads(&self) -> Latency {
        self.latency(Kind::is_read)
    }

    fn writes(&self) -> Latency {
        self.latency(|k| !k.is_read())
    }

    /// Requests a second, until the last had its answer.
    pub(super) fn throughput(&self) -> f64 {
        self.load.requests() as f64 / self.load.elapsed.as_secs_f64().max(1e-9)
    }

    /// For as many requests as the other side is compared at.
    fn for_a_thousand(&self, n: u64) -> f64 {
        n as f64 * 1000.0 / self.load.requests().max(1) as f64
    }

    fn json(&self) -> Value {
        let kinds: Map<String, Value> =
            Kind::ALL.iter().map(|k| (k.name().into(), self.latency(|of| of == *k).json())).collect();
        let statuses: BTreeMap<String, u64> = self.load.statuses.iter().map(|(s, n)| (s.to_string(), *n)).collect();
        json!({
            "requests": self.load.requests(),
            "errors": self.load.errors(),
            "broken": self.load.broken,
            "statuses": statuses,
            "elapsed_ms": self.load.elapsed.as_millis() as u64,
            "requests_per_second": (self.throughput() * 10.0).round() / 10.0,
            "reads": self.reads().json(),
            "writes": self.writes().json(),
            "by_route": kinds,
            "database_queries": self.queries,
            "bytes_received": self.load.received,
            "cache": self.cache.results(),
        })
    }
}

impl Side {
    fn total(&self, of: impl Fn(&Report) -> u64) -> f64 {
        [&self.warm_up, &self.saturated, &self.half].iter().map(|part| of(&part.load)).sum::<u64>() as f64
    }
}

impl Comparison {
    /// Nobody was shown less than was written, nor what is another's.
    pub fn is_correct(&self) -> bool {
        [&self.direct, &self.proxied].iter().all(|side| side.total(|r| r.stale + r.foreign) == 0.0)
    }

    /// The lines of the part at half load.
    fn half_lines(&self) -> Vec<Line> {
        let both = |of: &dyn Fn(&Part) -> f64| (of(&self.direct.half), of(&self.proxied.half));
        let hits = self.proxied.half.cache.hit_ratio().map(|r| r * 100.0);
        let hits = Line { direct: None, proxied: hits, ..Line::new(HITS, Unit::Percent, (0.0, 0.0), Target::Shown) };
        vec![
            Line::new("reads, average", Unit::Micros, both(&|p| p.reads().average), Target::Shown),
            Line::new("reads, 99th percentile", Unit::Micros, both(&|p| p.reads().p99), Target::Shown),
            Line::new("writes, average", Unit::Micros, both(&|p| p.writes().average), Target::Shown),
            Line::new("writes, 99th percentile", Unit::Micros, both(&|p| p.writes().p99), Target::AtMost(1.05)),
            hits,
            Line::new("database queries", Unit::Count, both(&|p| p.queries as f64), Target::AtMost(0.30)),
            Line::new("bytes received", Unit::Count, both(&|p| p.load.received as f64), Target::AtMost(0.45)),
        ]
    }

    /// The lines of the part at saturation, where both sides answer as much as they can: counts are for 1,000 requests.
    fn saturated_lines(&self) -> Vec<Line> {
        let both = |of: &dyn Fn(&Part) -> f64| (of(&self.direct.saturated), of(&self.proxied.saturated));
        let hits = self.proxied.saturated.cache.hit_ratio().map(|r| r * 100.0);
        let hits = Line { direct: None, proxied: hits, ..Line::new(HITS, Unit::Percent, (0.0, 0.0), Target::Shown) };
        let queries = both(&|p| p.for_a_thousand(p.queries));
        let received = both(&|p| p.for_a_thousand(p.load.received));
        vec![
            Line::new("throughput", Unit::PerSecond, both(&Part::throughput), Target::AtLeast(4.0)),
            Line::new("reads, average", Unit::Micros, both(&|p| p.reads().average), Target::Shown),
            Line::new("reads, 99th percentile", Unit::Micros, both(&|p| p.reads().p99), Target::AtMost(0.20)),
            Line::new("writes, average", Unit::Micros, both(&|p| p.writes().average), Target::Shown),
            Line::new("writes, 99th percentile", Unit::Micros, both(&|p| p.writes().p99), Target::Shown),
            hits,
            Line::new("database queries, 1000 requests", Unit::Count, queries, Target::AtMost(0.30)),
            Line::new("bytes received, 1000 requests", Unit::Count, received, Target::AtMost(0.45)),
        ]
    }

    /// The lines of what has to be right in every answer of the whole run.
    fn correctness_lines(&self) -> Vec<Line> {
        let line = |name, wrong: &dyn Fn(&Report) -> u64, of: &dyn Fn(&Report) -> u64| Line {
            of: (self.direct.total(of), self.proxied.total(of)),
            ..Line::new(name, Unit::Of, (self.direct.total(wrong), self.proxied.total(wrong)), Target::Zero)
        };
        vec![
            line("errors", &Report::errors, &Report::requests),
            line("stale reads", &|r| r.stale, &|r| r.current),
            line("answers of another merchant", &|r| r.foreign, &|r| r.owned),
        ]
    }

    /// Of each pair; a pair in which the proxy was faster counts as 0.
    fn added(&self) -> Latency {
        let pairs = self.overhead.direct.iter().zip(&self.overhead.proxied);
        Latency::of(pairs.map(|(d, p)| p.saturating_sub(*d)).collect())
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let lines = [
            ("half", self.half_lines()),
            ("saturated", self.saturated_lines()),
            ("correctness", self.correctness_lines()),
        ];
        let lines: Vec<Value> =
            lines.iter().flat_map(|(part, lines)| lines.iter().map(|line| line.json(part))).collect();
        let side = |side: &Side| json!({ "saturated": side.saturated.json(), "half": side.half.json() });
        json!({
            "seed": self.plan.seed,
            "clients": self.plan.clients,
            "database_round_trip_ms": self.db_latency.as_secs_f64() * 1000.0,
            "half_requests_per_second": (self.half_rate * 10.0).round() / 10.0,
            "lines": lines,
            "direct": side(&self.direct),
            "proxied": side(&self.proxied),
            "one_request": {
                "direct": Latency::of(self.overhead.direct.clone()).json(),
                "proxied": Latency::of(self.overhead.proxied.clone()).json(),
                "added_us": self.added().json(),
            },
        })
    }
}

const HITS: &str = "reads from memory (hit ratio)";

#[cfg(test)]
mod tests;
