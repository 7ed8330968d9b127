//! Idempotency keys and their stores: what would charge twice, or give an answer to somebody else, is said.

use super::loaded;
use super::policies::{one, route};

const OWNER: &str = "owner: ['header:x-merchant-id']";

fn keys(more: &str) -> String {
    route(&format!("idempotency: {{ {OWNER}, {more} }}"))
}

/// The warnings, without those that every file with local records has.
fn warnings(text: &str) -> Vec<String> {
    let all = loaded(text).warnings.into_iter().map(|w| w.to_string());
    all.filter(|w| !w.contains("store: local holds only") && !w.contains("in memory alone")).collect()
}

#[track_caller]
fn warns(text: &str, expected: &str) {
    let found = warnings(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (inside, expected) in [
        ("ttl: 0s", "idempotency.ttl: expected more than zero, found 0s"),
        ("ttl: 20s, lease: 1s", "idempotency.ttl: 20s is not more than timeouts.total 15s (its default) and 5s"),
        ("ttl: 1m, lease: 2m", "idempotency.lease: 2m is more than ttl 1m (line"),
        ("lease: 0s", "idempotency.lease: expected more than zero"),
        ("header: 'a b'", "idempotency.header: expected the name of a header, found \"a b\""),
        ("missing_owner: ignore", "idempotency.missing_owner: expected"),
        ("store: disk", "idempotency.store: expected"),
        ("store: redis", "idempotency.store: redis needs stores.redis: { url: ... }"),
        ("unknown_outcome: retry", "unknown_outcome: expected refuse, forward or a section with `ask`, found retry"),
        ("unknown_outcome: { ask: { path: v1 } }", "ask.path: expected a path from its / on"),
        ("unknown_outcome: { ask: { path: /v1 } }", "ask.path: expected {key} in it"),
        ("unknown_outcome: { ask: { path: '/{key}', found: 404 } }", "ask.not_found: the same status as found"),
        ("unknown_outcome: { ask: { path: '/{key}', found: 99 } }", "ask.found: expected a status from 200 to 599"),
        ("outcomes: { released: [200] }", "outcomes.released[0]: expected a status from 400 to 599, found 200"),
        ("outcomes: { released: [408] }", "outcomes.released[0]: 408 stands in unknown as well"),
        ("max_request: 0", "idempotency.max_request: expected more than zero"),
        ("owners: []", "idempotency.owners: unknown key; did you mean owner?"),
    ] {
        one(&keys(inside), expected);
    }
    one(&route("idempotency: { owner: [] }"), "idempotency.owner: expected whose keys these are");
    one(&route("idempotency: { required: true }"), "idempotency.owner: required");
    one(&route("idempotency: { owner: ['jwt:sub'] }"), "idempotency.owner[0]: requires routes[0].jwt");
    one(&route("idempotency: { owner: ['path:id'] }"), "idempotency.owner[0]: no such parameter");
    one(
        &(keys("missing_owner: credential") + "credentials: []\n"),
        "idempotency.missing_owner: credential needs credentials",
    );
}

#[test]
fn what_would_charge_twice_or_tell_another_is_warned_of() {
    for (inside, expected) in [
        ("unknown_outcome: forward", "sends again what may have been carried out"),
        ("replay_to: owner", "whoever knows a key and can write the owner's header gets the answer"),
        ("outcomes: { released: [401, 500] }", "after a 500 nobody knows"),
        ("in_flight: { wait: 20s }", "20s is more than timeouts.total 15s"),
        ("max_request: 20MiB", "20MiB is more than max_request_body 10MiB"),
    ] {
        warns(&keys(inside), expected);
    }
    warns(&route("idempotency: { owner: ['header:authorization'] }"), "changes when a token or a session is renewed");
    warns(&route(&format!("match: {{ methods: [GET] }}\n    idempotency: {{ {OWNER} }}")), "is of no use");
    let removed = format!("headers: {{ request: {{ remove: [idempotency-key] }} }}\n    idempotency: {{ {OWNER} }}");
    warns(&route(&removed), "the application does not get the key");
    assert_eq!(warnings(&keys("")), Vec::<String>::new());
    assert_eq!(warnings(&route("idempotency: { owner: ['constant'], replay_to: owner }")), Vec::<String>::new());
}

#[test]
fn what_it_means_where_the_records_are_is_said_in_plain_words() {
    let said = |text: &str| -> Vec<String> { loaded(text).warnings.iter().map(ToString::to_string).collect() };
    let memory = said(&keys(""));
    assert_eq!(memory.len(), 2, "{memory:#?}");
    assert!(memory[0].contains("behind several replicas") && memory[0].contains("a retry is a second charge"));
    assert!(memory[1].contains("in memory alone (stores.data_dir is not set)"));
    let clear = said(&(keys("") + "stores: { data_dir: /var/lib/outboard }\n"));
    assert!(clear.len() == 2 && clear[1].contains("are kept in clear: stores.encryption_keys is empty"), "{clear:#?}");
    let keyed = "stores: { data_dir: /var/lib/outboard, encryption_keys: [{ id: k1, file: /k1 }] }\n";
    assert_eq!(said(&(keys("") + keyed)).len(), 1);
    let redis = "stores: { redis: { url: 'redis://a:1' }, encryption_keys: [{ id: k1, file: /k1 }] }\n";
    assert_eq!(said(&(keys("store: redis") + redis)), Vec::<String>::new());
    let upgrade = said(&(keys("") + "runtime: { upgrade_socket: /run/u }\n"));
    assert!(upgrade.iter().any(|w| w.contains("run --upgrade is refused")), "{upgrade:#?}");
}

#[test]
fn stores_that_are_none_are_refused() {
    for (stores, expected) in [
        ("max_records: 0", "stores.max_records: expected more than zero"),
        ("redis: {}", "stores.redis: expected url, or url_file"),
        ("redis: { url: 'http://:secret@a' }", "stores.redis.url: expected redis://host:port/database"),
        ("redis: { url: 'redis://a', url_file: /u }", "stores.redis.url_file: expected one of url and url_file"),
        ("redis: { url: 'redis://a', records_timeout: 0s }", "stores.redis.records_timeout: expected more than zero"),
        ("encryption_keys: [{ id: 'a b', file: /k }]", "stores.encryption_keys[0].id: expected a name of at most 32"),
        (
            "encryption_keys: [{ id: a, file: /k }, { id: a, file: /l }]",
            "stores.encryption_keys[1].id: the same id twice",
        ),
        ("encryption_keys: [{ id: a }]", "file: required"),
    ] {
        let text = keys("store: local") + &format!("stores: {{ {stores} }}\n");
        one(&text, expected);
        assert!(!super::errors(&text)[0].contains("secret"));
    }
}

#[test]
fn a_password_in_a_url_is_never_shown() {
    let text = keys("store: redis") + "stores: { redis: { url: 'redis://user:pa:ss@w@host:1/0' } }\n";
    let shown = serde_yaml::to_string(&loaded(&text).config.masked()).unwrap();
    assert!(shown.contains("redis://***@host:1/0") && !shown.contains("pa:ss"), "{shown}");
}
