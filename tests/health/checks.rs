//! Active checks.

use std::sync::Arc;
use std::time::Duration;

use super::*;

fn checks_of(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&format!("outboard_health_checks_total{{result=\"{result}\",upstream=\"app\"}}"))
}

#[test]
fn an_endpoint_whose_checks_fail_gets_no_requests_until_they_pass() {
    let (apps, addresses) = apps(2);
    let proxy = before(&addresses, CHECKS, "");
    assert_eq!(get(&proxy, 10), [200; 10]);
    assert_eq!((apps[0].served(), apps[1].served()), (5, 5), "all are well until checks say otherwise");
    apps[1].health(500);
    eventually("it is out", || out(&proxy, "health_check") == 1.0);
    assert_eq!((state(&proxy, &addresses[0]), state(&proxy, &addresses[1])), ("healthy".into(), "unhealthy".into()));
    let before = apps[1].served();
    assert_eq!(get(&proxy, 20), [200; 20]);
    assert_eq!(apps[1].served(), before);

    apps[1].health(204);
    eventually("it is back", || out(&proxy, "health_check") == 0.0);
    let (state, share) = standing(&proxy, &addresses[1]);
    assert!(state == "healthy" && (10..100).contains(&share), "it starts slowly: {state} {share}");
    eventually("it serves again", || {
        get(&proxy, 5);
        apps[1].served() > before
    });
    let expected = [
        ["healthy", "unhealthy", "2 checks failed in a row"].map(str::to_owned),
        ["unhealthy", "healthy", "2 checks passed in a row"].map(str::to_owned),
    ];
    assert_eq!(transitions(&proxy, 2), expected);
    let line = &lines(&proxy, 2)[0];
    assert_eq!((&line["endpoint"], &line["cause"]), (&addresses[1].as_str().into(), &"status 500".into()), "{line}");
    assert_eq!((line["upstream"].as_str(), line["level"].as_str()), (Some("app"), Some("info")));
    assert_eq!(ejections(&proxy, "health_check"), 1.0);
    assert!(checks_of(&proxy, "ok") > 4.0 && checks_of(&proxy, "failed") >= 2.0);
}

#[test]
fn a_check_is_a_get_of_its_own_connection() {
    let (apps, addresses) = apps(2);
    let proxy = before(&addresses, &CHECKS.replace("/healthz", "\"/healthz?full=1\""), "");
    let origin = apps[0].origin.as_ref().unwrap();
    eventually("it was asked twice", || origin.count_of("/healthz?full=1") >= 2);
    for (i, check) in origin.requests().iter().enumerate() {
        assert_eq!((check.method.as_str(), check.connection), ("GET", i));
        assert_eq!(check.header("host"), Some(addresses[0].as_str()));
        assert_eq!(check.header_all("user-agent"), ["outboard-health"]);
        assert_eq!(check.header("connection"), Some("close"));
    }
    eventually("they are closed", || origin.open() <= 1);
    let opened = proxy.metric("outboard_upstream_connections_opened_total{upstream=\"app\"}");
    assert_eq!((opened, attempts(&proxy, "ok")), (0.0, 0.0), "they are no attempts, and none of the pool's");
}

#[test]
fn a_name_and_statuses_are_taken_from_the_configuration() {
    let (apps, addresses) = apps(2);
    apps[0].health(401);
    apps[1].health(200);
    let checks = CHECKS.replace("healthy_after: 2 }", "healthy_after: 2, expect_status: [401, 410-420] }");
    let proxy = before(&addresses, &format!("host: api.example.com, {checks}"), "");
    eventually("what answers 200 is out", || state(&proxy, &addresses[1]) == "unhealthy");
    assert_eq!(state(&proxy, &addresses[0]), "healthy");
    let origin = apps[0].origin.as_ref().unwrap();
    assert_eq!(origin.requests()[0].header("host"), Some("api.example.com"));
}

#[test]
fn a_check_that_hangs_fails_in_time_and_holds_up_no_other() {
    let (apps, addresses) = apps(3);
    apps[0].health(0);
    let proxy = before(&addresses, CHECKS, "");
    eventually("it is out", || out(&proxy, "health_check") == 1.0);
    assert_eq!(state(&proxy, &addresses[0]), "unhealthy");
    let asked = apps[1].checks();
    eventually("the others are asked on", || apps[1].checks() > asked + 3);
    let origin = apps[0].origin.as_ref().unwrap();
    assert!(origin.connections() > 2 && origin.open() <= 2, "a check that is given up is closed");
    assert_eq!(lines(&proxy, 1)[0]["cause"], "no answer within 100ms");
    assert_eq!(get(&proxy, 6), [200; 6]);
    assert_eq!(apps[0].served(), 0);
}

#[test]
fn an_answer_is_not_read_beyond_its_head() {
    // Heads that are whole, with bodies that never are, and an informational answer before one.
    let endless = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx",
            );
            conn.until_closed();
        }
    });
    // No HTTP at all, and a connection that ends before an answer.
    let garbage = Origin::answer("hello\r\n\r\n");
    let closing = Origin::serve(|conn| drop(conn.read_head()));
    let endpoints = [&endless, &garbage, &closing].map(ToString::to_string);
    let proxy = before(&endpoints, CHECKS, "");
    eventually("the others are out", || out(&proxy, "health_check") == 2.0);
    eventually("it was asked more often than it may fail", || endless.connections() > 3);
    assert_eq!(state(&proxy, &endless), "healthy");
}

#[test]
fn the_last_one_is_kept_though_its_checks_fail() {
    let (apps, addresses) = apps(3);
    let proxy = before(&addresses, CHECKS, "");
    apps.iter().for_each(|app| app.health(503));
    eventually("two are out", || out(&proxy, "health_check") == 2.0);
    let kept = || addresses.iter().filter(|a| state(&proxy, a) == "kept").count();
    eventually("one is kept", || kept() == 1);
    assert_eq!(get(&proxy, 9), [200; 9], "and serves");
    assert_eq!(apps.iter().filter(|a| a.served() == 9).count(), 1);
    // Another is well again: that one takes over.
    let well = addresses.iter().position(|a| state(&proxy, a) == "unhealthy").unwrap();
    apps[well].health(200);
    eventually("it is back", || state(&proxy, &addresses[well]) == "healthy");
    assert_eq!((out(&proxy, "health_check"), kept()), (2.0, 0));
    assert_eq!(get(&proxy, 9), [200; 9]);
    assert_eq!(apps[well].served(), 9, "alone, it does not start slowly");
}

#[test]
fn a_single_endpoint_stays_and_its_state_is_seen() {
    let (apps, addresses) = apps(1);
    apps[0].health(500);
    let proxy = before(&addresses, CHECKS, "");
    eventually("it is kept", || state(&proxy, &addresses[0]) == "kept");
    assert_eq!(get(&proxy, 3), [200; 3]);
    assert_eq!((out(&proxy, "health_check"), ejections(&proxy, "health_check")), (0.0, 0.0));
    apps[0].health(200);
    eventually("it is well", || state(&proxy, &addresses[0]) == "healthy");
}

#[test]
fn checks_go_over_tls_and_verify() {
    let (tls, other) = (Tls::new(), Tls::new());
    let told = |health: u16| Arc::new(Told { health: health.into(), status: 200.into(), dead: false.into() });
    let good = Origin::tls(&tls, &["http/1.1"], story(told(200)));
    let ill = Origin::tls(&tls, &["http/1.1"], story(told(500)));
    let stranger = Origin::tls(&other, &["http/1.1"], story(told(200)));
    let endpoints = [&good, &ill, &stranger].map(ToString::to_string);
    for protocol in ["http1", "auto"] {
        let upstream = format!("protocol: {protocol}, tls: {{ ca_file: {} }}, {CHECKS}", tls.ca_file().display());
        let proxy = before(&endpoints, &upstream, "");
        eventually("who is ill and who is not ours are out", || out(&proxy, "health_check") == 2.0);
        assert_eq!(state(&proxy, &good), "healthy", "{protocol}");
        assert_eq!(get(&proxy, 4), [200; 4]);
    }
    assert!(good.count_of("/healthz") > 0);
    assert_eq!(stranger.count(), 0, "nothing is told to whom we do not know");
}

/// An HTTP/2 application whose checks have this status.
fn http2(health: u16) -> H2Origin {
    H2Origin::serve(move |request, mut respond| async move {
        let status = if request.uri().path() == "/healthz" { health } else { 200 };
        let answer = http::Response::builder().status(status).body(()).unwrap();
        let _ = respond.send_response(answer, true);
    })
}

#[test]
fn checks_go_over_http2_in_clear() {
    let (good, ill) = (http2(200), http2(503));
    let clear = Origin::answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let endpoints = [good.to_string(), ill.to_string(), clear.to_string()];
    let proxy = before(&endpoints, &format!("protocol: h2c, {CHECKS}"), "");
    eventually("who is ill and who speaks no HTTP/2 are out", || out(&proxy, "health_check") == 2.0);
    assert_eq!(state(&proxy, &good), "healthy");
    let check = good.requests().into_iter().find(|r| r.target == "/healthz").unwrap();
    assert_eq!((check.method.as_str(), check.authority), ("GET", good.to_string()));
    assert_eq!(check.headers["user-agent"], "outboard-health");
    assert_eq!(get(&proxy, 4), [200; 4]);
}

#[test]
fn checks_go_over_http2_under_tls() {
    let tls = Tls::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let serve = |alpn: &[&str], health: u16| {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls.server_config(alpn)));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let Ok(mut h2) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, mut respond))) = h2.accept().await {
                        let asked = request.uri().path() == "/healthz" && request.uri().scheme_str() == Some("https");
                        let status = if asked { health } else { 404 };
                        let answer = http::Response::builder().status(status).body(()).unwrap();
                        let _ = respond.send_response(answer, true);
                    }
                });
            }
        });
        address
    };
    let endpoints = [serve(&["h2"], 200), serve(&["h2"], 500), serve(&["http/1.1"], 200)];
    let upstream = format!("protocol: h2, tls: {{ ca_file: {} }}, {CHECKS}", tls.ca_file().display());
    let proxy = before(&endpoints, &upstream, "");
    eventually("who is ill and who did not agree are out", || out(&proxy, "health_check") == 2.0);
    assert_eq!(state(&proxy, &endpoints[0]), "healthy");
}

#[test]
fn a_unix_socket_is_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let told = |health: u16| Arc::new(Told { health: health.into(), status: 200.into(), dead: false.into() });
    let paths = ["good", "ill"].map(|name| dir.path().join(name));
    let good = Origin::unix(&paths[0], story(told(200)));
    let _ill = Origin::unix(&paths[1], story(told(500)));
    let endpoints = paths.map(|p| format!("unix:{}", p.display()));
    let proxy = before(&endpoints, CHECKS, "");
    eventually("it is out", || state(&proxy, &endpoints[1]) == "unhealthy");
    assert_eq!(state(&proxy, &endpoints[0]), "healthy");
    assert_eq!(good.requests()[0].header("host"), Some("localhost"));
}

#[test]
fn names_that_are_looked_up_again_keep_what_is_known_of_their_addresses() {
    let (apps, _) = apps(2);
    apps[1].health(500);
    let named: Vec<String> = apps.iter().map(|a| format!("localhost:{}", a.address.port())).collect();
    let proxy = before(&named, &format!("dns_refresh: 100ms, {CHECKS}"), "");
    eventually("it is out", || state(&proxy, apps[1].address) == "unhealthy");
    let looked_up = || proxy.metric("outboard_upstream_resolves_total{result=\"ok\",upstream=\"app\"}");
    let before = looked_up();
    eventually("looked up five times more", || looked_up() > before + 5.0);
    assert_eq!(state(&proxy, apps[1].address), "unhealthy");
    let of_it = |line: &&serde_json::Value| line["endpoint"] == apps[1].address.to_string();
    assert_eq!(lines(&proxy, 1).iter().filter(of_it).count(), 1);
}

#[test]
fn many_processes_do_not_begin_in_step() {
    let (apps, addresses) = apps(2);
    let checks = CHECKS.replace("interval: 100ms", "interval: 2s");
    let proxies: Vec<Proxy> = (0..6).map(|_| before(&addresses, &checks, "")).collect();
    eventually("each has asked", || apps[0].checks() >= proxies.len());
    let requests = apps[0].origin.as_ref().unwrap().requests();
    let (first, last) = (requests[0].at, requests[proxies.len() - 1].at);
    // Six moments in two seconds lie within a tenth of one another once in a million times, however they were started.
    assert!(last - first > Duration::from_millis(100), "{:?}", last - first);
}
