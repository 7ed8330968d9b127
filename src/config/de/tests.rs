use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::config::parse::parse;
use crate::units::{Auto, Duration};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[serde(default)]
    text: String,
    #[serde(default)]
    time: Auto<Duration>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    inner: Option<Box<Sample>>,
    #[serde(default)]
    names: BTreeMap<String, u8>,
    #[serde(default)]
    list: Vec<bool>,
}

#[derive(Debug, Deserialize, PartialEq, Default)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Off,
    #[default]
    Plain,
    Calls(u32),
}

fn sample(text: &str) -> Result<Sample, String> {
    let (root, _) = parse(text).unwrap();
    read(&root).map_err(|fault| {
        let error = fault.error("f");
        format!("{}:{} {}: {}", error.line, error.column, error.path, error.message)
    })
}

#[test]
fn what_reads() {
    let read =
        sample("{ text: 2, time: 1s, mode: { calls: 5 }, inner: { mode: false }, names: { a: 1 }, list: [true] }");
    let read = read.unwrap();
    assert_eq!((read.text.as_str(), read.time), ("2", Auto::Is(Duration::from_secs(1))));
    assert_eq!(read.mode, Mode::Calls(5));
    assert_eq!(read.inner.unwrap().mode, Mode::Off);
    assert_eq!((read.names["a"], read.list), (1, vec![true]));
    let nothing = sample("{ text: , time: ~, mode: null, inner: off, names: , list: }").unwrap();
    assert_eq!(nothing, sample("{}").unwrap());
    assert_eq!(sample("{ text: 1.10 }").unwrap().text, "1.10", "as it is written");
}

#[test]
fn what_does_not_read_has_its_place() {
    for (text, expected) in [
        ("inner:\n  inner: { txt: a }", "2:12 inner.inner.txt: unknown key; did you mean text?"),
        ("foo:", "1:1 foo: unknown key; known here: text, time, mode, inner, names, list"),
        ("names: { a: 300 }", "1:13 names.a: expected a whole number up to 255, found 300"),
        ("names: { a: }", "1:11 names.a: expected a whole number up to 255, found nothing"),
        ("list: [true, 1]", "1:14 list[1]: expected true or false, found 1"),
        ("time: [1s]", "1:7 time: expected auto or a duration such as 250ms, 5s, 1m or 24h, found a list"),
        ("mode: pain", "1:7 mode: expected off, plain or calls, found pain; did you mean plain?"),
        ("mode: { calls: x }", "1:16 mode.calls: expected a whole number up to 4294967295, found x"),
        ("mode: [off]", "1:7 mode: expected off, plain or calls, found a list"),
        ("inner: 5", "1:8 inner: expected a section, found 5"),
        ("text: {}", "1:7 text: expected text, found a section"),
    ] {
        assert_eq!(sample(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn holes_are_passed_over_and_keep_the_places_behind() {
    let (mut root, _) = parse("list: [x, true, y]").unwrap();
    let Value::List(items) = &mut root.get_mut("list").unwrap().value else { panic!("no list") };
    items[0].hole = true;
    let fault = read::<Sample>(&root).unwrap_err();
    assert_eq!(fault.path().to_string(), "list[2]");
}
