//! What was measured, side by side, and nothing else.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::load::Report;
use super::overhead::Overhead;
use super::plan::{Kind, Plan};

/// One half of the measurement.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// What the clients saw.
    pub load: Report,
    /// SQL statements of the application meanwhile.
    pub queries: u64,
}

/// The whole measurement.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What was sent to both.
    pub plan: Plan,
    /// How long a query of the application takes at least.
    pub db_latency: Duration,
    /// To the application itself.
    pub direct: Side,
    /// Through the proxy.
    pub proxied: Side,
    /// What the proxy adds to one request.
    pub overhead: Overhead,
    /// The proxy's own metrics, by name.
    pub metrics: Vec<(String, String)>,
}

/// Of some latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Latency {
    pub(super) count: usize,
    pub(super) average: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Latency {
    /// Exact: all of them are sorted.
    pub(super) fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let sum: u64 = micros.iter().map(|m| u64::from(*m)).sum();
        Latency {
            count: micros.len(),
            average: sum as f64 / micros.len().max(1) as f64,
            p50: percentile(&micros, 50),
            p99: percentile(&micros, 99),
        }
    }

    fn json(self) -> Value {
        let us = |v: f64| v.round() as u64;
        json!({ "count": self.count, "average_us": us(self.average), "p50_us": us(self.p50), "p99_us": us(self.p99) })
    }
}

/// The nearest rank: the least value that so many percent are not above.
fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |v| f64::from(*v))
}

impl Side {
    fn latency(&self, of: impl Fn(Kind) -> bool) -> Latency {
        let all = Kind::ALL.iter().zip(&self.load.latencies).filter(|(kind, _)| of(**kind));
        Latency::of(all.flat_map(|(_, latencies)| latencies.iter().copied()).collect())
    }

    fn throughput(&self) -> f64 {
        self.load.requests() as f64 / self.load.elapsed.as_secs_f64().max(1e-9)
    }

    fn a_request(&self, n: u64) -> f64 {
        n as f64 / self.load.requests().max(1) as f64
    }

    fn json(&self) -> Value {
        let kinds: serde_json::Map<String, Value> =
            Kind::ALL.iter().map(|k| (k.name().into(), self.latency(|of| of == *k).json())).collect();
        json!({
            "requests": self.load.requests(),
            "errors": self.load.errors(),
            "broken": self.load.broken,
            "statuses": self.load.statuses.iter().map(|(s, n)| (s.to_string(), *n)).collect::<std::collections::BTreeMap<_, _>>(),
            "elapsed_ms": self.load.elapsed.as_millis() as u64,
            "requests_per_second": (self.throughput() * 10.0).round() / 10.0,
            "reads": self.latency(Kind::is_read).json(),
            "writes": self.latency(|k| !k.is_read()).json(),
            "by_route": kinds,
            "database_queries": self.queries,
            "body_bytes_received": self.load.body_bytes,
        })
    }
}

impl Comparison {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let metrics: serde_json::Map<String, Value> =
            self.metrics.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        json!({
            "seed": self.plan.seed,
            "clients": self.plan.clients,
            "direct": self.direct.json(),
            "proxied": self.proxied.json(),
            "one_request": {
                "direct": Latency::of(self.overhead.direct.clone()).json(),
                "proxied": Latency::of(self.overhead.proxied.clone()).json(),
                "added_us": Latency::of(self.added()).json(),
            },
            "metrics": metrics,
        })
    }

    /// For people.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\n{:<30}{:>14}{:>20}{:>9}", "", "direct", "through outboard", "ratio")?;
        for (name, direct, proxied, unit) in self.rows() {
            let (a, b) = (unit.show(direct), unit.show(proxied));
            writeln!(out, "{name:<30}{a:>14}{b:>20}{:>9}", ratio(direct, proxied))?;
        }
        self.notes(out)?;
        if !self.metrics.is_empty() {
            writeln!(out, "\noutboard's own metrics")?;
            let width = self.metrics.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, value) in &self.metrics {
                writeln!(out, "  {name:<width$}  {value}")?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<(&'static str, f64, f64, Unit)> {
        let both = |of: &dyn Fn(&Side) -> f64| (of(&self.direct), of(&self.proxied));
        let mut rows = Vec::new();
        let mut row = |name, (direct, proxied), unit| rows.push((name, direct, proxied, unit));
        row("requests", both(&|s| s.load.requests() as f64), Unit::Count);
        row("errors", both(&|s| s.load.errors() as f64), Unit::Count);
        row("requests a second", both(&|s| s.throughput()), Unit::Tenths);
        row("reads, average", both(&|s| s.latency(Kind::is_read).average), Unit::Micros);
        row("reads, p50", both(&|s| s.latency(Kind::is_read).p50), Unit::Micros);
        row("reads, p99", both(&|s| s.latency(Kind::is_read).p99), Unit::Micros);
        row("writes, average", both(&|s| s.latency(|k| !k.is_read()).average), Unit::Micros);
        row("writes, p50", both(&|s| s.latency(|k| !k.is_read()).p50), Unit::Micros);
        row("writes, p99", both(&|s| s.latency(|k| !k.is_read()).p99), Unit::Micros);
        row("database queries", both(&|s| s.queries as f64), Unit::Count);
        row("database queries a request", both(&|s| s.a_request(s.queries)), Unit::Tenths);
        row("body bytes received", both(&|s| s.load.body_bytes as f64), Unit::Count);
        row("body bytes a request", both(&|s| s.a_request(s.load.body_bytes)), Unit::Tenths);
        rows
    }

    /// How to read it: what was done, and what one request costs.
    fn notes(&self, out: &mut dyn Write) -> io::Result<()> {
        let (plan, ms) = (&self.plan, self.db_latency.as_millis());
        writeln!(
            out,
            "\nBoth sides were sent the same sequence of requests (seed {}) for {:.1} s: 92 % reads, {} clients, each with\n\
             one request at a time. They share the sample application's ten database connections at {ms} ms a query, so\n\
             the latencies hold the wait for one of them. Clients, application and outboard share this machine's CPUs.",
            plan.seed,
            plan.duration.as_secs_f64(),
            plan.clients,
        )?;
        writeln!(
            out,
            "This version of outboard forwards: it pools connections, sets limits and drains. It answers nothing from\n\
             memory and compresses nothing: a ratio other than 1.00 is its cost, or the noise of a short run."
        )?;
        let (direct, proxied) = (Latency::of(self.overhead.direct.clone()), Latency::of(self.overhead.proxied.clone()));
        if direct.count == 0 {
            return writeln!(out, "What it adds to one request was not measured.");
        }
        let added = Latency::of(self.added());
        writeln!(
            out,
            "What it adds to one request, without the database (GET /healthz, one client, {} pairs in turn):\n\
             median {:.0} us direct, {:.0} us through outboard; added in a pair: median {:.0} us, p99 {:.0} us.",
            direct.count, direct.p50, proxied.p50, added.p50, added.p99,
        )
    }

    /// Of each pair; a pair in which the proxy was faster counts as 0.
    fn added(&self) -> Vec<u32> {
        self.overhead.direct.iter().zip(&self.overhead.proxied).map(|(d, p)| p.saturating_sub(*d)).collect()
    }
}

enum Unit {
    Count,
    Tenths,
    Micros,
}

impl Unit {
    fn show(&self, value: f64) -> String {
        match self {
            Unit::Count => grouped(value as u64),
            Unit::Tenths => format!("{value:.1}"),
            Unit::Micros => format!("{:.1} ms", value / 1000.0),
        }
    }
}

fn ratio(direct: f64, proxied: f64) -> String {
    if direct > 0.0 { format!("{:.2}", proxied / direct) } else { "-".into() }
}

/// 1234567 as 1 234 567.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().collect());
        assert_eq!((latency.count, latency.average, latency.p50, latency.p99), (200, 100.5, 100.0, 198.0));
        let one = Latency::of(vec![7]);
        assert_eq!((one.p50, one.p99), (7.0, 7.0));
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn the_table_holds_both_sides_and_their_ratio() {
        let side = |requests: u64, micros: u32| {
            let mut load = Report { elapsed: Duration::from_secs(1), body_bytes: 1_234_567, ..Report::default() };
            load.statuses.insert(200, requests);
            load.latencies[Kind::Get as usize] = vec![micros; requests as usize];
            Side { load, queries: 2 * requests }
        };
        let comparison = Comparison {
            plan: Plan { seed: 42, clients: 32, duration: Duration::from_secs(1) },
            db_latency: Duration::from_millis(15),
            direct: side(100, 40_000),
            proxied: side(50, 80_000),
            overhead: Overhead { direct: vec![100, 100], proxied: vec![160, 90] },
            metrics: vec![("outboard_requests_total".into(), "50".into())],
        };
        let mut out = Vec::new();
        comparison.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for expected in
            ["reads, p99", "80.0 ms     2.00", "1 234 567", "outboard_requests_total  50", "2 pairs in turn"]
        {
            assert!(text.contains(expected), "{expected:?} in:\n{text}");
        }
        let json = comparison.to_json();
        assert_eq!(json["proxied"]["reads"]["p50_us"], 80_000);
        assert_eq!(json["direct"]["errors"], 0);
    }
}
