//! One entry of the list `rate_limits`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::mode::Mode;
use crate::units::Rate;

/// A limit on how many requests a key may make in a time. Several may stand on a route; all of them must allow a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The limit's name: lists merge by it, and clients read it in `RateLimit-Policy`.
    pub name: String,
    /// What is counted apart, one or several together: `client_ip`, `header:N`, `query:N`, `cookie:N`, `path:PARAM`,
    /// `jwt:CLAIM` or `constant` (one count for all requests).
    pub key: Vec<String>,
    /// How many requests a key may make in which time, such as `100/1m`.
    pub limit: Rate,
    /// How they are counted.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How many requests may come at once when none came before; only for `token_bucket`, which takes the count of `limit`
    /// where this is left out.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Other limits for certain values of the key; of a key with several parts, its values joined by a comma.
    #[serde(default)]
    pub overrides: BTreeMap<String, Rate>,
    /// What happens to a request that lacks a part of the key.
    #[serde(default)]
    pub missing_key: MissingKey,
    /// Where the counts are kept.
    #[serde(default)]
    pub store: Store,
    /// Whether requests above the limit are refused, or only counted as such.
    #[serde(default)]
    pub mode: Mode,
}

/// How requests are counted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// No more than the limit in any window of its time, wherever the window begins.
    #[default]
    SlidingWindow,
    /// A bucket of `burst` tokens that fills at the limit's rate; each request takes one.
    TokenBucket,
}

/// What happens to a request that lacks a part of the key.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum MissingKey {
    /// It is counted by the client's address.
    #[default]
    ClientIp,
    /// This limit does not count it.
    Skip,
    /// It is refused.
    Refuse,
}

/// Where the counts are kept.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// In the memory of this process.
    #[default]
    Local,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let settings: Settings =
            serde_yaml::from_str("{ name: per-merchant, key: [header:x-merchant-id], limit: 100/1m }").unwrap();
        assert_eq!(settings.algorithm, Algorithm::SlidingWindow);
        assert_eq!(settings.missing_key, MissingKey::ClientIp);
        assert_eq!((settings.store, settings.mode), (Store::Local, Mode::Enforce));
        assert_eq!((settings.burst, settings.overrides.len()), (None, 0));
    }

    #[test]
    fn everything_of_the_contract_is_read() {
        let text = "{ name: a, key: [client_ip, 'header:x'], limit: 100/1m, algorithm: token_bucket, burst: 20, \
                    overrides: { mer_0001: 1000/1m }, missing_key: refuse, store: local, mode: observe }";
        let settings: Settings = serde_yaml::from_str(text).unwrap();
        assert_eq!((settings.algorithm, settings.burst), (Algorithm::TokenBucket, Some(20)));
        assert_eq!(settings.overrides["mer_0001"], "1000/1m".parse().unwrap());
        assert_eq!((settings.missing_key, settings.mode), (MissingKey::Refuse, Mode::Observe));
        let back: Settings = serde_yaml::from_str(&serde_yaml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(back, settings);
    }

    #[test]
    fn without_a_name_a_key_or_a_limit_there_is_no_limit() {
        for text in ["{ key: [constant], limit: 1/1s }", "{ name: a, limit: 1/1s }", "{ name: a, key: [constant] }"] {
            let error = serde_yaml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains("missing field"), "{error}");
        }
        assert!(serde_yaml::from_str::<Settings>("{ name: a, key: [b], limit: 1/1s, bursts: 1 }").is_err());
    }
}
