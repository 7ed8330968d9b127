//! When a change is over, and whether it was one, is not always what its last answer says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::application::{Answer, Application, Does};
use super::{Client, H2Origin, Proxy};

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

/// The client knows the answer to be whole by its length, before its stream has ended.
#[test]
fn a_change_that_is_done_with_the_last_bytes_of_its_answer_is_seen_at_once() {
    let version = Arc::new(AtomicU64::new(0));
    let step = Arc::new(tokio::sync::Notify::new());
    let (row, goes) = (version.clone(), step.clone());
    let origin = H2Origin::serve(move |request, mut respond| {
        let (row, goes) = (row.clone(), goes.clone());
        async move {
            let head = http::Response::builder();
            if request.method() == "GET" {
                let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
                return send.send_data(row.load(SeqCst).to_string().into(), true).unwrap();
            }
            let head = head.header("content-length", 4).body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            goes.notified().await;
            row.store(1, SeqCst);
            send.send_data("done".into(), false).unwrap();
            goes.notified().await;
            let _ = send.send_data(Default::default(), true);
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n\
         routes:\n\
         - {{ name: row, match: {{ path: /row, methods: [GET] }}, cache: {{ freshness: override, ttl: 1m }} }}\n\
         - {{ name: change, match: {{ path: /change, methods: [POST] }}, invalidates: {{ routes: [row] }} }}\n"
    ));
    let (mut reader, mut writer) = (Client::connect(proxy.addr("inbound")), Client::connect(proxy.addr("inbound")));
    writer.request("POST", "/change", &[], b"one");
    let head = writer.read_head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    for _ in 0..2 {
        assert_eq!(reader.get("/row").text(), "0");
    }
    step.notify_one();
    assert_eq!(writer.read_exact(4).unwrap(), b"done");
    assert_eq!(reader.get("/row").text(), "1");
    step.notify_one();
}
