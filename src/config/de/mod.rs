//! Reads the types of the configuration from the tree. Every fault comes out with its mark and its path.
//!
//! What the file may say shorter: nothing (`key:`) is the same as a key left out, `off` and `false` are none.

mod fault;

use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::path::{Step, printable};
use super::tree::{Entry, Node, Resolved, Scalar, Value};

pub(crate) use fault::{Fault, Kind};

/// A node that is about to be read.
#[derive(Clone, Copy)]
pub(crate) struct De<'de>(pub(crate) &'de Node);

/// Reads a value from the root of a tree.
pub(crate) fn read<'de, T: serde::Deserialize<'de>>(root: &'de Node) -> Result<T, Fault> {
    T::deserialize(De(root)).map_err(|fault| De(root).placed(fault))
}

impl<'de> De<'de> {
    fn wrong(self, expected: &str) -> Fault {
        Fault::invalid(expected, self.0.found()).at(self.0.mark)
    }

    /// A fault that came out of this node: if nothing inside knows its place, it is here, and what was found is told as
    /// it is written, not as serde was handed it.
    fn placed(self, fault: Fault) -> Fault {
        if fault.mark.is_some() { fault } else { fault.showing(|| self.0.found()).at(self.0.mark) }
    }

    fn scalar<V: Visitor<'de>>(self, scalar: &'de Scalar, visitor: V) -> Result<V::Value, Fault> {
        match scalar.resolve() {
            Resolved::Null => visitor.visit_unit(),
            Resolved::Bool(b) => visitor.visit_bool(b),
            Resolved::Unsigned(n) => visitor.visit_u64(n),
            Resolved::Signed(n) => visitor.visit_i64(n),
            Resolved::Float(n) => visitor.visit_f64(n),
            Resolved::Text(text) => visitor.visit_borrowed_str(text),
        }
    }

    fn map<V: Visitor<'de>>(self, entries: &'de [Entry], known: Keys, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Entries { rest: entries.iter(), value: None, known })
    }
}

/// The keys of a section, of which one without a value is the same as one left out. Empty for a mapping from names.
type Keys = &'static [&'static str];

impl<'de> Deserializer<'de> for De<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) => self.scalar(scalar, visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(entries) => self.map(entries, &[], visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Scalar(scalar) = &self.0.value else { return Err(self.wrong("true or false")) };
        if let Resolved::Bool(b) = scalar.resolve() {
            return visitor.visit_bool(b);
        }
        let mut fault = self.wrong("true or false");
        if let Kind::Invalid { hint, .. } = &mut fault.kind {
            *hint = match scalar.text.to_ascii_lowercase().as_str() {
                "on" | "yes" | "y" | "true" => "; write true",
                "off" | "no" | "n" | "false" => "; write false",
                _ => "",
            };
        }
        Err(fault)
    }

    /// Numbers are taken as they are written, so that `"1.10"` may lose its quotes.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) if scalar.resolve() != Resolved::Null => visitor.visit_borrowed_str(&scalar.text),
            _ => Err(self.wrong("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() || self.0.is_off() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter().enumerate() }),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => self.map(entries, &[], visitor),
            _ => Err(self.wrong("a section")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, known: Keys, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => self.map(entries, known, visitor),
            // An item of a list, or the value of a name; elsewhere nothing is the same as left out.
            _ if self.0.is_null() => self.map(&[], known, visitor),
            _ => Err(self.wrong("a section")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, variants: Keys, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => {
                let entries = Entries { rest: entries.iter(), value: None, known: &[] };
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            Value::Scalar(scalar) if !self.0.is_null() => {
                let text = if self.0.is_off() && variants.contains(&"off") { "off" } else { &scalar.text };
                let text: StrDeserializer<'_, Fault> = text.into_deserializer();
                visitor.visit_enum(text)
            }
            _ => Err(self.wrong(&super::error::one_of(variants))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let read = visitor.visit_newtype_struct(self);
        if name == crate::units::AUTO { read.map_err(Fault::or_auto) } else { read }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        match self.rest.find(|(_, item)| !item.hole) {
            Some((index, item)) => {
                seed.deserialize(De(item)).map(Some).map_err(|f| De(item).placed(f).under(Step::Index(index)))
            }
            None => Ok(None),
        }
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
    known: Keys,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let known = self.known;
        self.value = self.rest.find(|entry| !(entry.value.is_null() && known.contains(&entry.key.as_str())));
        let Some(entry) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|f| f.showing(|| printable(&entry.key)).at(entry.mark).under(Step::Key(entry.key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.value.take() else {
            return Err(Fault::invalid("a value", "nothing".to_owned()));
        };
        let value = De(&entry.value);
        seed.deserialize(value).map_err(|f| value.placed(f).under(Step::Key(entry.key.clone())))
    }
}

#[cfg(test)]
mod tests;
