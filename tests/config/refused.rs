//! Files that are wrong in themselves: syntax, keys, types, units.

use super::{errors, load, valid};

const EVERYTHING: &str = r#"runtime:
  thread: 4
admin:
  address: 9901
logging:
  level: verbose
  access: { sample: 0.5, slow: 1 s }
drain:
  delay: 5 seconds
  timeout: soon
limits:
  max_conections: 10
  max_request_body: 10MB
  min_send_rate: 4KiB
listeners:
  - name: inbound
    adress: 0.0.0.0:8080
    protocols: [http1, h3]
  - name: egress
    address: 127.0.0.1:15001
    direction: outwards
    trusted_proxies: [10.0.0.0/33]
upstreams:
  app:
    endpoints: 127.0.0.1:3000
    pool: { max_idle: many, max_idle: 5 }
defaults:
  timeouts: { totl: 15s }
routes:
  - name: a
    match: { listener: inbound, methods: GET }
    stream: yes
    timeouts: { connect: -1s }
    idempotency: { required: true }
  - match: { listener: egress }
"#;

#[test]
fn every_error_of_a_file_at_once() {
    let expected = [
        "2:3: runtime.thread: unknown key; did you mean threads?",
        "4:12: admin.address: expected host:port, found 9901",
        "6:10: logging.level: expected off, error, warn, info, debug or trace, found verbose",
        "7:21: logging.access.sample: expected a ratio between 0% and 100%, found 0.5",
        "7:32: logging.access.slow: expected a duration such as 250ms, 5s, 1m or 24h, found 1 s",
        "9:10: drain.delay: expected a duration such as 250ms, 5s, 1m or 24h, found 5 seconds",
        "10:12: drain.timeout: expected auto or a duration such as 250ms, 5s, 1m or 24h, found soon",
        "12:3: limits.max_conections: unknown key; did you mean max_connections?",
        "13:21: limits.max_request_body: expected a size such as 512, 64KiB, 1MiB or 2GiB, found 10MB",
        "14:18: limits.min_send_rate: expected bytes in a time such as 4KiB/1s, found 4KiB",
        "16:5: listeners[0].direction: required where there are several listeners: inbound or outbound; a drain closes \
         inbound first",
        "17:5: listeners[0].adress: unknown key; did you mean address?",
        "18:24: listeners[0].protocols[1]: expected http1, h2c or h2, found h3; did you mean h2?",
        "21:16: listeners[1].direction: expected inbound or outbound, found outwards",
        "22:23: listeners[1].trusted_proxies[0]: expected a network such as 10.0.0.0/8, or an address, found 10.0.0.0/33",
        "25:16: upstreams.app.endpoints: expected a list, found 127.0.0.1:3000",
        "26:23: upstreams.app.pool.max_idle: expected a whole number up to 4294967295, found many",
        "26:29: upstreams.app.pool.max_idle: the same key twice; the first is on line 26",
        "28:15: defaults.timeouts.totl: unknown key; did you mean total?",
        "31:42: routes[0].match.methods: expected a list, found GET",
        "32:13: routes[0].stream: expected true or false, found yes; write true",
        "33:26: routes[0].timeouts.connect: expected a duration such as 250ms, 5s, 1m or 24h, found -1s",
        "34:18: routes[0].idempotency.owner: required, but missing",
        "35:5: routes[1].name: required, but missing",
    ];
    let found = errors(EVERYTHING);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// A good file with one line in the place of another, so that only that line is wrong.
fn with(section: &str) -> String {
    let mut text = String::from("");
    for (key, value) in [
        ("listeners:", "listeners: [{ name: in, address: \"127.0.0.1:80\" }]\n"),
        ("upstreams:", "upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }\n"),
    ] {
        if !section.contains(key) {
            text.push_str(value);
        }
    }
    text.insert_str(0, &format!("{}\n", section.trim_end()));
    text
}

/// Malformed sections, the one error each gives, and whether a JSON Schema can see it.
const MALFORMED: &[(&str, &str, bool)] = &[
    ("drain: 5s", "1:8: drain: expected a section, found 5s", true),
    ("drain: [5s]", "1:8: drain: expected a section, found a list", true),
    ("drain: off", "1:8: drain: expected a section, found off", true),
    ("drain: { allow_cut: on }", "1:21: drain.allow_cut: expected true or false, found on; write true", true),
    ("drain: { allow_cut: off }", "1:21: drain.allow_cut: expected true or false, found off; write false", true),
    ("drain: { delay: 5 }", "1:17: drain.delay: expected a duration such as 250ms, 5s, 1m or 24h, found 5", true),
    (
        "runtime: { threads: \"4\" }",
        "1:21: runtime.threads: expected auto or a whole number up to 65535, found \"4\"",
        true,
    ),
    (
        "runtime: { threads: 1.5 }",
        "1:21: runtime.threads: expected auto or a whole number up to 65535, found 1.5",
        true,
    ),
    ("runtime: { threads: 0 }", "1:21: runtime.threads: expected auto or a number from 1 to 256, found 0", true),
    (
        "runtime: { threads: true }",
        "1:21: runtime.threads: expected auto or a whole number up to 65535, found true",
        true,
    ),
    (
        "limits: { keepalive_requests: -1 }",
        "1:31: limits.keepalive_requests: expected a whole number up to 4294967295, found -1",
        true,
    ),
    (
        "limits: { keepalive_requests: 99999999999 }",
        "1:31: limits.keepalive_requests: expected a whole number up to 4294967295, found 99999999999",
        true,
    ),
    ("logging: { level: on }", "1:19: logging.level: expected off, error, warn, info, debug or trace, found on", true),
    ("logging: { format: jsn }", "1:20: logging.format: expected json or text, found jsn; did you mean json?", true),
    ("credentials: authorization", "1:14: credentials: expected a list, found authorization", true),
    ("credentials: [[a]]", "1:15: credentials[0]: expected text, found a list", true),
    ("admin: { probes: { a: b } }", "1:18: admin.probes: expected text, found a section", true),
    ("tracing: { sample: 10% }", "1:1: tracing: unknown key; known here: runtime, admin, ", true),
    ("stores: { folder: /var/lib/outboard }", "1:11: stores.folder: unknown key; known here: memory, data_dir, ", true),
    (
        "stores: { memory: 64MB }",
        "1:19: stores.memory: expected a size such as 512, 64KiB, 1MiB or 2GiB, found 64MB",
        true,
    ),
    ("listeners: [{ name: in }]", "1:13: listeners[0].address: required, but missing", true),
    ("listeners: []", "1:12: listeners: expected at least one listener", true),
    (
        "listeners: [{ name: in, address: \"a:1\", tls: on }]",
        "1:46: listeners[0].tls: expected a section, found on",
        true,
    ),
    (
        "listeners: [{ name: in, address: \"a:1\", tls: { cert_file: a } }]",
        "1:46: listeners[0].tls.key_file: required, but missing",
        true,
    ),
    (
        "listeners: [{ name: in, address: \"a:1\", proxy_protocol: on }]",
        "1:57: listeners[0].proxy_protocol: expected off, optional or required, found on",
        true,
    ),
    ("upstreams: { app: {} }", "1:19: upstreams.app.endpoints: required, but missing", true),
    ("upstreams:\n  app:", "2:6: upstreams.app.endpoints: required, but missing", true),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], load_balance: random } }",
        "1:55: upstreams.app.load_balance: expected round_robin, least_request, peak_ewma or consistent_hash, found random",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: { interval: 5s } } }",
        "1:55: upstreams.app.health_check.path: required, but missing",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: { path: /, expect_status: [200, 600] } } }",
        "1:87: upstreams.app.health_check.expect_status[1]: expected a status from 100 to 599, or a range such as 200-399, \
         found 600",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: { path: /, expect_status: [2xx] } } }",
        "expect_status[0]: expected a status from 100 to 599, or a range such as 200-399, found 2xx",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: { path: /, expect_status: [399-200] } } }",
        "expect_status[0]: expected a status from 100 to 599, or a range such as 200-399, found 399-200",
        false,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: { path: /, expect_status: { from: 200 } } } }",
        "expect_status: expected a list of statuses such as [200-399] or [200, 204], found a section",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], health_check: on } }",
        "upstreams.app.health_check: expected a section, found on",
        true,
    ),
    (
        "upstreams: { app: { endpoints: [\"a:1\"], outlier_detection: { max_ejected: 0.5 } } }",
        "outlier_detection.max_ejected: expected a ratio between 0% and 100%, found 0.5",
        true,
    ),
    (
        "routes: [{ name: a, headers: { request: { set: { x-a: } } } }]",
        "1:53: routes[0].headers.request.set.x-a: expected text, found nothing",
        true,
    ),
    (
        "routes: [{ name: a, cache: { negative_ttl: { 200: 1s } } }]",
        "1:46: routes[0].cache.negative_ttl.200: expected a status between 400 and 599, found 200",
        true,
    ),
    (
        "routes: [{ name: a, compression: { levels: { gzip: 10 } } }]",
        "1:52: routes[0].compression.levels.gzip: expected a level from 1 to 9, found 10",
        true,
    ),
    (
        "routes: [{ name: a, compression: { encodings: [lz4] } }]",
        "1:48: routes[0].compression.encodings[0]: expected zstd, br or gzip, found lz4",
        true,
    ),
    ("drain: &d { delay: 1s }", "1:8: drain: anchors and aliases are not read", false),
    ("drain: { <<: { delay: 1s } }", "1:10: drain.<<: merge keys are not read: use `defaults`", false),
    ("drain: !x { delay: 1s }", "1:8: drain: tags are not read", false),
    ("routes:\n  - name: a\n    match: { host: *.example.com }", "3:20: routes[0].match.host: not valid YAML:", false),
    ("routes:\n  - name: a\n    match: { path: /v1/{id} }", ": not valid YAML:", false),
    ("drain:\n\tdelay: 1s", ": not valid YAML:", false),
    ("---\na: 1\n---\nb: 1", "expected one document, found a second", false),
];

#[test]
fn each_malformed_file_has_its_one_error() {
    for (section, expected, schema) in MALFORMED {
        let text = with(section);
        let found = errors(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{section}\n{found:#?}\nexpected {expected}");
        if *schema {
            assert!(valid(&text).is_err(), "the schema takes {section}");
        }
    }
}

#[test]
fn an_alias_says_quote_it() {
    for text in
        ["match: { host: *.example.com }", "match:\n      host: *.example.com", "match: { headers: { x-a: * } }"]
    {
        let found = errors(&with(&format!("routes:\n  - name: a\n    {text}")));
        assert!(
            found.len() == 1 && found[0].contains("*: quote it") || found[0].contains("is an alias: quote it"),
            "{found:?}"
        );
    }
}

#[test]
fn files_without_a_configuration() {
    for (text, expected) in [
        ("", "1:1: expected a configuration, found an empty file"),
        ("# only a comment\n", "1:1: expected a configuration, found an empty file"),
        ("---\n", "1:1: expected a configuration, found an empty file"),
        ("[]", "1:1: expected a section, found a list"),
        ("hello", "1:1: expected a section, found hello"),
        ("a: 1\u{0}\nb: 2", "1:5: expected text, found a NUL byte"),
    ] {
        let found = errors(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text:?}: {found:?}");
    }
    let found = errors("drain: { delay: 1s }");
    assert_eq!(found, ["1:1: listeners: required, but missing"]);
    let text = load(&"x".repeat((1 << 20) + 1)).unwrap_err().to_string();
    assert_eq!(text, "f.yaml:1:1: expected a file of at most 1MiB");
    let missing = outboard::config::load_file(std::path::Path::new("/nowhere.yaml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere.yaml: cannot be read: no such file"), "{missing}");
}

#[test]
fn what_is_found_is_cut() {
    let found = errors(&with(&format!("drain: {{ delay: \"{}\" }}", "s".repeat(500))));
    assert!(found[0].len() < 200 && found[0].ends_with("...\""), "{found:?}");
}

#[test]
fn a_wrong_value_in_defaults_is_told_once_and_there() {
    let found = errors(&with(
        "defaults:\n  timeouts: { connect: 0s }\nroutes: [{ name: a, match: { path: /a } }, { name: b }]",
    ));
    assert_eq!(found, ["2:24: defaults.timeouts.connect: expected more than zero, found 0s"]);
}
