//! Who goes first where not everybody can.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The priority of a request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else: what must not fail.
    Critical,
    /// Before the ordinary.
    High,
    /// The ordinary.
    #[default]
    Normal,
    /// What can wait: batches, reports, refreshes.
    Low,
}

impl Priority {
    /// All of them, the highest first.
    pub const ALL: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];

    /// Its place in [`Priority::ALL`]; a smaller one goes first.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it, in the configuration, in a request and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Critical => "critical",
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }

    /// What a request calls it, in whatever case.
    pub fn from_word(word: &str) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| word.trim().eq_ignore_ascii_case(priority.as_str()))
    }

    /// The lower of two.
    pub fn at_most(self, highest: Priority) -> Priority {
        self.max(highest)
    }
}

/// The key `priority` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// The same for all its requests.
    Is(Priority),
    /// What the request asks for.
    Asked(Asked),
}

/// A priority that the request itself asks for.
#[derive(Debug, Clone, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Where the word is taken from: header:N | query:N | cookie:N | path:PARAM.
    pub from: String,
    /// Where it says nothing, or no word of ours.
    #[serde(default)]
    pub default: Priority,
    /// The highest that strangers get: peers outside `trusted_proxies`. Left out: normal.
    #[serde(default)]
    pub max: Priority,
}

impl Setting {
    /// The priority of a request that asks with this word. `trusted`: its peer is one of the trusted proxies.
    pub fn resolve(&self, word: Option<&str>, trusted: bool) -> Priority {
        match self {
            Setting::Is(priority) => *priority,
            Setting::Asked(asked) => match word.and_then(Priority::from_word) {
                Some(priority) if trusted => priority,
                Some(priority) => priority.at_most(asked.max),
                // Ours, not the stranger's: `max` does not hold for it.
                None => asked.default,
            },
        }
    }
}

impl Default for Setting {
    fn default() -> Self {
        Setting::Is(Priority::default())
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Setting::Is(priority) => priority.serialize(s),
            Setting::Asked(asked) => asked.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("critical, high, normal, low or a section with `from`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Setting, E> {
                Priority::deserialize(StrDeserializer::new(word)).map(Setting::Is)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Setting, A::Error> {
                Asked::deserialize(MapAccessDeserializer::new(map)).map(Setting::Asked)
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // A key with nothing behind it is the same as one left out: options alone know that in a section which was
        // found by looking at what is there.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            from: String,
            default: Option<Priority>,
            max: Option<Priority>,
        }
        let Keys { from, default, max } = Keys::deserialize(d)?;
        Ok(Asked { from, default: default.unwrap_or_default(), max: max.unwrap_or_default() })
    }
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PrioritySetting".into()
    }

    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let (word, asked) = (g.subschema_for::<Priority>(), g.subschema_for::<Asked>());
        json_schema!({ "oneOf": [ word, asked ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Setting, String> {
        serde_yaml::from_str(yaml).map_err(|e| e.to_string())
    }

    #[test]
    fn a_word_or_a_section_is_read_and_written_back() {
        assert_eq!(read("critical"), Ok(Setting::Is(Priority::Critical)));
        let asked = Asked { from: "header:x-priority".into(), default: Priority::Normal, max: Priority::Normal };
        assert_eq!(read("{ from: header:x-priority }"), Ok(Setting::Asked(asked.clone())));
        assert_eq!(read("{ from: header:x-priority, default: , max: ~ }"), Ok(Setting::Asked(asked.clone())));
        let other = Setting::Asked(Asked { default: Priority::Low, max: Priority::High, ..asked });
        assert_eq!(read("{ from: header:x-priority, default: low, max: high }"), Ok(other.clone()));
        for setting in [other, Setting::Is(Priority::Low)] {
            assert_eq!(read(&serde_yaml::to_string(&setting).unwrap()), Ok(setting));
        }
    }

    #[test]
    fn what_is_neither_says_what_is_expected() {
        assert!(read("hgih").unwrap_err().contains("unknown variant `hgih`"));
        assert!(read("3").unwrap_err().contains("critical, high, normal, low or a section with `from`"));
        assert!(read("{ max: high }").unwrap_err().contains("missing field `from`"));
        assert!(read("{ from: header:x, least: low }").unwrap_err().contains("unknown field `least`"));
        assert!(read("[high]").is_err());
    }

    #[test]
    fn a_stranger_gets_at_most_max_and_a_proxy_of_ours_what_it_asks() {
        let setting = read("{ from: header:x-priority, default: high, max: normal }").unwrap();
        assert_eq!(setting.resolve(Some("critical"), false), Priority::Normal);
        assert_eq!(setting.resolve(Some("low"), false), Priority::Low);
        assert_eq!(setting.resolve(Some(" Critical "), true), Priority::Critical);
        for nothing in [None, Some(""), Some("urgent")] {
            assert_eq!(setting.resolve(nothing, false), Priority::High, "the default is ours");
        }
        assert_eq!(Setting::Is(Priority::High).resolve(Some("low"), true), Priority::High);
        assert_eq!(Setting::default().resolve(None, false), Priority::Normal);
    }

    #[test]
    fn the_order_is_the_index() {
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority.index(), index);
            assert_eq!(Priority::from_word(priority.as_str()), Some(priority));
        }
        assert_eq!(Priority::Critical.at_most(Priority::High), Priority::High);
        assert_eq!(Priority::Low.at_most(Priority::High), Priority::Low);
    }
}
