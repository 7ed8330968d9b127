//! TLS on a listener.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};

use super::{ask, client, connect};
use crate::common::*;

fn listening(protocols: &str, tls: &str) -> (Origin, Proxy) {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", protocols: {protocols}, tls: {tls} }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\n"
    ));
    (origin, proxy)
}

fn refused(proxy: &Proxy, count: f64) {
    proxy.await_metric("outboard_connections_refused_total{cause=\"tls\",listener=\"inbound\"}", count);
}

#[test]
fn both_protocols_are_spoken_by_agreement() {
    let tls = Tls::new();
    let (origin, proxy) = listening("[http1, h2]", &tls.listener_yaml());
    let addr = proxy.addr("inbound");
    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = Client::tls(addr, &tls, "localhost", alpn);
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.post("/", &vec![b'x'; 200_000]).json()["body"], 200_000);
    }
    let client = http2::Client::tls(addr, &tls, "localhost");
    assert_eq!(client.get("/").unwrap().status, 200);
    assert_eq!(client.post("/", vec![b'x'; 200_000]).unwrap().json()["body"], 200_000);
    for seen in origin.requests() {
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert!(seen.header("forwarded").unwrap().ends_with("proto=https"));
    }
    let line = proxy.access_line("/");
    assert_eq!(line["tls"], true, "{line}");
}

#[test]
fn what_is_not_spoken_is_not_agreed_on() {
    let tls = Tls::new();
    let (_origin, proxy) = listening("[http1]", &tls.listener_yaml());
    let mut config = client(&tls, &[&TLS13], None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(ask(connect(proxy.addr("inbound"), config)).is_err());
    refused(&proxy, 1.0);
    // Clear text is no handshake.
    assert!(ask(Client::connect(proxy.addr("inbound"))).is_err());
    refused(&proxy, 2.0);

    let (_origin, proxy) = listening("[h2]", &tls.listener_yaml());
    let mut config = client(&tls, &[&TLS13], None);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(ask(connect(proxy.addr("inbound"), config)).is_err());
    refused(&proxy, 1.0);
    let client = http2::Client::tls(proxy.addr("inbound"), &tls, "localhost");
    assert_eq!(client.get("/").unwrap().status, 200);
}

#[test]
fn an_old_version_is_refused_where_a_new_one_is_asked_for() {
    let tls = Tls::new();
    let (_origin, proxy) = listening("[http1, h2]", &tls.listener_yaml());
    for version in [&TLS12, &TLS13] {
        assert_eq!(ask(connect(proxy.addr("inbound"), client(&tls, &[version], None))).unwrap().status, 200);
    }
    let yaml = tls.listener_yaml().replace(" }", ", min_version: \"1.3\" }");
    let (origin, proxy) = listening("[http1, h2]", &yaml);
    assert_eq!(ask(connect(proxy.addr("inbound"), client(&tls, &[&TLS13], None))).unwrap().status, 200);
    assert!(ask(connect(proxy.addr("inbound"), client(&tls, &[&TLS12], None))).is_err());
    refused(&proxy, 1.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_without_the_certificate_that_is_asked_for_is_refused() {
    let (tls, other) = (Tls::new(), Tls::new());
    let own = tls.issue("client", &["client.example"]);
    let foreign = other.issue("client", &["client.example"]);
    let yaml = tls.listener_yaml().replace(" }", &format!(", client_ca_file: {} }}", tls.ca_file().display()));
    let (origin, proxy) = listening("[http1, h2]", &yaml);
    let versions = [&TLS12, &TLS13];
    for version in versions {
        let addr = proxy.addr("inbound");
        assert_eq!(ask(connect(addr, client(&tls, &[version], Some(&own)))).unwrap().status, 200);
        assert!(ask(connect(addr, client(&tls, &[version], None))).is_err());
        assert!(ask(connect(addr, client(&tls, &[version], Some(&foreign)))).is_err());
    }
    refused(&proxy, 4.0);
    assert_eq!(origin.count(), 2);
}

/// The certificate that a new connection is shown.
fn shown(proxy: &Proxy, tls: &Tls) -> CertificateDer<'static> {
    let mut client = connect(proxy.addr("inbound"), client(tls, &[&TLS13], None));
    assert_eq!(client.get("/").status, 200);
    let Wire::TlsClient(stream) = &client.wire else { unreachable!() };
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let tls = Tls::new();
    let first = tls.issue("used", &["localhost"]);
    let yaml = format!("{{ cert_file: {}, key_file: {} }}", first.cert.display(), first.key.display());
    let (_origin, proxy) = listening("[http1, h2]", &yaml);
    let shown = || shown(&proxy, &tls);
    let before = CertificateDer::from_pem_file(&first.cert).unwrap();
    assert!(shown() == before);
    let mut kept = Client::tls(proxy.addr("inbound"), &tls, "localhost", &["http/1.1"]);
    assert_eq!(kept.get("/").status, 200);
    let second = tls.issue("used", &["localhost"]);
    let after = CertificateDer::from_pem_file(&second.cert).unwrap();
    eventually("the new certificate is shown", || shown() == after);
    assert_eq!(kept.get("/").status, 200, "a connection that stands is not touched");
    // A broken file changes nothing.
    std::fs::write(&first.cert, "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n").unwrap();
    eventually("it is told", || !proxy.events("certificate_refused").is_empty());
    assert!(shown() == after);
    assert!(!proxy.raw_output().contains("PRIVATE KEY"));
}

/// Kubernetes swaps the link `..data` to another folder when a Secret changes; the files' own links never change.
#[test]
fn a_secret_is_noticed_when_its_link_is_swapped() {
    let (tls, dir) = (Tls::new(), tempfile::tempdir().unwrap());
    let swap = |version: &str| {
        let (pair, folder) = (tls.issue(version, &["localhost"]), dir.path().join(version));
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(&pair.cert, folder.join("tls.crt")).unwrap();
        std::fs::copy(&pair.key, folder.join("tls.key")).unwrap();
        symlink(version, dir.path().join("..tmp")).unwrap();
        std::fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
        CertificateDer::from_pem_file(&pair.cert).unwrap()
    };
    let first = swap("..v1");
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| {
        symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
        dir.path().join(name)
    });
    let yaml = format!("{{ cert_file: {}, key_file: {} }}", cert.display(), key.display());
    let (_origin, proxy) = listening("[http1, h2]", &yaml);
    assert!(shown(&proxy, &tls) == first);
    for version in ["..v2", "..v3"] {
        let next = swap(version);
        eventually("the new certificate is shown", || shown(&proxy, &tls) == next);
    }
}

#[test]
fn a_handshake_that_never_comes_ends_in_time() {
    let tls = Tls::new();
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", protocols: [http1, h2], tls: {} }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\nlimits: {{ header_read_timeout: 500ms }}\n",
        tls.listener_yaml()
    ));
    let mut silent = Client::connect(proxy.addr("inbound"));
    assert!(silent.is_closed(std::time::Duration::from_millis(1500)));
    proxy.await_metric("outboard_connections_refused_total{cause=\"timeout\",listener=\"inbound\"}", 1.0);
}
