//! The PROXY protocol: who connected is told by a load balancer, and believed from a trusted one alone.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::*;
use rustls::{ClientConnection, StreamOwned};

const V1: &[u8] = b"PROXY TCP4 198.51.100.7 127.0.0.1 5555 80\r\n";

/// Version 2: command, family, and what follows the length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    out.extend_from_slice(rest);
    out
}

fn v4() -> Vec<u8> {
    v2(0x21, 0x11, &[198, 51, 100, 7, 127, 0, 0, 1, 0x15, 0xb3, 0, 80])
}

fn v6() -> Vec<u8> {
    let mut rest = [0u8; 36];
    rest[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    rest[15] = 7;
    // And a TLV behind the addresses.
    let mut rest = rest.to_vec();
    rest.extend_from_slice(&[0x04, 0, 3, 1, 2, 3]);
    v2(0x21, 0x21, &rest)
}

fn local() -> Vec<u8> {
    v2(0x20, 0x00, &[])
}

fn listening(mode: &str, trusted: &str, more: &str) -> (Origin, Proxy) {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", proxy_protocol: {mode}, trusted_proxies: [{trusted}]{more} }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\nlimits: {{ header_read_timeout: 700ms }}\n"
    ));
    (origin, proxy)
}

const LOOPBACK: &str = "127.0.0.0/8";

/// What the application is told of the client after these bytes; none where no request came through.
fn told(origin: &Origin, proxy: &Proxy, header: &[u8]) -> Option<String> {
    let mut client = Client::connect(proxy.addr("inbound"));
    let before = origin.count();
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: test.example\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    let _ = client.try_send(bytes);
    let answer = client.try_read_response("GET").ok().filter(|a| a.status == 200)?;
    assert_eq!(answer.status, 200);
    assert_eq!(origin.count(), before + 1);
    Some(origin.requests().pop().unwrap().header("x-forwarded-for").unwrap().to_owned())
}

fn refused(proxy: &Proxy, cause: &str, count: f64) {
    proxy.await_metric(&format!("outboard_connections_refused_total{{cause=\"{cause}\",listener=\"inbound\"}}"), count);
}

#[test]
fn a_required_header_says_who_the_client_is() {
    let (origin, proxy) = listening("required", LOOPBACK, "");
    // The client it names is not one of the trusted: what that client forged is removed.
    assert_eq!(told(&origin, &proxy, V1).unwrap(), "198.51.100.7");
    assert_eq!(told(&origin, &proxy, &v4()).unwrap(), "198.51.100.7");
    assert_eq!(told(&origin, &proxy, &v6()).unwrap(), "2001:db8::7");
    assert_eq!(told(&origin, &proxy, b"PROXY TCP6 2001:db8::9 ::1 5 80\r\n").unwrap(), "2001:db8::9");
    // LOCAL and UNKNOWN name nobody: the peer itself is the client, and it is trusted.
    assert_eq!(told(&origin, &proxy, &local()).unwrap(), "9.9.9.9, 127.0.0.1");
    assert_eq!(told(&origin, &proxy, b"PROXY UNKNOWN\r\n").unwrap(), "9.9.9.9, 127.0.0.1");
    assert_eq!(proxy.access_lines()[0]["client"], "198.51.100.7");
    // Without one the connection is closed, unanswered.
    assert_eq!(told(&origin, &proxy, b""), None);
    refused(&proxy, "proxy_protocol", 1.0);
}

#[test]
fn an_optional_header_may_be_missing() {
    let (origin, proxy) = listening("optional", LOOPBACK, "");
    assert_eq!(told(&origin, &proxy, V1).unwrap(), "198.51.100.7");
    assert_eq!(told(&origin, &proxy, &v4()).unwrap(), "198.51.100.7");
    assert_eq!(told(&origin, &proxy, b"").unwrap(), "9.9.9.9, 127.0.0.1");
    // Methods that begin like a header are methods.
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("P");
    client.send("ROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
}

#[test]
fn strangers_and_listeners_without_it_take_the_bytes_as_they_are() {
    // `required`: a stranger is closed whatever it says. `optional` and `off`: it is a bad request.
    let (origin, proxy) = listening("required", "10.0.0.0/8", "");
    assert_eq!(told(&origin, &proxy, V1), None);
    assert_eq!(told(&origin, &proxy, b""), None);
    refused(&proxy, "proxy_protocol", 2.0);
    for mode in ["optional", "off"] {
        let (origin, proxy) = listening(mode, "10.0.0.0/8", "");
        for header in [V1.to_vec(), v4()] {
            let mut client = Client::connect(proxy.addr("inbound"));
            client.send(&header);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.read_response().status, 400, "{mode}");
            assert!(client.is_closed(patience()));
        }
        assert_eq!(told(&origin, &proxy, b"").unwrap(), "127.0.0.1");
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn a_header_may_come_byte_by_byte_but_not_for_ever() {
    let (origin, proxy) = listening("required", LOOPBACK, "");
    for header in [V1.to_vec(), v6()] {
        let mut client = Client::connect(proxy.addr("inbound"));
        for byte in &header {
            client.send([*byte]);
        }
        assert_eq!(client.get("/").status, 200);
    }
    for part in [&V1[..20], &v4()[..14], b""] {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send(part);
        assert!(client.is_closed(Duration::from_millis(1700)));
    }
    refused(&proxy, "timeout", 3.0);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_malformed_header_closes_the_connection() {
    let (origin, proxy) = listening("required", LOOPBACK, "");
    let mut long = b"PROXY TCP4 ".to_vec();
    long.resize(120, b'1');
    let bad: Vec<Vec<u8>> = vec![
        b"PROXY TCP4 1.2.3.4\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 1.2.3.4 80 99999\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 1.2.3.4 80 80\n".to_vec(),
        b"PROXY TCP9 a b 1 2\r\n".to_vec(),
        long,
        v2(0x31, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 4]),
        v2(0x21, 0x11, &[0; 600]),
        v2(0x21, 0x91, &[0; 12]),
    ];
    for header in &bad {
        assert_eq!(told(&origin, &proxy, header), None, "{}", header.escape_ascii());
    }
    refused(&proxy, "proxy_protocol", bad.len() as f64);
    assert_eq!(origin.count(), 0);
}

#[test]
fn it_comes_before_tls_and_before_http2() {
    let tls = Tls::new();
    let more = format!(", protocols: [http1, h2], tls: {}", tls.listener_yaml());
    let (origin, proxy) = listening("required", LOOPBACK, &more);
    let mut stream = std::net::TcpStream::connect(proxy.addr("inbound")).unwrap();
    std::io::Write::write_all(&mut stream, &v4()).unwrap();
    let config = std::sync::Arc::new(tls.client_config(&["http/1.1"]));
    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut client = Client::over(Wire::TlsClient(Box::new(StreamOwned::new(connection, stream))));
    assert_eq!(client.get("/").status, 200);
    let seen = origin.requests().pop().unwrap();
    assert_eq!(
        (seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")),
        (Some("198.51.100.7"), Some("https"))
    );

    for protocols in ["[h2c]", "[http1, h2c]"] {
        let (origin, proxy) = listening("required", LOOPBACK, &format!(", protocols: {protocols}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let mut stream = tokio::net::TcpStream::connect(proxy.addr("inbound")).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, V1).await.unwrap();
            let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = http2::Client::build("GET", "/");
            send.send_request(request, true).unwrap().0.await.unwrap().status()
        });
        assert_eq!(status, 200, "{protocols}");
        assert_eq!(origin.requests()[0].header("x-forwarded-for"), Some("198.51.100.7"));
    }
}
