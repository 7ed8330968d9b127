//! What a reload keeps, and what it ends.

use std::time::Duration;

use super::*;

#[test]
fn an_upstream_that_stays_keeps_what_is_known_of_its_endpoints() {
    let (apps, addresses) = apps(2);
    apps[0].health(500);
    let upstream = format!("{CHECKS}, outlier_detection: {{ consecutive_failures: 2, eject_for: 1m }}");
    let proxy = before(&addresses, &upstream, "");
    eventually("it is out", || state(&proxy, &addresses[0]) == "unhealthy");
    for streams in 1..=3 {
        proxy.write_config(&config(&addresses, &upstream, &format!("limits: {{ max_streams: {streams} }}")));
        assert_eq!(proxy.admin_post("/reload", "").status, 200);
        assert_eq!(state(&proxy, &addresses[0]), "unhealthy");
        assert_eq!(out(&proxy, "health_check"), 1.0);
    }
    assert_eq!(transitions(&proxy, 1).len(), 1);
    let asked = apps[1].checks();
    eventually("it is asked on", || apps[1].checks() > asked + 2);
    apps[0].health(200);
    eventually("it is back", || state(&proxy, &addresses[0]) == "healthy");
}

#[test]
fn an_upstream_that_changed_begins_anew_and_the_former_one_is_left_alone() {
    let (apps, addresses) = apps(2);
    apps[0].health(500);
    let proxy = before(&addresses, CHECKS, "");
    eventually("it is out", || out(&proxy, "health_check") == 1.0);
    // A request in flight holds the former upstream.
    apps[1].status(0);
    let mut hanging = Client::connect(proxy.addr("inbound"));
    hanging.request("GET", "/", &[], b"");
    eventually("it is in flight", || apps[1].served() == 1);
    apps[1].status(200);

    proxy.write_config(&config(&addresses, "dns_refresh: 1m", ""));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    assert_eq!((out(&proxy, "health_check"), state(&proxy, &addresses[0])), (0.0, "healthy".into()));
    let asked = || apps[0].checks() + apps[1].checks();
    // What was on its way may still arrive.
    let before = asked();
    assert!(!within(Duration::from_millis(400), || asked() > before + 2), "nobody is checked any more");

    // Checks again: a new upstream, which knows nothing yet.
    proxy.write_config(&config(&addresses, CHECKS, ""));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    eventually("it is out again", || state(&proxy, &addresses[0]) == "unhealthy");
    assert_eq!((out(&proxy, "health_check"), ejections(&proxy, "health_check")), (1.0, 2.0));
}
