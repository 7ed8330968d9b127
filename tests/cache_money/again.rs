//! A change that is tried again is refused the second time, because the first was carried out and nobody heard of it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::application::{Answer, Application, Does};
use super::{Client, Proxy};

#[test]
fn what_is_refused_when_it_is_tried_again_may_have_been_done() {
    let version = AtomicU64::new(0);
    let application = Application::start(move |request| match request.method.as_str() {
        "GET" => Does::Answer(Answer::new(200, String::new(), version.load(SeqCst).to_string().into_bytes())),
        _ if version.fetch_add(1, SeqCst) == 0 => Does::Close,
        _ => {
            version.store(1, SeqCst);
            Does::Answer(Answer::new(412, String::new(), Vec::new()))
        }
    });
    let proxy = Proxy::start(&super::yaml(
        application.address,
        "routes: [{ name: row, cache: { freshness: override, ttl: 1m }, retry: { methods: idempotent } }]",
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        assert_eq!(client.get("/row").text(), "0");
    }
    client.request("PUT", "/row", &[("if-match", "\"0\"")], b"one");
    assert_eq!(client.read_response().status, 412);
    assert_eq!(client.get("/row").text(), "1");
}
