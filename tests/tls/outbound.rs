//! TLS to an application.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use super::{pair, provider, roots};
use crate::common::*;

fn story(conn: &mut Conn) {
    while let Some(head) = conn.read_head() {
        let body = conn.read_body(&head);
        conn.echo(&head, body.len());
    }
}

/// A proxy before one endpoint with this section `tls`, and more keys of the upstream. What fails is not tried again: each
/// attempt is told apart.
fn before(endpoint: &str, tls: &str, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{endpoint}\"], tls: {tls}{more} }} }}\ndefaults: {{ retry: off }}\n"
    ))
}

fn get(proxy: &Proxy) -> Response {
    Client::connect(proxy.addr("inbound")).get("/")
}

/// The application cannot be reached, and nobody is told why but the log.
fn unreachable(proxy: &Proxy) {
    let answer = get(proxy);
    assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
    let text = answer.text().to_lowercase();
    for secret in ["certificate", "tls", "127.0.0.1", "localhost", "unknown", "issuer", "name"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let line = proxy.access_line("/");
    assert_eq!((&line["reason"], &line["upstream_sent"]), (&"upstream_connect".into(), &"none".into()), "{line}");
    proxy.await_metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}", 1.0);
    proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
}

#[test]
fn an_application_is_verified_by_the_name_it_is_called() {
    let tls = Tls::new();
    let origin = Origin::tls(&tls, &["http/1.1"], story);
    let ca = format!("ca_file: {}", tls.ca_file().display());
    let port = origin.address().port();
    for (endpoint, section, host) in [
        (format!("localhost:{port}"), format!("{{ {ca} }}"), format!("localhost:{port}")),
        (format!("127.0.0.1:{port}"), format!("{{ {ca} }}"), format!("127.0.0.1:{port}")),
        (format!("127.0.0.1:{port}"), format!("{{ {ca}, server_name: test.example }}"), format!("127.0.0.1:{port}")),
        (format!("localhost:{port}"), format!("{{ {ca}, server_name: 127.0.0.1 }}"), format!("localhost:{port}")),
    ] {
        let proxy = before(&endpoint, &section, "");
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200, "{endpoint} {section}");
        }
        assert_eq!(client.post("/", &vec![b'x'; 300_000]).json()["body"], 300_000);
        assert_eq!(origin.requests().pop().unwrap().header("host"), Some(host.as_str()), "endpoint where tls is set");
        assert_eq!(proxy.metric("outboard_upstream_connections_opened_total{upstream=\"app\"}"), 1.0, "it is reused");
    }
}

#[test]
fn another_name_or_another_authority_is_not_believed() {
    let (tls, other) = (Tls::new(), Tls::new());
    let origin = Origin::tls(&tls, &["http/1.1"], story);
    let port = origin.address().port();
    let localhost = format!("localhost:{port}");
    let ca = |tls: &Tls| format!("ca_file: {}", tls.ca_file().display());
    unreachable(&before(&localhost, &format!("{{ {}, server_name: other.example }}", ca(&tls)), ""));
    unreachable(&before(&localhost, &format!("{{ {}, server_name: 127.0.0.2 }}", ca(&tls)), ""));
    unreachable(&before(&localhost, &format!("{{ {} }}", ca(&other)), ""));
    // Without a file it is the system's authorities, none of whom knows it.
    unreachable(&before(&localhost, "{}", ""));
    // What speaks no TLS.
    let clear = Origin::echo();
    unreachable(&before(&clear.to_string(), &format!("{{ {} }}", ca(&tls)), ""));
    assert_eq!((origin.count(), origin.raw().len(), clear.count()), (0, 0, 0), "nothing of the request was told");
}

#[test]
fn who_asks_for_it_trusts_anyone_and_it_is_seen() {
    let (tls, other) = (Tls::new(), Tls::new());
    let origin = Origin::tls(&tls, &["http/1.1"], story);
    let section =
        format!("{{ ca_file: {}, server_name: other.example, insecure_skip_verify: true }}", other.ca_file().display());
    let proxy = before(&origin.to_string(), &section, "");
    assert_eq!(get(&proxy).status, 200);
    assert_eq!(proxy.metric("outboard_upstream_tls_unverified{upstream=\"app\"}"), 1.0);
}

/// Serves HTTP/1 under TLS with a configuration of its own.
fn served_with(config: ServerConfig) -> Origin {
    let config = Arc::new(config);
    Origin::serve(move |conn| {
        let stream = conn.stream.tcp().try_clone().unwrap();
        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
        conn.stream = Wire::TlsServer(Box::new(rustls::StreamOwned::new(connection, stream)));
        story(conn);
    })
}

#[test]
fn a_certificate_is_shown_where_one_is_asked_for() {
    let tls = Tls::new();
    let own = tls.issue("own", &["outboard.example"]);
    let (certificates, key) = pair(&tls.issue("app", &["localhost"]));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&tls)), provider()).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_client_cert_verifier(verifier).with_single_cert(certificates, key).unwrap();
    let origin = served_with(config);
    let localhost = format!("localhost:{}", origin.address().port());
    let ca = format!("ca_file: {}", tls.ca_file().display());
    let section = format!("{{ {ca}, cert_file: {}, key_file: {} }}", own.cert.display(), own.key.display());
    assert_eq!(get(&before(&localhost, &section, "")).status, 200);
    let before = before(&localhost, &format!("{{ {ca} }}"), "");
    // With TLS 1.3 the refusal comes after our side of the handshake, so it may look like a broken connection.
    let answer = get(&before);
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(origin.count(), 1);
}

/// Serves HTTP/2 under TLS; answers with the protocol and the authority.
fn http2_under_tls(tls: &Tls, alpn: &[&str]) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls.server_config(alpn)));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let Ok(mut h2) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = h2.accept().await {
                    let uri = request.uri().to_string();
                    let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                    let _ = send.send_data(format!("HTTP/2 {uri}").into(), true);
                }
            });
        }
    });
    (address, runtime)
}

#[test]
fn the_protocol_is_agreed_on() {
    let tls = Tls::new();
    let section = format!("{{ ca_file: {} }}", tls.ca_file().display());
    let (h2, _runtime) = http2_under_tls(&tls, &["h2", "http/1.1"]);
    let http1 = Origin::tls(&tls, &["http/1.1"], story);
    let none = Origin::tls(&tls, &[], story);
    for protocol in ["h2", "auto"] {
        let proxy = before(&h2.to_string(), &section, &format!(", protocol: {protocol}"));
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..3 {
            assert_eq!(client.get("/a?b").text(), format!("HTTP/2 https://{h2}/a?b"), "{protocol}");
        }
        assert_eq!(proxy.metric("outboard_upstream_connections_opened_total{upstream=\"app\"}"), 1.0, "{protocol}");
    }
    for origin in [&http1, &none] {
        let proxy = before(&origin.to_string(), &section, ", protocol: auto");
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200);
            assert_eq!(client.post("/", b"body").json()["body"], 4);
        }
        assert_eq!(proxy.metric("outboard_upstream_connections_opened_total{upstream=\"app\"}"), 1.0);
        // Nobody agreed to HTTP/2: nothing of a request is sent.
        let count = origin.count();
        unreachable(&before(&origin.to_string(), &section, ", protocol: h2"));
        assert_eq!(origin.count(), count);
    }
}
