//! What requests find out by themselves.

use std::time::{Duration, Instant};

use super::*;

const SOON: &str = "outlier_detection: { consecutive_failures: 3, eject_for: 1s }";
const LONG: &str = "outlier_detection: { consecutive_failures: 3, eject_for: 1m }";

#[test]
fn one_of_three_that_was_killed_is_left_alone_and_comes_back_slowly() {
    let (mut apps, addresses) = apps(3);
    let proxy = before(&addresses, SOON, "");
    assert_eq!(get(&proxy, 9), [200; 9]);
    apps[1].kill();
    let killed = Instant::now();
    let mut client = Client::connect(proxy.addr("inbound"));
    eventually("it is ejected", || {
        assert_eq!(client.get("/").status, 200, "what cannot be connected is passed over");
        out(&proxy, "outlier") == 1.0
    });
    let failed = attempts(&proxy, "connect");
    assert_eq!((failed, ejections(&proxy, "outlier")), (3.0, 1.0));
    assert_eq!(state(&proxy, &addresses[1]), "ejected");
    assert_eq!(get(&proxy, 30), [200; 30]);
    assert_eq!(attempts(&proxy, "connect"), failed, "it is not tried while it is out");
    apps[1].revive();

    eventually("it is back", || out(&proxy, "outlier") == 0.0);
    let after = killed.elapsed();
    assert!(after > Duration::from_millis(990), "{after:?}");
    let counts = |apps: &[App]| apps.iter().map(App::served).collect::<Vec<_>>();
    let before = counts(&apps);
    assert_eq!(get(&proxy, 100), [200; 100]);
    let served: Vec<usize> = counts(&apps).iter().zip(&before).map(|(now, before)| now - before).collect();
    assert!(served[1] <= 25 && served[0] >= 37 && served[2] >= 37, "it starts slowly: {served:?}");
    eventually("its share grows", || standing(&proxy, &addresses[1]).1 >= 25);
    let before = apps[1].served();
    eventually("it serves", || {
        get(&proxy, 10);
        apps[1].served() > before
    });
    let seen = transitions(&proxy, 2);
    assert_eq!(seen[0], ["healthy", "ejected", "3 attempts failed in a row; out for 1s"].map(str::to_owned));
    assert_eq!(seen[1], ["ejected", "healthy", "its time is over"].map(str::to_owned));
}

#[test]
fn statuses_that_say_it_is_unwell_count_and_others_do_not() {
    for (status, counts) in
        [(500, true), (502, true), (503, true), (504, true), (501, false), (429, false), (404, false), (302, false)]
    {
        let (apps, addresses) = apps(2);
        apps[0].status(status);
        let proxy = before(&addresses, LONG, "");
        let statuses = get(&proxy, 20);
        let passed_on = statuses.iter().filter(|s| **s == status).count();
        let expected = if counts { 3 } else { 10 };
        assert_eq!((passed_on, apps[0].served()), (expected, expected), "{status}: {statuses:?}");
        assert_eq!(ejections(&proxy, "outlier"), f64::from(u8::from(counts)), "{status}");
    }
}

#[test]
fn one_answer_between_begins_the_count_anew() {
    let (apps, addresses) = apps(2);
    let proxy = before(&addresses, LONG, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for round in 0..5 {
        for status in [500, 500, 200] {
            apps[0].status(status);
            let turns = [client.get("/").status, client.get("/").status];
            assert!(turns.contains(&status), "{round} {status}: {turns:?}");
        }
    }
    assert_eq!((apps[0].served(), ejections(&proxy, "outlier")), (15, 0.0));
}

#[test]
fn an_application_that_hangs_is_ejected_by_its_timeouts() {
    let (apps, addresses) = apps(2);
    apps[0].status(0);
    let proxy = before(&addresses, LONG, "defaults: { timeouts: { first_byte: 100ms } }");
    let statuses = get(&proxy, 20);
    assert_eq!(statuses.iter().filter(|s| **s == 504).count(), 3, "{statuses:?}");
    assert_eq!((state(&proxy, &addresses[0]), apps[0].served()), ("ejected".into(), 3));
}

#[test]
fn clients_that_leave_take_nobody_out() {
    let (apps, addresses) = apps(2);
    apps.iter().for_each(|app| app.status(0));
    let proxy = before(&addresses, LONG, "");
    for sent in 1..=10 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        eventually("it was asked", || apps[0].served() + apps[1].served() == sent);
        client.reset();
    }
    eventually("all have left", || attempts(&proxy, "client_left") == 10.0);
    assert_eq!((out(&proxy, "outlier"), transitions(&proxy, 0).len()), (0.0, 0));
}

#[test]
fn a_single_endpoint_is_never_ejected() {
    let (apps, addresses) = apps(1);
    apps[0].status(503);
    let proxy = before(&addresses, LONG, "");
    assert_eq!(get(&proxy, 20), [503; 20]);
    assert_eq!((apps[0].served(), ejections(&proxy, "outlier")), (20, 0.0));
    assert_eq!(state(&proxy, &addresses[0]), "healthy");
}

#[test]
fn of_two_that_both_fail_one_stays() {
    let (apps, addresses) = apps(2);
    apps.iter().for_each(|app| app.status(500));
    let proxy = before(&addresses, &LONG.replace("1m", "1m, max_ejected: 100%"), "");
    assert_eq!(get(&proxy, 30), [500; 30]);
    assert_eq!((out(&proxy, "outlier"), ejections(&proxy, "outlier")), (1.0, 1.0));
    assert_eq!(apps[0].served() + apps[1].served(), 30);
}

#[test]
fn no_more_than_their_share_are_ejected() {
    let (apps, addresses) = apps(5);
    apps[..3].iter().for_each(|app| app.status(500));
    let proxy = before(&addresses, LONG, "");
    get(&proxy, 60);
    assert_eq!(out(&proxy, "outlier"), 2.0, "half of five, rounded down");
}

#[test]
fn all_dead_is_one_clear_refusal_and_each_was_tried_once() {
    let addresses = [nobody(), nobody()];
    for upstream in ["dns_refresh: 30s", LONG] {
        let proxy = before(&addresses, upstream, "defaults: { retry: off }");
        let mut client = Client::connect(proxy.addr("inbound"));
        for request in 1..=10 {
            let started = Instant::now();
            let answer = client.post("/", b"body");
            let took = started.elapsed();
            assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"), "{upstream}");
            assert_eq!(answer.json()["detail"], "no endpoint could be reached");
            assert!(took < Duration::from_millis(300), "{took:?}");
            // The one that is ejected is tried too, last: nothing was sent, and it may answer.
            assert_eq!(attempts(&proxy, "connect"), f64::from(2 * request), "{upstream}");
        }
        let line = proxy.access_line("/");
        assert_eq!((&line["reason"], &line["upstream_sent"]), (&"upstream_connect".into(), &"none".into()), "{line}");
        assert!(out(&proxy, "outlier") <= 1.0);
    }
}

#[test]
fn one_that_is_out_is_the_last_resort() {
    let (mut apps, addresses) = apps(2);
    let proxy = before(&addresses, LONG, "");
    apps[0].status(500);
    eventually("it is out", || {
        get(&proxy, 2);
        out(&proxy, "outlier") == 1.0
    });
    apps[0].status(200);
    let before = apps[0].served();
    assert_eq!(get(&proxy, 10), [200; 10]);
    assert_eq!(apps[0].served(), before, "not while the other can be reached");
    apps[1].kill();
    assert_eq!(get(&proxy, 10), [200; 10]);
    assert_eq!(apps[0].served(), before + 10);
}
