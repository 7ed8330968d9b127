//! Faults on purpose, for a person who wants to see breakers, retries and limits work.

use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units;
use crate::units::Ratio;

/// Refuses or delays a share of the requests of a route. Never by default, and never on its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FaultInjection")]
pub struct Settings {
    /// Requests that are answered with an error instead of being sent on.
    pub abort: Option<Abort>,
    /// Requests that are held back before they are sent on.
    pub delay: Option<Delay>,
    /// Which requests may be hit; left out: all of the route.
    pub when: Option<When>,
}

/// Requests that are answered with an error.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultAbort")]
pub struct Abort {
    /// What they are answered with.
    #[serde(default = "unavailable", deserialize_with = "error_status")]
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// The share of the requests.
    pub ratio: Ratio,
}

/// Requests that are held back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultDelay")]
pub struct Delay {
    /// How long.
    #[serde(rename = "for")]
    pub time: units::Duration,
    /// The share of the requests.
    pub ratio: Ratio,
}

/// Which requests may be hit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultWhen")]
pub struct When {
    /// Those that carry this header, whatever its value.
    #[serde(serialize_with = "write_name", deserialize_with = "read_name")]
    #[schemars(with = "String")]
    pub header: HeaderName,
}

fn unavailable() -> u16 {
    503
}

fn error_status<'de, D: Deserializer<'de>>(d: D) -> Result<u16, D::Error> {
    match u16::deserialize(d)? {
        status @ 400..=599 => Ok(status),
        other => {
            let found = de::Unexpected::Unsigned(u64::from(other));
            Err(de::Error::invalid_value(found, &"a status between 400 and 599"))
        }
    }
}

fn read_name<'de, D: Deserializer<'de>>(d: D) -> Result<HeaderName, D::Error> {
    let name = String::deserialize(d)?;
    name.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&name), &"the name of a header"))
}

fn write_name<S: Serializer>(name: &HeaderName, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(name.as_str())
}

/// What happens to one request. Both may: it is held back first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    /// Held back for so long.
    pub delay: Option<Duration>,
    /// Answered with this status.
    pub abort: Option<u16>,
}

/// Whether a request is hit. `seed` is random; `header_present` says whether it carries the header of `when`, and does
/// not matter where there is none.
pub fn decide(settings: &Settings, seed: u64, header_present: bool) -> Fault {
    if settings.when.is_some() && !header_present {
        return Fault::default();
    }
    // Two independent draws, from the two halves of the seed.
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    Fault {
        delay: settings.delay.filter(|d| hits(d.ratio, low)).map(|d| d.time.get()),
        abort: settings.abort.filter(|a| hits(a.ratio, high)).map(|a| a.status),
    }
}

/// True for exactly this share of all 2^32 draws: none at 0%, all at 100%.
fn hits(ratio: Ratio, draw: u32) -> bool {
    f64::from(draw) < ratio.get() * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str) -> Settings {
        serde_yaml::from_str(yaml).unwrap()
    }

    /// Seeds that fill the range evenly in both halves, independent of each other (Weyl sequences).
    fn seeds(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|i| {
            let (low, high) = (i.wrapping_mul(0x9e37_79b9) as u32, i.wrapping_mul(0x85eb_ca6b) as u32);
            u64::from(high) << 32 | u64::from(low)
        })
    }

    #[test]
    fn the_contracts_example_reads_and_is_written_alike() {
        let text = "{ abort: { status: 503, ratio: 1% }, delay: { for: 200ms, ratio: 5% }, when: { header: x-fault } }";
        let read = settings(text);
        assert_eq!(read.abort, Some(Abort { status: 503, ratio: Ratio::percent(1.0) }));
        assert_eq!(read.delay.unwrap().time, units::Duration::from_millis(200));
        assert_eq!(read.when.as_ref().unwrap().header, "x-fault");
        assert_eq!(settings(&serde_yaml::to_string(&read).unwrap()), read);
        assert_eq!(settings("{}"), Settings::default());
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for yaml in [
            "{ abort: { status: 399, ratio: 1% } }",
            "{ abort: { status: 600, ratio: 1% } }",
            "{ abort: { status: 503 } }",
            "{ delay: { for: 1s } }",
            "{ delay: { ratio: 1% } }",
            "{ when: {} }",
            "{ when: { header: 'a b' } }",
            "{ abort: { ratio: 101% } }",
            "{ drop: { ratio: 1% } }",
        ] {
            assert!(serde_yaml::from_str::<Settings>(yaml).is_err(), "{yaml}");
        }
    }

    #[test]
    fn shares_are_exact_in_the_long_run_and_independent() {
        let both = settings("{ abort: { ratio: 1% }, delay: { for: 200ms, ratio: 5% } }");
        let hit: Vec<Fault> = seeds(1_000_000).map(|seed| decide(&both, seed, false)).collect();
        let aborted = hit.iter().filter(|f| f.abort == Some(503)).count();
        let delayed = hit.iter().filter(|f| f.delay == Some(Duration::from_millis(200))).count();
        let twice = hit.iter().filter(|f| f.abort.is_some() && f.delay.is_some()).count();
        assert!(aborted.abs_diff(10_000) <= 10, "{aborted}");
        assert!(delayed.abs_diff(50_000) <= 10, "{delayed}");
        assert!(twice.abs_diff(500) <= 100, "{twice}");
    }

    #[test]
    fn none_is_none_and_all_are_all() {
        let none = settings("{ abort: { ratio: 0% }, delay: { for: 1s, ratio: 0% } }");
        let all = settings("{ abort: { status: 418, ratio: 100% }, delay: { for: 1s, ratio: 100% } }");
        for seed in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(decide(&none, seed, true), Fault::default());
            assert_eq!(decide(&all, seed, true), Fault { delay: Some(Duration::from_secs(1)), abort: Some(418) });
            assert_eq!(decide(&Settings::default(), seed, true), Fault::default());
        }
    }

    #[test]
    fn only_requests_with_the_header_are_hit() {
        let some = settings("{ abort: { ratio: 100% }, when: { header: X-Fault } }");
        assert_eq!(decide(&some, 7, false), Fault::default());
        assert_eq!(decide(&some, 7, true).abort, Some(503));
    }
}
