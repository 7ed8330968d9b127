//! What is left out has the value that the contract says, and `defaults` reach the routes.

use super::{load, loaded};
use outboard::config::{Config, Direction, HostHeader, Protocol};
use outboard::policy::priority::{Priority, Setting};
use outboard::policy::{breaker, cache, queue};

const MINIMAL: &str = "
listeners: [{ name: inbound, address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }
";

fn contract() -> Config {
    let text = include_str!("../data/contract.yaml");
    load(text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_default_is_the_contracts() {
    let (minimal, contract) = (loaded(MINIMAL).config, contract());
    assert_eq!(minimal.runtime, contract.runtime);
    assert_eq!(minimal.admin, contract.admin);
    assert_eq!(minimal.redaction, contract.redaction);
    assert_eq!(minimal.drain, contract.drain);
    assert_eq!(minimal.limits, contract.limits);
    assert_eq!(minimal.stores, contract.stores);
    assert_eq!(minimal.credentials, contract.credentials);
    let mut logging = contract.logging.clone();
    logging.access.request_headers.clear();
    assert_eq!(minimal.logging, logging);
    assert_eq!(minimal.defaults.timeouts, contract.defaults.timeouts);

    let mut listener = contract.listeners[0].clone();
    listener.address = "127.0.0.1:8080".into();
    assert_eq!(minimal.listeners[0].direction(), listener.direction());
    assert_eq!(minimal.listeners[0].protocols(), listener.protocols);
    (listener.direction, listener.protocols) = (None, Vec::new());
    assert_eq!(minimal.listeners[0], listener);

    let mut app = contract.upstreams["app"].clone();
    assert_eq!(Some(minimal.upstreams["app"].host_header()), app.host.take());
    let queue = app.queue.take().unwrap();
    let defaults = queue::Settings::with_limit(queue.max_concurrent);
    assert_eq!(queue, queue::Settings { fair_by: vec!["header:x-merchant-id".into()], ..defaults });
    assert_eq!(app.circuit_breaker.take(), Some(breaker::Settings::default()));
    assert_eq!(minimal.upstreams["app"], app);

    let default = &minimal.routes[0];
    assert_eq!((default.name.as_str(), default.upstream.as_deref()), ("default", Some("app")));
    assert_eq!(default.timeouts, contract.defaults.timeouts);
    assert!(default.headers.request.set.is_empty() && default.rewrite.is_none() && !default.stream);
    assert!(default.max_concurrent.is_none() && default.priority == Setting::Is(Priority::Normal));
    assert!(default.circuit_breaker.is_none() && default.fault.is_none());

    let mut retry = contract.routes[0].retry.clone().unwrap();
    retry.retry_on.truncate(2);
    assert_eq!(default.retry.as_ref(), Some(&retry));
    assert_eq!(minimal.defaults.retry, Some(retry));

    let mut keys = contract.routes[0].idempotency.clone().unwrap();
    let named = |text: &str| loaded(&format!("{MINIMAL}routes: [{{ name: r, idempotency: {{ {text} }} }}]\n")).config;
    assert_eq!(named("owner: ['header:x-merchant-id']").routes[0].idempotency, Some(keys.clone()));
    keys.required = true;
    assert_eq!(named("owner: ['header:x-merchant-id'], required: true").routes[0].idempotency, Some(keys));
    assert!(default.idempotency.is_none());

    let mut compression = contract.defaults.compression.clone().unwrap();
    compression.exclude_paths.clear();
    assert_eq!(default.compression.as_ref(), Some(&compression));
    assert_eq!(minimal.defaults.compression, Some(compression));
    assert!(default.cache.is_none() && default.invalidates.is_none());

    let mut cache = contract.routes[1].cache.clone().unwrap();
    assert_eq!(cache.ttl.take().unwrap().to_string(), "2m");
    assert_eq!(cache.stale_while_revalidate.take().unwrap().to_string(), "30s");
    assert_eq!(cache.stale_if_error.take().unwrap().to_string(), "1m");
    assert_eq!(cache.negative_ttl.pop_first().unwrap().0.get(), 404);
    [&mut cache.vary_by, &mut cache.ignore_query, &mut cache.warm].into_iter().for_each(Vec::clear);
    cache.tags = cache::Tags::default();
    assert_eq!(cache, cache::Settings::default());
}

#[test]
fn routes_start_from_the_defaults() {
    let contract = contract();
    let create = &contract.routes[0];
    assert_eq!(create.timeouts.total.to_string(), "25s");
    assert_eq!(create.timeouts.connect.to_string(), "1s");
    assert_eq!(create.headers.request.set["x-served-by"], "outboard");
    assert!(create.rewrite.is_none());
    assert_eq!(contract.drain_timeout(), std::time::Duration::from_secs(31));
}

#[test]
fn what_depends_on_something_else() {
    let contract = contract();
    assert_eq!(contract.upstreams["gateway"].host_header(), HostHeader::Endpoint);
    assert_eq!(contract.listeners[1].direction(), Direction::Outbound);
    let tls = "listeners: [{ name: a, address: a:1, tls: { cert_file: a, key_file: b } }]\n\
               upstreams: { app: { endpoints: [\"a:2\"] } }\n";
    assert_eq!(loaded(tls).config.listeners[0].protocols(), [Protocol::Http1, Protocol::H2]);
}

#[test]
fn off_false_and_nothing() {
    for off in ["off", "false", "\"off\"", "null", ""] {
        let text = format!(
            "logging:\n  level: {}\nlisteners:\n  - name: a\n    address: a:1\n    proxy_protocol: {off}\n    tls: {off}\n\
             upstreams:\n  app:\n    endpoints: [\"a:2\"]\n    tls: {off}\nroutes:\n  - name: r\n    rewrite: {off}\n    \
             max_request_body: {off}\ndefaults:\n  timeouts:\n",
            if off.is_empty() || off == "null" { "info" } else { off }
        );
        let config = loaded(&text).config;
        assert!(config.listeners[0].tls.is_none() && config.routes[0].rewrite.is_none(), "{off}");
        super::valid(&text).unwrap();
    }
}

#[test]
fn off_takes_away_what_defaults_gave() {
    let text = format!(
        "{MINIMAL}
defaults:
  rewrite: {{ strip_prefix: /a }}
  max_request_body: 1KiB
  headers: {{ request: {{ set: {{ x-a: b }} }} }}
routes:
  - {{ name: all, match: {{ path: /1 }} }}
  - {{ name: none, match: {{ path: /2 }}, rewrite: off, max_request_body: off, headers: off }}
  - {{ name: more, match: {{ path: /3 }}, rewrite: {{ add_prefix: /b }}, headers: {{ request: {{ set: {{ x-c: 2 }} }} }} }}
"
    );
    let routes = loaded(&text).config.routes;
    super::valid(&text).unwrap();
    assert!(routes[0].rewrite.is_some() && routes[0].max_request_body.is_some());
    assert_eq!(routes[0].headers.request.set["x-a"], "b");
    assert!(routes[1].rewrite.is_none() && routes[1].max_request_body.is_none());
    assert!(routes[1].headers.request.set.is_empty());
    let rewrite = routes[2].rewrite.as_ref().unwrap();
    assert_eq!((rewrite.strip_prefix.as_deref(), rewrite.add_prefix.as_str()), (Some("/a"), "/b"));
    let set = &routes[2].headers.request.set;
    assert_eq!((set["x-a"].as_str(), set["x-c"].as_str()), ("b", "2"));
}
