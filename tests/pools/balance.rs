//! Which endpoint a request goes to.

use std::time::Duration;

use super::before;
use crate::common::*;

fn echoes(count: usize) -> (Vec<Origin>, Vec<String>) {
    let origins: Vec<Origin> = (0..count).map(|_| Origin::echo()).collect();
    let addresses = origins.iter().map(ToString::to_string).collect();
    (origins, addresses)
}

fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::count).collect()
}

#[test]
fn round_robin_takes_turns() {
    let (origins, addresses) = echoes(3);
    let proxy = before(&addresses, ", load_balance: round_robin", "");
    super::load(&proxy, 1, 30, b"");
    assert_eq!(counts(&origins), [10, 10, 10]);
}

#[test]
fn least_request_leaves_a_stuck_endpoint_alone() {
    let stuck = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.until_closed();
        }
    });
    let (origins, mut addresses) = echoes(2);
    addresses.push(stuck.to_string());
    let proxy = before(&addresses, ", load_balance: least_request", "defaults: { timeouts: { first_byte: 4s } }");
    // One request that hangs makes the stuck endpoint look as busy as it is.
    let mut hanging = Vec::new();
    while stuck.count() == 0 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        hanging.push(client);
        assert!(hanging.len() < 100, "the stuck endpoint is never chosen");
        let sent = hanging.len();
        eventually("it was asked", || stuck.count() + origins.iter().map(Origin::count).sum::<usize>() == sent);
    }
    let before = counts(&origins);
    let stuck_before = stuck.count();
    super::load(&proxy, 1, 60, b"");
    assert_eq!(stuck.count(), stuck_before, "power of two choices never takes the busiest of two");
    assert!(counts(&origins).iter().zip(&before).all(|(now, before)| now - before > 10), "{:?}", counts(&origins));
}

#[test]
fn peak_ewma_prefers_who_answers_faster() {
    let slow = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            std::thread::sleep(Duration::from_millis(30));
            conn.echo(&head, 0);
        }
    });
    let (origins, mut addresses) = echoes(1);
    addresses.push(slow.to_string());
    let proxy = before(&addresses, ", load_balance: peak_ewma", "");
    super::load(&proxy, 2, 50, b"");
    let (fast, slow) = (origins[0].count(), slow.count());
    assert_eq!(fast + slow, 100);
    assert!(fast > 3 * slow, "{fast} against {slow}");
}

#[test]
fn consistent_hash_keeps_a_key_at_its_endpoint() {
    let (origins, addresses) = echoes(4);
    let upstream = ", load_balance: consistent_hash, hash_on: [\"header:x-merchant-id\"]";
    let proxy = before(&addresses, upstream, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    let mut place = |merchant: usize| {
        let before = counts(&origins);
        client.request("POST", "/", &[("X-Merchant-Id", &format!("mer_{merchant}"))], b"body");
        assert_eq!(client.read_response().status, 200);
        counts(&origins).iter().zip(&before).position(|(now, before)| now > before).unwrap()
    };
    let first: Vec<usize> = (0..100).map(&mut place).collect();
    let again: Vec<usize> = (0..100).map(&mut place).collect();
    assert_eq!(first, again);
    for endpoint in 0..4 {
        let keys = first.iter().filter(|e| **e == endpoint).count();
        assert!((5..=50).contains(&keys), "endpoint {endpoint} has {keys} of 100 keys");
    }
}
