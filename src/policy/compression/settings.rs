//! The section `compression` of a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Coding;
use crate::units::Size;

/// Which answers are encoded, into what and how hard. On by default; `off` sends every answer as the application gave it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Compression")]
pub struct Settings {
    /// The order of preference among what a client accepts equally: zstd, br and gzip.
    #[schemars(length(min = 1))]
    pub encodings: Vec<Coding>,
    /// Shorter bodies are sent as they are.
    pub min_size: Size,
    /// Media types that are encoded: `application/json`, or `text/*` for all of a kind.
    #[schemars(length(min = 1))]
    pub types: Vec<String>,
    /// How hard each coding tries: smaller bodies for more CPU.
    pub levels: Levels,
    /// Lower the levels while the CPU is short, and raise them again when it is not.
    pub adaptive: bool,
    /// Paths whose answers are sent as they are, spelled as in `match.path`: `/health`, `/files/{*rest}`.
    pub exclude_paths: Vec<String>,
    /// Send as they are: answers with Set-Cookie, and answers to requests with a Cookie. The length of an encoded body tells
    /// how much of it repeats; where a secret and a text of the attacker's choice stand in one body, that gives the secret away.
    pub breach_guard: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            encodings: Coding::ALL.to_vec(),
            min_size: Size::from_bytes(1 << 10),
            types: [
                "application/json",
                "application/problem+json",
                "application/xml",
                "application/javascript",
                "image/svg+xml",
                "text/*",
            ]
            .map(String::from)
            .to_vec(),
            levels: Levels::default(),
            adaptive: true,
            exclude_paths: Vec::new(),
            breach_guard: true,
        }
    }
}

/// How hard each coding tries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CompressionLevels")]
pub struct Levels {
    /// From 1 to 9.
    #[schemars(range(min = 1, max = 9))]
    pub gzip: u32,
    /// From 0 to 11; from 9 on a body of 10 KB takes milliseconds.
    #[schemars(range(min = 0, max = 11))]
    pub br: u32,
    /// From 1 to 19.
    #[schemars(range(min = 1, max = 19))]
    pub zstd: u32,
}

impl Default for Levels {
    fn default() -> Self {
        Levels { gzip: 6, br: 4, zstd: 3 }
    }
}

impl Levels {
    /// The level of a coding.
    pub const fn get(&self, coding: Coding) -> u32 {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        }
    }

    /// The least and the greatest level that a coding has.
    pub const fn range(coding: Coding) -> std::ops::RangeInclusive<u32> {
        match coding {
            Coding::Zstd => 1..=19,
            Coding::Br => 0..=11,
            Coding::Gzip => 1..=9,
        }
    }
}
