use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::config::parse::parse;
use crate::policy::{breaker, fault, retry};
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

/// A section of a policy, read; or its error with its place.
fn section<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let (root, _) = parse(text).unwrap();
    read(&root).map_err(|fault| {
        let error = fault.error("f");
        format!("{}:{} {}: {}", error.line, error.column, error.path, error.message)
    })
}

#[test]
fn what_is_on_by_default_is_off_when_it_says_so_and_written_so() {
    use breaker::{Settings, SlowCall, Window};
    for off in ["off", "false", "'off'"] {
        let read: Settings = section(&format!("slow_call: {off}")).unwrap();
        assert_eq!(read.slow_call, None, "{off}");
        let written = serde_yaml::to_string(&read).unwrap();
        assert_eq!(section::<Settings>(&written).unwrap(), read, "{written}");
    }
    for on in ["{}", "slow_call:", "slow_call: {}", "slow_call: { over: }"] {
        assert_eq!(section::<Settings>(on).unwrap(), Settings::default(), "{on}");
    }
    let half: Settings = section("{ slow_call: { rate: 50% }, window: { calls: 100 } }").unwrap();
    assert_eq!(half.slow_call.map(|slow| slow.over), Some(SlowCall::default().over));
    assert_eq!(half.window, Window::Calls(100));
}

#[test]
fn what_is_wrong_in_a_policy_has_its_place() {
    for (text, expected) in [
        ("window: 0s", "1:9 window: expected a time such as 10s or { calls: 100 }, found 0s"),
        ("window: 100", "1:9 window: expected a time such as 10s or { calls: 100 }, found 100"),
        ("window: { calls: 0 }", "1:18 window.calls: expected a number of calls between 1 and 100000, found 0"),
        ("window: { call: 5 }", "1:11 window.call: unknown key; did you mean calls?"),
        (
            "failures: [reset, 404]",
            "1:19 failures[1]: expected connect, timeout, reset or a status between 500 and 599, found 404",
        ),
        (
            "failures: [conect]",
            "1:12 failures[0]: expected connect, timeout, reset or a status between 500 and 599, found conect",
        ),
        ("mode: observ", "1:7 mode: expected enforce, observe or force_open, found observ; did you mean observe?"),
    ] {
        assert_eq!(section::<breaker::Settings>(text).unwrap_err(), expected, "{text}");
    }
    for (text, expected) in [
        (
            "retry_on: [404]",
            "1:12 retry_on[0]: expected connect, reset, timeout, 429 or a status between 500 and 599, found 404",
        ),
        ("attempts: -1", "1:11 attempts: expected a whole number up to 4294967295, found -1"),
    ] {
        assert_eq!(section::<retry::Settings>(text).unwrap_err(), expected, "{text}");
    }
    for (text, expected) in [
        ("abort: { status: 200, ratio: 1% }", "1:18 abort.status: expected a status between 400 and 599, found 200"),
        ("abort: { status: 503 }", "1:8 abort.ratio: required, but missing"),
        ("when: { header: 'x y' }", "1:17 when.header: expected the name of a header, found \"x y\""),
    ] {
        assert_eq!(section::<fault::Settings>(text).unwrap_err(), expected, "{text}");
    }
    assert_eq!(section::<fault::Settings>("{ abort: off, delay: off, when: }").unwrap(), fault::Settings::default());
}
