//! `rate_limits` and `jwt`: what makes no sense on the route that they stand on.

use super::{errors, load, loaded};

const HEAD: &str = "listeners: [{ name: in, address: \"127.0.0.1:80\" }]\n\
                    upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }\n";

/// A file whose one route has this inside.
fn route(inside: &str) -> String {
    format!("{HEAD}routes:\n  - {{ name: r, {inside} }}\n")
}

/// The same with one limit.
fn limit(inside: &str) -> String {
    route(&format!("rate_limits: [{{ {inside} }}]"))
}

#[track_caller]
fn one(text: &str, expected: &str) {
    let found = errors(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
}

#[test]
fn a_limit_on_its_own() {
    for (inside, expected) in [
        ("key: [client_ip], limit: 1/1s", "4:30: routes[0].rate_limits[0].name: required, but missing"),
        ("name: a, limit: 1/1s", "rate_limits[0].key: required, but missing"),
        ("name: a, key: [client_ip]", "rate_limits[0].limit: required, but missing"),
        ("name: a, key: [client_ip], limit: 100", "rate_limits[0].limit: expected "),
        ("name: a, key: [client_ip], limit: 0/1s", "rate_limits[0].limit: expected "),
        ("name: a, key: [client_ip], limit: 1/0s", "rate_limits[0].limit: expected "),
        ("name: a, key: client_ip, limit: 1/1s", "rate_limits[0].key: expected a list, found client_ip"),
        ("name: \"a b\", key: [client_ip], limit: 1/1s", "rate_limits[0].name: expected a name of at most 64 letters"),
        ("name: a, key: [], limit: 1/1s", "rate_limits[0].key: expected at least one part, such as client_ip"),
        (
            "name: a, key: [ip], limit: 1/1s",
            "rate_limits[0].key[0]: expected client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM, jwt:CLAIM or \
             constant, found ip",
        ),
        ("name: a, key: [client_ip, client_ip], limit: 1/1s", "rate_limits[0].key[1]: the same part twice"),
        (
            "name: a, key: [client_ip], limit: 1/1s, algorithm: token_bucket, burst: 0",
            "rate_limits[0].burst: expected more than zero, found 0",
        ),
        (
            "name: a, key: [client_ip], limit: 1/1s, algorithm: leaky_bucket",
            "rate_limits[0].algorithm: expected sliding_window or token_bucket, found leaky_bucket",
        ),
        (
            "name: a, key: [client_ip], limit: 1/1s, missing_key: refused",
            "rate_limits[0].missing_key: expected client_ip, skip or refuse, found refused; did you mean refuse?",
        ),
    ] {
        one(&limit(inside), expected);
    }
}

#[test]
fn two_limits_of_one_name() {
    let two = "rate_limits:\n      - { name: a, key: [client_ip], limit: 1/1s }\n      \
               - { name: a, key: [constant], limit: 1/1s }";
    let text = format!("{HEAD}routes:\n  - name: r\n    {two}\n");
    one(&text, "7:17: routes[0].rate_limits[1].name: the same name as the limit on line 6");
}

#[test]
fn a_parameter_must_be_in_the_path() {
    let with = |path: &str| route(&format!("{path} rate_limits: [{{ name: a, key: [\"path:id\"], limit: 1/1s }}]"));
    for (path, expected) in [
        ("", "rate_limits[0].key[0]: no such parameter: route r has no routes[0].match.path"),
        ("match: { path: /a },", "no such parameter in routes[0].match.path (line 4): /a"),
        ("match: { path: \"/a/{ids}\" },", "no such parameter in routes[0].match.path (line 4): /a/{ids}"),
    ] {
        one(&with(path), expected);
    }
    for path in ["match: { path: \"/a/{id}\" },", "match: { path: \"/a/{*id}\" },"] {
        assert!(load(&with(path)).is_ok(), "{path}");
    }
    one(&with("match: { path: \"/a/{\" },"), "match.path: expected a whole segment");
}

#[test]
fn a_claim_is_believed_of_a_verified_token_only() {
    let key = "rate_limits: [{ name: a, key: [\"jwt:sub\"], limit: 1/1s }]";
    one(
        &route(key),
        "4:47: routes[0].rate_limits[0].key[0]: requires routes[0].jwt, which route r does not have: a claim is believed of a \
         verified token only",
    );
    assert!(load(&route(&format!("jwt: {{ jwks_file: keys.json }}, {key}"))).is_ok());
    one(&route(&format!("jwt: {{ jwks_file: 5, issuer: [] }}, {key}")), "jwt");
    one(&route("jwt: { issuer: a }"), "routes[0].jwt.jwks_file: required, but missing");
    one(&route("jwt: { jwks_file: a, issuer: \"\" }"), "jwt.issuer: expected a text that is not empty; left out: any");
    one(&route("jwt: { jwks_file: a, audience: \"\" }"), "jwt.audience: expected a text that is not empty");
    // The limit comes from `defaults`, the section is switched off here.
    let text = format!(
        "{HEAD}defaults:\n  jwt: {{ jwks_file: keys.json }}\n  {key}\nroutes:\n  - {{ name: r, match: {{ path: /a }} }}\n  \
         - {{ name: s, jwt: off }}\n"
    );
    one(&text, "5:34: defaults.rate_limits[0].key[0]: requires routes[1].jwt, which route s does not have");
}

#[test]
fn an_override_has_the_parts_of_the_key() {
    let with = |key: &str, overrides: &str| {
        limit(&format!("name: a, key: [{key}], limit: 1/1s, overrides: {{ {overrides} }}"))
    };
    let both = "\"header:x-m\", client_ip";
    for (key, overrides, expected) in [
        ("client_ip", "mer_1: 2/1s", "overrides.mer_1: expected an address as the value of client_ip, found mer_1"),
        ("\"header:x-m\"", "\" \": 2/1s", "expected a value of header:x-m, found  "),
        (
            both,
            "mer_1: 2/1s",
            "expected 2 parts joined by a comma, as the key has them: header:x-m,client_ip, found mer_1",
        ),
        (both, "\"mer_1,10.0.0.1,x\": 2/1s", "expected 2 parts joined by a comma"),
        (both, "\"mer_1,\": 2/1s", "expected 2 parts joined by a comma"),
        (both, "\"mer_1,10.0.0\": 2/1s", "expected an address as the value of client_ip"),
        ("\"header:x-m\"", "mer_1: 2", "overrides.mer_1: expected "),
        (
            both,
            "\"mer_1,10.0.0.1\": 2/1s, \"mer_1, ::ffff:10.0.0.1\": 3/1s",
            "overrides.mer_1,10.0.0.1: the same key as mer_1, ::ffff:10.0.0.1",
        ),
    ] {
        one(&with(key, overrides), expected);
    }
    for (key, overrides) in
        [(both, "\"mer_1,10.0.0.1\": 2/1s, \"mer_1,::1\": 3/1s"), ("\"header:x-m\"", "\"a,b\": 2/1s")]
    {
        assert!(load(&with(key, overrides)).is_ok(), "{overrides}");
    }
}

#[test]
fn a_burst_beside_a_window_is_told() {
    let warnings = |inside: &str| {
        let loaded = loaded(&limit(&format!("name: a, key: [client_ip], limit: 100/1m, {inside}")));
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = warnings("burst: 20");
    assert!(
        told.len() == 1 && told[0].contains("rate_limits[0].burst: is only for algorithm: token_bucket"),
        "{told:?}"
    );
    assert_eq!(warnings("burst: 20, algorithm: token_bucket"), Vec::<String>::new());
}

#[test]
fn limits_merge_by_name_and_places_stay_right() {
    let text = format!(
        "{HEAD}defaults:\n  rate_limits:\n    - {{ name: a, key: [client_ip], limit: 1/1s }}\n    \
         - {{ name: b, key: [client_ip], limit: 2/1s }}\nroutes:\n  - name: r\n    rate_limits:\n      \
         - {{ name: a, off: true }}\n      - {{ name: b, limit: 3/1s }}\n      - {{ name: c, key: [ip], limit: 4/1s }}\n"
    );
    one(&text, "12:26: routes[0].rate_limits[2].key[0]: expected client_ip");
    let config = load(&text.replace("[ip]", "[constant]")).unwrap();
    let limits: Vec<_> = config.routes[0].rate_limits.iter().map(|l| format!("{} {}", l.name, l.limit)).collect();
    assert_eq!(limits, ["b 3/1s", "c 4/1s"]);
}

#[test]
fn the_set_of_keys_must_be_there() {
    let text = format!(
        "{HEAD}defaults: {{ jwt: {{ jwks_file: /nowhere/keys.json }} }}\nroutes: [{{ name: r, match: {{ path: /a }} }}, \
         {{ name: s }}]\n"
    );
    let missing = outboard::config::check_files(&load(&text).unwrap(), "f.yaml").to_string();
    assert_eq!(missing.lines().count(), 1, "{missing}");
    assert!(missing.contains("routes[0].jwt.jwks_file: /nowhere/keys.json cannot be read: no such file"), "{missing}");
}
