//! `cache`, `invalidates` and `stores`: what could not work, and what keeps an answer for longer than anybody wants.

use super::policies::one;
use super::{errors, load, loaded, valid};

const HEAD: &str = "listeners: [{ name: in, address: \"127.0.0.1:80\" }]\n\
                    upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }\n";

/// A file with these routes or other sections.
fn file(more: &str) -> String {
    format!("{HEAD}{more}\n")
}

/// A route that takes GET at a path with a parameter, with this inside.
fn route(inside: &str) -> String {
    file(&format!("routes:\n  - name: get\n    match: {{ path: \"/m/{{id}}\", methods: [GET] }}\n    {inside}"))
}

/// The same with this in its cache.
fn cache(inside: &str) -> String {
    route(&format!("cache: {{ {inside} }}"))
}

/// A route that changes things, with this in its `invalidates`, beside one that stores.
fn changes(inside: &str) -> String {
    file(&format!(
        "routes:\n  - {{ name: list, match: {{ path: /p, methods: [GET] }}, cache: {{ tags: {{ add: [\"p:{{header:x-m}}\"] }} }} }}\n  \
         - {{ name: plain, match: {{ path: /plain, methods: [GET] }} }}\n  - name: pay\n    \
         match: {{ path: \"/p/{{id}}/{{*rest}}\", methods: [POST] }}\n    invalidates: {{ {inside} }}"
    ))
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).warnings.iter().map(|w| w.to_string().trim_start_matches("f.yaml:").to_owned()).collect()
}

#[track_caller]
fn warns(text: &str, expected: &str) {
    let found = warnings(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
    valid(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
}

#[track_caller]
fn silent(text: &str) {
    assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
    valid(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
}

#[test]
fn a_cache_that_could_not_work() {
    for (inside, expected) in [
        ("freshnes: standard", "5:"),
        ("freshness: forced", "freshness: expected standard or override, found forced"),
        ("freshness: override", "6:25: routes[0].cache.freshness: override requires ttl: how long answers are fresh"),
        ("freshness: override, ttl: off", "freshness: override requires ttl"),
        ("freshness: override, ttl: 0s", "ttl: expected more than zero, found 0s"),
        ("ttl: 5", "ttl: expected a duration such as 250ms, 5s, 1m or 24h, found 5"),
        ("max_object: 0", "max_object: expected more than zero, found 0"),
        (
            "max_object: 65MiB",
            "max_object: 65MiB is more than stores.memory 64MiB (its default): so much is never stored",
        ),
        ("vary_by: [heder:x-m]", "vary_by[0]: expected client_ip, header:NAME"),
        ("vary_by: [\"header:x-m\", \"header:X-M\"]", "vary_by[1]: the same part twice"),
        ("vary_by: [\"path:ids\"]", "vary_by[0]: no such parameter in routes[0].match.path (line 5): /m/{id}"),
        ("vary_by: [\"jwt:sub\"]", "vary_by[0]: requires routes[0].jwt, which route get does not have"),
        ("ignore_query: [\"\"]", "ignore_query[0]: expected the name of a parameter of the query, or the beginning"),
        ("ignore_query: [\"a*b\"]", "ignore_query[0]: expected the name"),
        ("ignore_query: [\"a=1\"]", "ignore_query[0]: expected the name"),
        ("ignore_query: [a, \"b*\", a]", "ignore_query[2]: the same name twice"),
        ("partition: per_user", "partition: expected per_credential, never_store or standard, found per_user"),
        ("stale_while_revalidate: 0s", "stale_while_revalidate: expected more than zero, or off, found 0s"),
        ("stale_if_error: 0s", "stale_if_error: expected more than zero, or off, found 0s"),
        ("coalesce: off", "coalesce: expected a section, found off"),
        ("coalesce: { wait: 0s }", "coalesce.wait: expected more than zero, found 0s"),
        (
            "negative_ttl: { 200: 5s }, tags: { add: [a] }",
            "negative_ttl.200: expected a status between 400 and 599, found 200",
        ),
        ("negative_ttl: { 4040: 5s }, tags: { add: [a] }", "negative_ttl.4040: expected a status between 400 and 599"),
        (
            "negative_ttl: { missing: 5s }, tags: { add: [a] }",
            "negative_ttl.missing: expected a status between 400 and 599",
        ),
        ("negative_ttl: { 404: 0s }, tags: { add: [a] }", "negative_ttl.404: expected more than zero, found 0s"),
        (
            "negative_ttl: { 401: 5s }, tags: { add: [a] }",
            "negative_ttl.401: expected an error that is the same for whoever asks, such as 404, 405, 410 or 501, found 401",
        ),
        ("negative_ttl: { 429: 5s }, tags: { add: [a] }", "negative_ttl.429: expected an error that is the same"),
        (
            "negative_ttl: { 404: 5s }",
            "6:28: routes[0].cache.negative_ttl: needs cache.tags, or a route that invalidates get: what was not there is \
             created by a request that nothing connects with this answer",
        ),
        ("tags: { header: \"a b\" }", "tags.header: expected the name of a header, found \"a b\""),
        ("tags: { add: [\"\"] }", "tags.add[0]: expected a text that is not empty"),
        ("tags: { add: [\"a b\"] }", "tags.add[0]: expected a tag without spaces, found \"a b\""),
        ("tags: { add: [a, a] }", "tags.add[1]: the same tag twice"),
        ("tags: { add: [\"m:{heder:x}\"] }", "constant after the { at character 3, found \"m:{heder:x}\""),
        ("tags: { add: [\"m:{header:x\"] }", "tags.add[0]: expected } after the { at character 3"),
        ("tags: { add: [\"m:{path:ids}\"] }", "tags.add[0]: no such parameter in routes[0].match.path (line 5)"),
        ("tags: { add: [\"m:{jwt:sub}\"] }", "tags.add[0]: requires routes[0].jwt"),
        ("tags: { ad: [a] }", "tags.ad: unknown key; did you mean add?"),
        ("warm: [m/1]", "warm[0]: expected a path that starts with /, of visible ASCII; a query may follow, found m/1"),
        ("warm: [\"http://a/m/1\"]", "warm[0]: expected a path that starts with /"),
        ("warm: [/m/1, /m/1]", "warm[1]: the same path twice"),
        ("warm: [/m]", "warm[0]: route get does not take it: its path is /m/{id} (line 5)"),
        ("mode: off", "mode: expected enforce or observe, found off"),
    ] {
        let text = cache(inside);
        if expected == "5:" {
            one(&text, "routes[0].cache.freshnes: unknown key; did you mean freshness?");
        } else {
            one(&text, expected);
        }
    }
}

#[test]
fn a_cache_that_works() {
    for inside in [
        "",
        "ttl: 0s",
        "freshness: override, ttl: 5m",
        "vary_by: [client_ip, \"path:id\", \"header:x-m\"], ignore_query: [\"utm_*\", _]",
        "negative_ttl: { 404: 5s, \"410\": 1m }, tags: { header: surrogate-key }",
        "stale_while_revalidate: off, stale_if_error: 1m",
        "stale_if_error: 1h, partition: never_store",
        "tags: { add: [\"m:{path:id}\", \"{{x}}\"] }",
        "warm: [/m/1, \"/m/2?a=b\"]",
        "partition: never_store, mode: observe, max_object: 64MiB",
    ] {
        silent(&cache(inside));
    }
    silent(&route("jwt: { jwks_file: a }\n    cache: { vary_by: [\"jwt:sub\"], tags: { add: [\"{jwt:sub}\"] } }"));
}

#[test]
fn a_route_that_can_store_nothing_has_no_cache() {
    let with = |inside: &str| file(&format!("routes:\n  - name: r\n    {inside}"));
    one(
        &with("match: { methods: [POST, HEAD] }\n    cache: {}"),
        "6:12: routes[0].cache: only answers to GET are stored, which route r does not take (methods, line 5)",
    );
    one(
        &with("stream: true\n    cache: {}"),
        "6:12: routes[0].cache: an answer that may go on for ever is not stored: stream is true (line 5)",
    );
    silent(&with("cache: {}"));

    // What came from `defaults` is left out there instead.
    let text = file(
        "defaults: { cache: { ttl: 1m, tags: { header: x-tags, add: [a] } } }\nroutes:\n  - { name: a, match: { path: /a, methods: [GET] } }\n  \
         - { name: b, match: { path: /b, methods: [POST] } }\n  - { name: c, match: { path: /c }, stream: true }\n  \
         - { name: d, match: { path: /d }, cache: off }\n  - { name: e, match: { path: /e }, cache: { max_object: 2MiB } }\n  \
         - { name: f, match: { path: /f }, cache: { ttl: off, tags: { header: off } } }",
    );
    silent(&text);
    let config = load(&text).unwrap();
    let ttls = config.routes[..5].iter().map(|r| r.cache.as_ref().map(|c| c.ttl.unwrap().to_string()));
    assert_eq!(ttls.collect::<Vec<_>>(), [Some("1m".to_owned()), None, None, None, Some("1m".to_owned())]);
    let last = config.routes[5].cache.as_ref().unwrap();
    assert_eq!((last.ttl, last.tags.header.as_ref(), last.tags.add.len()), (None, None, 1));
    let written = serde_yaml::to_string(&config).unwrap();
    assert_eq!(load(&written).unwrap_or_else(|e| panic!("{e}\n{written}")), config);
}

#[test]
fn the_store_must_hold_what_routes_store() {
    let with = |memory: &str, cache: &str| {
        file(&format!("stores: {{ memory: {memory} }}\nroutes: [{{ name: all, cache: {cache} }}]"))
    };
    one(&with("0", "{}"), "3:19: stores.memory: expected more than zero, found 0");
    one(
        &with("512KiB", "{}"),
        "routes[0].cache.max_object: 1MiB is more than stores.memory 512KiB (line 3): so much is never stored",
    );
    silent(&with("512KiB", "{ max_object: 512KiB }"));
    silent(&with("0", "off"));
}

#[test]
fn what_is_stored_for_longer_or_for_more_than_is_wanted() {
    warns(
        &cache("stale_if_error: 10m"),
        "6:30: routes[0].cache.stale_if_error: 10m holds for requests without a credential; those with one are served stale \
         for 1m at most",
    );
    warns(
        &cache("partition: standard"),
        "routes[0].cache.partition: answers to requests with a credential are given to everybody where the application says \
         public, s-maxage or must-revalidate (RFC 9111, 3.5)",
    );
    warns(
        &cache("ignore_query: [\"*\"]"),
        "ignore_query[0]: the whole query is ignored: requests that differ in it alone get the same answer",
    );
    warns(
        &cache("coalesce: { wait: 15s }"),
        "coalesce.wait: 15s is not less than timeouts.total 15s (its default): who waits that long is answered with 504",
    );
    let nobody = format!("credentials: []\n{}", cache(""));
    warns(&nobody, "7:12: routes[0].cache: no header says who is asking (credentials is empty, line 1)");
    silent(&format!("credentials: []\n{}", cache("partition: never_store")));
}

#[test]
fn what_is_fetched_at_start_must_be_taken_by_the_route() {
    let with = |matches: &str, warm: &str| {
        file(&format!("routes:\n  - {{ name: r, match: {{ {matches} }}, cache: {{ warm: [{warm}] }} }}"))
    };
    silent(&with("", "/"));
    silent(&with("query: { a: \"1\", b: \"*\" }", "\"/x?b=&a=1\""));
    one(
        &with("query: { a: \"1\" }", "\"/x?a=2\""),
        "warm[0]: route r does not take it: it lacks the parameter a of match.query",
    );
    one(
        &with("headers: { x-a: \"1\" }", "/x"),
        "cache.warm: route r takes requests with certain headers only (line 4)",
    );
    one(&with("path: \"/a/{*rest}\"", "/a"), "warm[0]: route r does not take it: its path is /a/{*rest} (line 4)");
}

#[test]
fn what_ends_stored_answers() {
    for (inside, expected) in [
        ("", "routes[2].invalidates: expected tags, paths or routes"),
        ("tag: [a]", "invalidates.tag: unknown key; did you mean tags?"),
        ("tags: [\"p:{header:x-m\"]", "tags[0]: expected } after the { at character 3"),
        ("tags: [\"p:{path:no}\"]", "tags[0]: no such parameter in routes[2].match.path (line 7): /p/{id}/{*rest}"),
        ("tags: [\"p:{jwt:sub}\"]", "tags[0]: requires routes[2].jwt, which route pay does not have"),
        ("paths: [p]", "paths[0]: expected a path that starts with /, found p"),
        ("paths: [\"/p/{*rest}/a\"]", "paths[0]: expected {*rest} at the end only"),
        ("paths: [\"/p/{path:no}\"]", "paths[0]: no such parameter in routes[2].match.path (line 7)"),
        ("paths: [\"/p/x-{pth:id}\"]", "constant after the { at character 6, found \"/p/x-{pth:id}\""),
        ("paths: [\"/p/{path:rest}\"]", "paths[0]: {path:rest} is the rest of a path and may hold several segments"),
        ("routes: [lst]", "8:29: routes[2].invalidates.routes[0]: no such route with a cache: lst; did you mean list?"),
        ("routes: [other]", "routes[0]: no such route with a cache: other; known: list"),
        ("routes: [plain]", "routes[0]: route plain (line 5) has no cache: there is nothing to end"),
    ] {
        one(&changes(inside), expected);
    }
    for inside in [
        "routes: [list]",
        "tags: [\"p:{header:x-m}\"]",
        "tags: [\"p:mer_1\", \"{path:id}\"]",
        "paths: [/p, \"/p/{*all}\", \"/p/{any}\", \"/p/{path:id}\", \"/p/a-{query:q}.json\"]",
    ] {
        silent(&changes(inside));
    }
}

#[test]
fn a_tag_that_nothing_files_under() {
    warns(
        &changes("tags: [\"q:{header:x-m}\"]"),
        "8:27: routes[2].invalidates.tags[0]: no route files its answers under such a tag (cache.tags): this ends nothing",
    );
    // What the application names in a header is not known.
    silent(&changes("tags: [\"q:{header:x-m}\"]").replace("add: [\"p:{header:x-m}\"]", "header: surrogate-key"));
}

#[test]
fn a_route_of_safe_methods_ends_nothing() {
    let with = |method: &str| {
        file(&format!(
            "routes:\n  - {{ name: list, match: {{ path: /p, methods: [GET] }}, cache: {{ tags: {{ add: [a] }} }} }}\n  \
             - {{ name: r, match: {{ path: /r, methods: [{method}] }}, invalidates: {{ routes: [list] }} }}"
        ))
    };
    warns(&with("GET, OPTIONS"), "routes[1].invalidates: does nothing: every method of route r is safe (line 5)");
    silent(&with("PUT, GET"));
    silent(&file(
        "defaults: { invalidates: { routes: [list] } }\nroutes:\n  - { name: list, match: { path: /p, methods: [GET] }, cache: {} }\n  \
         - { name: rest }",
    ));
}

#[test]
fn what_is_stored_and_changed_by_others_must_be_ended_by_somebody() {
    let with = |cache: &str, post: &str| {
        file(&format!(
            "routes:\n  - {{ name: get, match: {{ path: \"/p/{{id}}\", methods: [GET] }}, cache: {{ {cache} }} }}\n  \
             - {{ name: pay, match: {{ path: /p, methods: [POST] }}{post} }}"
        ))
    };
    warns(
        &with("freshness: override, ttl: 5m", ""),
        "4:69: routes[0].cache: GET /p/{id} is stored for 5m and no route invalidates it: a change by route pay (line 5) is not \
         seen before; say so there, invalidates: { routes: [get] }",
    );
    warns(
        &with("ttl: 1m", ""),
        "is stored for as long as the application says, else for 1m and no route invalidates it",
    );
    warns(&with("", ""), "is stored for as long as the application says and no route invalidates it");
    for post in [
        ", invalidates: { routes: [get] }",
        ", invalidates: { paths: [\"/p/{*rest}\"] }",
        ", invalidates: { paths: [\"/p/{header:x-id}\"] }",
    ] {
        silent(&with("freshness: override, ttl: 5m", post));
        silent(&with("negative_ttl: { 404: 5s }", post));
    }
    warns(&with("ttl: 1m", ", invalidates: { paths: [/p] }"), "no route invalidates it");
    silent(&with("ttl: 1m, tags: { add: [\"p:{path:id}\"] }", ""));
    silent(&with("ttl: 1m, tags: { header: surrogate-key }", ""));
    // An unsafe request ends what is stored under its own URL.
    silent(&file(
        "routes:\n  - { name: get, match: { path: \"/p/{id}\", methods: [GET] }, cache: { ttl: 1m } }\n  \
                  - { name: put, match: { path: \"/p/{p}\", methods: [PUT] } }",
    ));
    silent(&file("routes: [{ name: all, cache: { freshness: standard, partition: never_store } }]"));
    // Another application's rows are not ours.
    silent(
        &with("ttl: 1m", ", upstream: other")
            .replace("{ app: ", "{ other: { endpoints: [\"127.0.0.1:3001\"] }, app: ")
            .replace("{ name: get,", "{ name: get, upstream: app,"),
    );
}

#[test]
fn nothing_is_said_of_what_could_not_be_read() {
    for (text, expected) in [
        (cache("ttl: soon, freshness: override"), 1),
        (cache("tags: { add: 5 }, negative_ttl: { 404: 5s }"), 1),
        (changes("tags: [\"q:a\"], paths: 7"), 1),
        (changes("routes: [gone]").replace("name: list,", "nam: list,"), 2),
    ] {
        let found = errors(&text);
        assert_eq!(found.len(), expected, "{found:#?}\n{text}");
    }
}

#[test]
fn a_cache_is_taken_out_with_everything_else() {
    let mut config = load(&changes("routes: [list]")).unwrap();
    config.bypass();
    assert!(config.routes.iter().all(|r| r.cache.is_none() && r.invalidates.is_none() && r.compression.is_none()));
}
