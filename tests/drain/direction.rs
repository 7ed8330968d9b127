//! Inbound is closed first: a charge that is in flight still reaches the gateway.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::common::{Client, Origin, Proxy, Signal, eventually};
use super::{Gate, LONG, gated, has_entered};

fn both_ways(app: &Origin, gateway: &Origin) -> Proxy {
    Proxy::start(&format!(
        "listeners:
  - {{ name: inbound, address: \"127.0.0.1:0\", direction: inbound }}
  - {{ name: egress, address: \"127.0.0.1:0\", direction: outbound }}
upstreams:
  app: {{ endpoints: [\"{app}\"] }}
  gateway: {{ endpoints: [\"{gateway}\"] }}
routes:
  - {{ name: to-app, match: {{ listener: inbound }}, upstream: app }}
  - {{ name: to-gateway, match: {{ listener: egress }}, upstream: gateway }}
drain: {{ delay: 300ms }}
"
    ))
}

#[test]
fn the_outbound_listener_serves_while_an_inbound_request_is_in_flight() {
    let (app, gate) = gated();
    let gateway = Origin::echo();
    let proxy = both_ways(&app, &gateway);
    let egress = proxy.addr("egress");
    let mut kept = Client::connect(egress);
    assert_eq!(kept.get("/v1").status, 200);
    let mut charge = Client::connect(proxy.addr("inbound"));
    charge.request("POST", "/slow", &[], b"charge");
    eventually("the charge is in flight", || app.count() == 1);

    proxy.signal(Signal::TERM);
    eventually("inbound is closed", || has_entered(&proxy, "draining"));
    eventually("nobody connects inbound", || TcpStream::connect(proxy.addr("inbound")).is_err());
    // A connection that was kept and one that is new, and neither is told to go.
    let answer = kept.get("/v1");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    let answer = Client::connect(egress).post("/v1", b"capture");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert!(!has_entered(&proxy, "closing"));

    gate.open();
    assert_eq!(charge.read_response().status, 200);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    assert!(TcpStream::connect(egress).is_err());
}

#[test]
fn what_is_in_flight_outbound_is_waited_for_as_well() {
    let app = Origin::echo();
    let held = Arc::new(Gate::default());
    let gate = held.clone();
    let gateway = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            gate.wait();
            conn.ok("captured");
        }
    });
    let proxy = both_ways(&app, &gateway);
    let mut capture = Client::connect(proxy.addr("egress"));
    capture.request("POST", "/capture", &[], b"x");
    eventually("in flight", || gateway.count() == 1);
    proxy.signal(Signal::TERM);
    eventually("outbound is closed too", || has_entered(&proxy, "closing"));
    assert!(proxy.ended().is_none());
    held.open();
    let answer = capture.read_response();
    assert_eq!((answer.status, answer.text().as_str(), answer.header("connection")), (200, "captured", Some("close")));
    assert_eq!(proxy.wait(Duration::from_secs(5)).code(), Some(0));
}
