//! One document of a manifest into JSON, as `kubectl` reads it, and back.
//!
//! kubectl's YAML is that of 1.1 where it matters: `yes` and `on` are true, `0644` is octal, `<<` merges. A reader of 1.2
//! would give the API server other values than the author meant.

mod write;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use serde_json::{Map, Number, Value};

pub(super) use write::write;

/// The deepest nesting that is read.
const MOST_DEPTH: usize = 100;
/// The most values that are read: a few aliases can stand for billions.
const MOST_VALUES: usize = 1_000_000;

/// A document cannot be read: what is wrong, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Unread {
    /// The line in the document, from 1 on.
    pub line: usize,
    /// The column, from 1 on.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a document; none where there is nothing in it.
pub(super) fn read(text: &str) -> Result<Option<Value>, Unread> {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, anchors: HashMap::new(), values: 0, place: (1, 1) };
    let mut root = None;
    while let Some(event) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            event if root.is_none() => root = Some(reader.value(event, 0)?),
            _ => return Err(reader.unread("expected one document, found a second")),
        }
    }
    Ok(root.filter(|root| !root.is_null()))
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Value>,
    values: usize,
    place: (usize, usize),
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<Event<'t>>, Unread> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.place = (span.start.line().max(1), span.start.col() + 1);
                Ok(Some(event))
            }
            Some(Err(error)) => {
                self.place = (error.marker().line().max(1), error.marker().col() + 1);
                Err(self.unread(&error.info().to_lowercase()))
            }
        }
    }

    fn inner(&mut self) -> Result<Event<'t>, Unread> {
        self.next()?.ok_or_else(|| self.unread("expected more, found the end"))
    }

    fn unread(&self, message: &str) -> Unread {
        Unread { line: self.place.0, column: self.place.1, message: message.to_owned() }
    }

    fn count(&mut self, more: usize) -> Result<(), Unread> {
        self.values += more;
        if self.values > MOST_VALUES { Err(self.unread("expected at most a million values")) } else { Ok(()) }
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, Unread> {
        if depth > MOST_DEPTH {
            return Err(self.unread("expected at most 100 levels of nesting"));
        }
        self.count(1)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                (anchor, scalar(&text, plain, tag.as_deref()))
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let meant = self.anchors.get(&anchor).cloned();
                let value = meant.ok_or_else(|| self.unread("this alias stands for nothing"))?;
                self.count(size(&value))?;
                (0, value)
            }
            _ => return Err(self.unread("expected a value")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Unread> {
        let mut list = Vec::new();
        loop {
            match self.inner()? {
                Event::SequenceEnd => return Ok(Value::Array(list)),
                event => list.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Unread> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        loop {
            let (key, merges) = match self.inner()? {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, tag) => {
                    let plain = style == ScalarStyle::Plain;
                    let merges = plain && text == "<<";
                    // kubectl makes JSON of it, whose keys are texts.
                    let key = match scalar(&text, plain, tag.as_deref()) {
                        Value::String(key) => key,
                        Value::Null => "null".to_owned(),
                        other => other.to_string(),
                    };
                    (key, merges)
                }
                _ => return Err(self.unread("expected a key that is text")),
            };
            let event = self.inner()?;
            let value = self.value(event, depth + 1)?;
            if merges {
                merged.push(value);
            } else if map.insert(key.clone(), value).is_some() {
                return Err(self.unread(&format!("the key {key} stands here twice")));
            }
        }
        for value in merged {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            for value in values {
                let Value::Object(value) = value else { return Err(self.unread("<< expects a mapping")) };
                for (key, value) in value {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// How many values are in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, plain: bool, tag: Option<&Tag>) -> Value {
    // Of tags those of YAML itself count; a quoted text with one is what it says.
    match tag.map(|tag| tag.suffix.as_str()) {
        Some("int" | "bool" | "float" | "null") => {}
        Some(_) => return Value::String(text.to_owned()),
        None if !plain => return Value::String(text.to_owned()),
        None => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let digits = &digits.replace('_', "");
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
    if sign == 1
        && let Ok(large) = digits.parse::<u64>()
        && large > i64::MAX as u64
    {
        return Some(large.into());
    }
    let whole = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => radix(&digits[2..], 16),
        [b'0', b'o', ..] => radix(&digits[2..], 8),
        [b'0', b'b', ..] => radix(&digits[2..], 2),
        [b'0', _, ..] if digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) => radix(digits, 8),
        _ if digits.bytes().all(|b| b.is_ascii_digit()) => radix(digits, 10),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some((sign * whole).into());
    }
    let decimal = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = || Some(f64::from(sign as i8) * digits.parse::<f64>().ok()?);
    if decimal { Number::from_f64(value()?) } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        let read = |text: &str| read(&format!("a: {text}")).unwrap().unwrap()["a"].clone();
        for (text, value) in [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("'yes'", json!("yes")),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("-12", json!(-12)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1_000", json!(1000)),
            ("18446744073709551615", json!(u64::MAX)),
            ("!!int \"80\"", json!(80)),
            ("-1.5", json!(-1.5)),
            ("08", json!(8)),
            ("09.5", json!(9.5)),
            ("1.2.3", json!("1.2.3")),
            ("100m", json!("100m")),
            ("~", json!(null)),
            ("", json!(null)),
            ("!!str 12", json!("12")),
            ("\"12\"", json!("12")),
            ("2026-01-01", json!("2026-01-01")),
            ("nothing", json!("nothing")),
            (".", json!(".")),
        ] {
            assert_eq!(read(text), value, "{text}");
        }
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let text = "base: &b { cpu: 1, memory: 2 }\nmine:\n  <<: *b\n  cpu: 3\nsame: *b\n";
        let value = read(text).unwrap().unwrap();
        assert_eq!(value["mine"], json!({ "cpu": 3, "memory": 2 }));
        assert_eq!(value["same"], value["base"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        assert_eq!(read("# nothing\n").unwrap(), None);
        let told = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(told("a: 1\na: 2\n"), "line 2, column 4: the key a stands here twice");
        assert_eq!(told("? [a]\n: 1\n"), "line 1, column 3: expected a key that is text");
        assert!(told("a: [1\nb: 2").starts_with("line 2"), "{}", told("a: [1\nb: 2"));
        let bomb = (1..30)
            .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
        assert!(told(&bomb).contains("at most a million values"));
        let deep = format!("{}{}", "[".repeat(102), "]".repeat(102));
        assert!(told(&deep).contains("100 levels"), "{}", told(&deep));
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
