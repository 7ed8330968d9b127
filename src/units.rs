//! Values with units, as a user writes them in YAML: durations, sizes, ratios and rates.
//!
//! Each type can only hold a value that makes sense, so nothing behind the configuration has to check again.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// What every unit has in common: it is written as it is read, in YAML, in messages and in the schema.
macro_rules! yaml_unit {
    ($type:ident, $expected:expr, $name:literal, $pattern:literal, numbers: $numbers:literal) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, s: &str) -> Result<$type, E> {
                        s.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(s), &self))
                    }

                    fn visit_u64<E: de::Error>(self, n: u64) -> Result<$type, E> {
                        if !$numbers {
                            return Err(E::invalid_value(de::Unexpected::Unsigned(n), &self));
                        }
                        n.to_string().parse().map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
                    }
                }
                d.deserialize_any(V)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                if $numbers {
                    json_schema!({ "description": $expected, "oneOf": [ { "type": "string", "pattern": $pattern }, { "type": "integer", "minimum": 0 } ] })
                } else {
                    json_schema!({ "description": $expected, "type": "string", "pattern": $pattern })
                }
            }
        }
    };
}

mod rate;
pub use rate::Rate;

/// A span of time: `250ms`, `5s`, `1m`, `24h`; `0s` is allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(std::time::Duration);

/// A number of bytes: `512`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

/// A share between `0%` and `100%`.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Ratio(f64);

/// A number of bytes in a span of time: `4KiB/1s`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRate {
    bytes: u64,
    per: std::time::Duration,
}

/// A value, or `auto`: the process finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto<T> {
    /// The process finds it out.
    #[default]
    Auto,
    /// This value.
    Is(T),
}

/// The name under which [`Auto`] asks to be read: who reads it adds "auto or" to what its value expects.
pub(crate) const AUTO: &str = "Auto";

/// Why a text is none of the units above: what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct UnitError(&'static str);

const DURATION: &str = "a duration such as 250ms, 5s, 1m or 24h";
const SIZE: &str = "a size such as 512, 64KiB, 1MiB or 2GiB";
const RATIO: &str = "a ratio between 0% and 100%";
const BYTE_RATE: &str = "bytes in a time such as 4KiB/1s";

/// The longest duration that can be written: ten years keeps every sum of deadlines inside the clock.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3600);

impl Duration {
    /// A duration of whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Duration(std::time::Duration::from_millis(ms))
    }

    /// A duration of whole seconds.
    pub const fn from_secs(s: u64) -> Self {
        Duration(std::time::Duration::from_secs(s))
    }

    /// The span as the standard library has it.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl Size {
    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Size(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, as an index into memory.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Ratio {
    /// The share for so many percent; above 100 counts as 100.
    pub fn percent(p: f64) -> Self {
        Ratio((p / 100.0).clamp(0.0, 1.0))
    }

    /// The share, between 0 and 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl ByteRate {
    /// So many bytes in each span of time.
    pub const fn new(bytes: u64, per: std::time::Duration) -> Self {
        ByteRate { bytes, per }
    }

    /// Bytes a second, at least 1.
    pub fn per_second(self) -> u64 {
        ((self.bytes as f64 / self.per.as_secs_f64()) as u64).max(1)
    }
}

impl<T: Copy> Auto<T> {
    /// The value, or what was found out.
    pub fn unwrap_or_else(self, found: impl FnOnce() -> T) -> T {
        match self {
            Auto::Auto => found(),
            Auto::Is(value) => value,
        }
    }
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Auto::Auto => s.serialize_str("auto"),
            Auto::Is(value) => value.serialize(s),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Auto<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto or a value")
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<Auto<T>, E> {
                match s {
                    "auto" => Ok(Auto::Auto),
                    _ => T::deserialize(de::value::StrDeserializer::new(s)).map(Auto::Is),
                }
            }

            // What cannot be right is handed on as well: the value's own type says best what it expects.
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Auto<T>, E> {
                T::deserialize(de::value::U64Deserializer::new(n)).map(Auto::Is)
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Auto<T>, E> {
                T::deserialize(de::value::I64Deserializer::new(n)).map(Auto::Is)
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Auto<T>, E> {
                T::deserialize(de::value::F64Deserializer::new(n)).map(Auto::Is)
            }

            fn visit_bool<E: de::Error>(self, b: bool) -> Result<Auto<T>, E> {
                T::deserialize(de::value::BoolDeserializer::new(b)).map(Auto::Is)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Auto<T>, A::Error> {
                T::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Auto::Is)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Auto<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Auto::Is)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Auto<T>, D::Error> {
                d.deserialize_any(self)
            }
        }
        d.deserialize_newtype_struct(AUTO, V(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Auto<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("AutoOr{}", T::schema_name()).into()
    }

    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let value = g.subschema_for::<T>();
        json_schema!({ "oneOf": [ { "const": "auto" }, value ] })
    }
}

/// Writes an optional section so that it reads back as it is, also where one left out would be inherited or is on.
pub(crate) fn some_or_off<T: Serialize, S: Serializer>(section: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
    match section {
        Some(section) => section.serialize(s),
        None => s.serialize_str("off"),
    }
}

/// Splits a number from the unit behind it.
fn split_unit(s: &str) -> Option<(f64, &str)> {
    let at = s.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(s.len());
    let (number, unit) = s.split_at(at);
    if number.is_empty() || number.starts_with('.') || number.ends_with('.') {
        return None;
    }
    Some((number.parse().ok()?, unit))
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_unit(s).ok_or(UnitError(DURATION))?;
        let seconds = match unit {
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3600.0,
            "d" => number * 86400.0,
            _ => return Err(UnitError(DURATION)),
        };
        std::time::Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|d| *d <= LONGEST)
            .map(Duration)
            .ok_or(UnitError(DURATION))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_unit(s).ok_or(UnitError(SIZE))?;
        let factor = match unit {
            "" | "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(UnitError(SIZE)),
        };
        let bytes = number * factor;
        if bytes.fract() != 0.0 || bytes > (1u64 << 50) as f64 {
            return Err(UnitError(SIZE));
        }
        Ok(Size(bytes as u64))
    }
}

impl FromStr for Ratio {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        match split_unit(s) {
            Some((p, "%")) if p <= 100.0 => Ok(Ratio(p / 100.0)),
            _ => Err(UnitError(RATIO)),
        }
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let (bytes, per) = s.split_once('/').ok_or(UnitError(BYTE_RATE))?;
        let bytes: Size = bytes.parse().map_err(|_| UnitError(BYTE_RATE))?;
        let per: Duration = per.parse().map_err(|_| UnitError(BYTE_RATE))?;
        if bytes.0 == 0 || per.0.is_zero() {
            return Err(UnitError(BYTE_RATE));
        }
        Ok(ByteRate { bytes: bytes.0, per: per.0 })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        match us {
            0 => write!(f, "0s"),
            _ if us.is_multiple_of(3_600_000_000) => write!(f, "{}h", us / 3_600_000_000),
            _ if us.is_multiple_of(60_000_000) => write!(f, "{}m", us / 60_000_000),
            _ if us.is_multiple_of(1_000_000) => write!(f, "{}s", us / 1_000_000),
            _ if us.is_multiple_of(1000) => write!(f, "{}ms", us / 1000),
            _ => write!(f, "{us}us"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "0"),
            b if b.is_multiple_of(1 << 30) => write!(f, "{}GiB", b >> 30),
            b if b.is_multiple_of(1 << 20) => write!(f, "{}MiB", b >> 20),
            b if b.is_multiple_of(1 << 10) => write!(f, "{}KiB", b >> 10),
            b => write!(f, "{b}"),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Size(self.bytes), Duration(self.per))
    }
}

yaml_unit!(Duration, DURATION, "Duration", r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$", numbers: false);
yaml_unit!(Size, SIZE, "Size", r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)?$", numbers: true);
yaml_unit!(Ratio, RATIO, "Ratio", r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$", numbers: false);
yaml_unit!(ByteRate, BYTE_RATE, "ByteRate", r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)?/[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$", numbers: false);

#[cfg(test)]
mod tests;
