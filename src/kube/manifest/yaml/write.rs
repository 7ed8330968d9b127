//! JSON into YAML that means the same to readers of 1.1 and of 1.2: whatever one of them might take for something else than
//! text is quoted.

use std::fmt::Write;

use serde_json::Value;

use super::scalar;

/// Writes a value as a document, in blocks.
pub(in crate::kube::manifest) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, out),
        Value::Array(list) if !list.is_empty() => block(value, 0, out),
        _ => {
            inline(value, 0, out);
            out.push('\n');
        }
    }
}

/// A mapping or a list that is not empty; each of its lines begins at `indent`.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pad(indent, out);
                text(key, indent, false, out);
                out.push(':');
                behind(value, indent, out);
            }
        }
        Value::Array(list) => {
            for item in list {
                pad(indent, out);
                out.push('-');
                let from = out.len();
                if is_block(item) {
                    block(item, indent + 2, out);
                    // Its first line stands behind the dash.
                    out.replace_range(from..from + indent + 2, " ");
                } else {
                    behind(item, indent, out);
                }
            }
        }
        _ => {}
    }
}

/// What stands behind a key or a dash.
fn behind(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        // Lists stand under their keys, as everybody writes them.
        block(value, if value.is_array() { indent } else { indent + 2 }, out);
    } else {
        out.push(' ');
        inline(value, indent, out);
        out.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(value) => text(value, indent, true, out),
        // Numbers, true, false, null and what is empty are written alike in both.
        value => {
            let _ = write!(out, "{value}");
        }
    }
}

fn text(text: &str, indent: usize, may_be_long: bool, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
    } else if may_be_long && is_literal(text) {
        out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.lines() {
            out.push('\n');
            if !line.is_empty() {
                pad(indent + 2, out);
                out.push_str(line);
            }
        }
    } else {
        // A JSON text is a quoted text of YAML, which in addition wants some characters escaped.
        for c in Value::from(text).to_string().chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
    }
}

/// Whether a text is a text to everybody without quotation marks.
fn is_plain(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'-' | b':' | b'@' | b'+');
    let begins = match text.as_bytes() {
        [b'-', second, ..] => second.is_ascii_alphabetic() || *second == b'-',
        [first, ..] => first.is_ascii_alphabetic() || matches!(first, b'/' | b'_') || is_quantity(text),
        [] => false,
    };
    begins
        && text.bytes().all(inside)
        && !text.ends_with(':')
        && !matches!(text, "y" | "Y" | "n" | "N" | "---")
        && scalar(text, true, None).is_string()
}

/// `500m`, `64Mi`: what begins with a digit and is no number to anybody.
fn is_quantity(text: &str) -> bool {
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit());
    suffix != text && matches!(suffix, "m" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti")
}

/// Whether a text can be written line by line.
fn is_literal(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    (lines.contains('\n') || text.ends_with('\n'))
        && !lines.is_empty()
        && !lines.starts_with([' ', '\n', '\t'])
        && !lines.ends_with('\n')
        && !text
            .chars()
            .any(|c| c.is_control() && c != '\n' || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
        && lines.split('\n').all(|line| !line.ends_with([' ', '\t']))
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Number, json};

    use super::*;

    fn written(value: &Value) -> String {
        let mut out = String::new();
        write(value, &mut out);
        out
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({
            "kind": "Pod",
            "spec": {
                "containers": [
                    { "name": "app", "args": ["run", "--fast"], "ports": [{ "containerPort": 80 }], "env": [] },
                    { "name": "b", "resources": { "cpu": "500m" }, "limits": {} },
                ],
                "nested": [[1, 2], []],
            },
            "text": "two\n lines\n",
            "open": "a\n\nb",
        });
        let expected = "kind: Pod
spec:
  containers:
  - name: app
    args:
    - run
    - --fast
    ports:
    - containerPort: 80
    env: []
  - name: b
    resources:
      cpu: 500m
    limits: {}
  nested:
  - - 1
    - 2
  - []
text: |
  two
   lines
open: |-
  a

  b
";
        assert_eq!(written(&value), expected);
    }

    #[test]
    fn what_could_be_something_else_is_quoted() {
        for text in [
            "on",
            "yes",
            "No",
            "y",
            "null",
            "~",
            "",
            "0644",
            "1e3",
            "1.4.2",
            "2026-01-01",
            "12:30:45",
            "a: b",
            "a #b",
            "a:",
            "- a",
            "*a",
            "<<",
            "=",
            " a",
            ".inf",
            "true",
        ] {
            assert_eq!(written(&json!({ "a": text })), format!("a: {}\n", json!(text)), "{text}");
        }
        assert_eq!(written(&json!({ "on": "payments:1", "1": "a/b.c" })), "\"on\": payments:1\n\"1\": a/b.c\n");
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~\\n]{0,20}",
            any::<String>(),
            prop::sample::select(vec!["on", "0644", "a: b", "~", "x\n\ny\n", "\n", " a\nb", "a \nb"])
                .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| Value::Number(n.into())),
            (-1e9..1e9f64).prop_map(|n| Number::from_f64(n).map_or(Value::Null, Value::Number)),
            text.clone().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((text.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(value in value()) {
            let text = written(&json!({ "root": value }));
            let read = super::super::read(&text).unwrap().unwrap();
            prop_assert_eq!(&read["root"], &value, "{}", text);
            // By a reader of 1.2 too.
            let other: Value = serde_yaml::from_str(&text).unwrap();
            prop_assert_eq!(&other["root"], &value, "{}", text);
        }
    }
}
