//! Reload: a good file is swapped in between requests, a bad one changes nothing.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Client, Origin, Proxy, Signal, eventually, yaml};

const OK: &str = "outboard_config_reloads_total{result=\"ok\"}";
const FAILED: &str = "outboard_config_reloads_total{result=\"failed\"}";

/// A configuration whose answers carry this version.
fn version(app: &Origin, version: usize) -> String {
    yaml(
        app,
        &format!(
            "logging: {{ access: {{ sample: 0%, slow: 1m }} }}\n\
             defaults: {{ headers: {{ response: {{ set: {{ x-version: \"{version}\" }} }} }} }}"
        ),
    )
}

fn serves(proxy: &Proxy, version: usize) -> bool {
    Client::connect(proxy.addr("inbound")).get("/").header("x-version") == Some(&version.to_string())
}

#[test]
fn fifty_reloads_under_load_without_an_error() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 0));
    let addr = proxy.addr("inbound");
    let (good, bad) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|i| {
            let (good, bad, stop) = (good.clone(), bad.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    client.request(if i % 2 == 0 { "GET" } else { "POST" }, "/", &[], b"");
                    match client.try_read_response("GET") {
                        Ok(answer) if answer.status == 200 => {
                            let version: usize = answer.header("x-version").unwrap().parse().unwrap();
                            // Requests of one connection never see an older configuration again.
                            assert!(version >= last, "{version} after {last}");
                            last = version;
                            good.fetch_add(1, Ordering::SeqCst);
                        }
                        other => bad.lock().unwrap().push(format!("{other:?}")),
                    }
                }
            })
        })
        .collect();
    for i in 1..=50 {
        proxy.write_config(&version(&origin, i));
        if i % 2 == 0 {
            let answer = proxy.admin_post("/reload", "");
            assert_eq!(answer.status, 200, "{}", answer.text());
        } else {
            proxy.signal(Signal::HUP);
        }
        eventually("it is taken over", || serves(&proxy, i));
    }
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|c| c.join().unwrap());
    assert_eq!(*bad.lock().unwrap(), Vec::<String>::new());
    // The watch of the file may have been faster than a signal; it never repeats what was done.
    assert!((50.0..=75.0).contains(&proxy.metric(OK)), "{}", proxy.metric(OK));
    assert_eq!(proxy.metric(FAILED), 0.0);
    println!("{} answers during 50 reloads", good.load(Ordering::SeqCst));
}

#[test]
fn a_changed_file_is_noticed() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 1));
    proxy.write_config(&version(&origin, 2));
    eventually("it is taken over", || serves(&proxy, 2));
    assert_eq!(proxy.metric(OK), 1.0);
    eventually("it is logged", || !proxy.events("reload").is_empty());
    let line = &proxy.events("reload")[0];
    assert_eq!((line["result"].as_str(), line["level"].as_str()), (Some("ok"), Some("info")));
}

/// Kubernetes swaps the link `..data` to another folder; the file's own link never changes.
#[test]
fn a_config_map_is_noticed_when_its_link_is_swapped() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 1));
    let dir = proxy.dir();
    let text = std::fs::read_to_string(proxy.config()).unwrap();
    let swap = |version: &str, text: &str| {
        std::fs::create_dir(dir.join(version)).unwrap();
        std::fs::write(dir.join(version).join("outboard.yaml"), text).unwrap();
        symlink(version, dir.join("..tmp")).unwrap();
        std::fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    };
    swap("..v1", &text);
    symlink("..data/outboard.yaml", dir.join("..link")).unwrap();
    std::fs::rename(dir.join("..link"), proxy.config()).unwrap();
    swap("..v2", &text.replace("x-version: \"1\"", "x-version: \"2\""));
    eventually("it is taken over", || serves(&proxy, 2));
    swap("..v3", &text.replace("x-version: \"1\"", "x-version: \"3\""));
    eventually("and again", || serves(&proxy, 3));
    assert_eq!(proxy.metric(FAILED), 0.0);
}

#[test]
fn a_bad_file_changes_nothing_and_every_error_of_it_is_told() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 1));
    let before = proxy.admin_get("/config").text();
    let bad = version(&origin, 2).replace("upstreams:", "upstream:") + "\nlimits: { max_streams: many }\ndrian: {}\n";
    proxy.write_config(&bad);
    let answer = proxy.admin_post("/reload", "");
    assert_eq!((answer.status, answer.header("content-type")), (422, Some("application/problem+json")));
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:outboard:admin:configuration-refused");
    let errors: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
    for expected in ["did you mean upstreams?", "limits.max_streams", "did you mean drain?"] {
        assert!(errors.iter().any(|e| e.contains(expected)), "{expected} in {errors:#?}");
    }
    assert!(errors.iter().all(|e| e.contains("outboard.yaml:")), "each with its place: {errors:#?}");
    assert!(serves(&proxy, 1));
    assert_eq!(proxy.admin_get("/config").text(), before);
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    // The watch may have met the file first: it is tried once by each of the two at most.
    let failed = proxy.metric(FAILED);
    assert!(proxy.metric(OK) == 0.0 && (1.0..=2.0).contains(&failed), "{failed}");
    let logged = proxy.events("reload");
    for error in errors {
        assert!(logged.iter().any(|line| line["error"] == error && line["level"] == "error"), "{error} in {logged:#?}");
    }
    proxy.write_config(&version(&origin, 3));
    eventually("a good file is taken over", || serves(&proxy, 3));
    // The watch looked at the file in between, and did not try the bad one again.
    assert_eq!((proxy.metric(OK), proxy.metric(FAILED)), (1.0, failed));
}

#[test]
fn the_answer_says_what_changed_and_what_needs_a_restart() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 1));
    let answer = proxy.admin_post("/reload", "").json();
    assert_eq!((answer["changed"].to_string(), answer["needs_restart"].to_string()), ("[]".into(), "[]".into()));

    let changed = version(&origin, 2).replace("127.0.0.1:0\" }", "127.0.0.1:1\", trusted_proxies: [127.0.0.1] }")
        + "runtime: { threads: 2 }\nlimits: { max_streams: 7 }\n\
           routes: [{ name: default }, { name: other, match: { path: /other } }]\n";
    proxy.write_config(&changed);
    let answer = proxy.admin_post("/reload", "").json();
    let list = |key: &str| {
        let mut list: Vec<String> =
            answer[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
        list.sort();
        list
    };
    assert_eq!(list("needs_restart"), ["listeners.inbound", "runtime"]);
    assert_eq!(
        list("changed"),
        ["limits changed", "listeners changed", "routes.default changed", "routes.other added", "runtime changed"]
    );
    // What can change did, what cannot stayed.
    let config = proxy.admin_get("/config").text();
    assert!(config.contains("max_streams: 7") && config.contains("threads: auto"), "{config}");
    assert!(config.contains("127.0.0.1/32") && config.contains("127.0.0.1:0"), "{config}");
    assert!(serves(&proxy, 2));
}

/// A route for a listener that is not open yet must not take requests of the others.
#[test]
fn a_new_listener_needs_a_restart_and_its_routes_take_nothing_until_then() {
    let (app, gateway) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::start(&yaml(&app, ""));
    proxy.write_config(&format!(
        "listeners:
  - {{ name: inbound, address: \"127.0.0.1:0\", direction: inbound }}
  - {{ name: egress, address: \"127.0.0.1:0\", direction: outbound }}
upstreams:
  app: {{ endpoints: [\"{app}\"] }}
  gateway: {{ endpoints: [\"{gateway}\"] }}
routes:
  - {{ name: to-app, match: {{ listener: inbound }}, upstream: app }}
  - {{ name: to-gateway, match: {{ listener: egress, path: /v1 }}, upstream: gateway }}
"
    ));
    let answer = proxy.admin_post("/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["needs_restart"][0], "listeners");
    assert_eq!(Client::connect(proxy.addr("inbound")).get("/v1").status, 200);
    assert_eq!((app.count(), gateway.count()), (1, 0));
}

#[test]
fn upstream_connections_survive_a_reload_that_does_not_touch_them() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&version(&origin, 1));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    for i in 2..=5 {
        proxy.write_config(&version(&origin, i));
        assert_eq!(proxy.admin_post("/reload", "").status, 200);
        assert_eq!(client.get("/").header("x-version"), Some(&*i.to_string()), "the client's connection goes on too");
    }
    assert_eq!(origin.connections(), 1);
    // Counters go on counting.
    proxy.await_metric("outboard_requests_total{method=\"GET\",route=\"default\",status=\"2xx\"}", 5.0);

    let pool = version(&origin, 6).replace("] } }", "], pool: { max_idle: 3 } } }");
    proxy.write_config(&pool);
    let answer = proxy.admin_post("/reload", "").json();
    assert!(answer["changed"].to_string().contains("upstreams.app changed"), "{answer}");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 2);
    eventually("the former pool is closed", || origin.open() == 1);
}

/// A request that is in flight keeps the configuration it began with.
#[test]
fn a_request_in_flight_ends_as_it_began() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::serve(move |conn| {
        while conn.read_head().is_some() {
            let _ = released.lock().unwrap().recv();
            conn.ok("done");
        }
    });
    let proxy = Proxy::start(&version(&origin, 1));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    eventually("in flight", || origin.count() == 1);
    // Its route and its upstream's section are gone.
    let other = version(&origin, 2).replace("app:", "application:");
    proxy.write_config(&other);
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    release.send(()).unwrap();
    let answer = client.read_response();
    assert_eq!((answer.status, answer.header("x-version")), (200, Some("1")));
    client.request("GET", "/", &[], b"");
    release.send(()).unwrap();
    assert_eq!(client.read_response().header("x-version"), Some("2"));
}

/// The upstream before it is dropped after the new one has counted its endpoints, and counts into the same series.
#[test]
fn an_upstream_that_changed_still_shows_its_endpoints() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, ""));
    let shown = || proxy.metric("outboard_upstream_endpoints{upstream=\"app\"}");
    assert_eq!(shown(), 1.0);
    let changed = yaml(&origin, "").replace("] }", "], pool: { max_idle: 7 } }");
    assert!(changed.contains("max_idle"), "{changed}");
    proxy.write_config(&changed);
    eventually("it is taken over", || proxy.admin_get("/config").text().contains("max_idle: 7"));
    assert_eq!(Client::connect(proxy.addr("inbound")).get("/").status, 200);
    assert_eq!(shown(), 1.0);
}
