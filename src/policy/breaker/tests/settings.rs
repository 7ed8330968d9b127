use super::super::settings::*;
use super::*;

fn read(yaml: &str) -> Settings {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn the_contracts_section_is_the_default() {
    let contract = "
        window: 10s
        min_requests: 20
        failure_rate: 50%
        slow_call: { over: 2s, rate: 80% }
        open_for: 30s
        half_open_probes: 5
        failures: [connect, timeout, reset, 500, 502, 503, 504]
        mode: enforce";
    assert_eq!(read(contract), Settings::default());
    assert_eq!(read("{}"), Settings::default());
}

#[test]
fn every_form_is_written_as_it_is_read() {
    for yaml in [
        "{}",
        "{ window: { calls: 100 }, mode: observe }",
        "{ window: 90s, slow_call: { over: 500ms }, mode: force_open }",
        "{ failures: [] }",
        "{ failures: [connect, 599] }",
    ] {
        let settings = read(yaml);
        assert_eq!(read(&serde_yaml::to_string(&settings).unwrap()), settings, "{yaml}");
    }
    assert_eq!(read("{ window: { calls: 100 } }").window, Window::Calls(100));
    let half = read("{ slow_call: { over: 500ms } }").slow_call.unwrap();
    assert_eq!(half, SlowCall { over: Span::from_millis(500), rate: Ratio::percent(80.0) });
    // What is on by default has to be written when it is off. Only our loader reads the word.
    let off = serde_yaml::to_string(&with(|s| s.slow_call = None)).unwrap();
    assert!(off.contains("slow_call: off") || off.contains("slow_call: 'off'"), "{off}");
}

#[test]
fn what_cannot_be_is_refused() {
    for yaml in [
        "{ window: 0s }",
        "{ window: 100 }",
        "{ window: { calls: 0 } }",
        "{ window: { calls: 100001 } }",
        "{ window: { calls: 10s } }",
        "{ window: { seconds: 10 } }",
        "{ window: {} }",
        "{ window: [10s] }",
        "{ failures: [404] }",
        "{ failures: [429] }",
        "{ failures: [refused] }",
        "{ failures: 500 }",
        "{ mode: shadow }",
        "{ slow_call: { under: 2s } }",
        "{ failure_rate: 0.5 }",
        "{ min_requests: -1 }",
        "{ open: 30s }",
    ] {
        assert!(serde_yaml::from_str::<Settings>(yaml).is_err(), "{yaml}");
    }
}

#[test]
fn the_schema_takes_what_is_read_and_nothing_else() {
    let schema = schemars::schema_for!(Settings).to_value();
    let valid = |yaml: &str| {
        let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        jsonschema::is_valid(&schema, &value)
    };
    for yaml in
        ["{ window: 10s }", "{ window: { calls: 100 } }", "{ failures: [connect, 500, '503'] }", "{ slow_call: }"]
    {
        assert!(valid(yaml), "{yaml}");
    }
    for yaml in ["{ window: { calls: 0 } }", "{ window: 5 }", "{ failures: [404] }", "{ failures: [other] }"] {
        assert!(!valid(yaml), "{yaml}");
    }
}
