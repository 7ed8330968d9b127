use super::api_server::{ApiServer, CONFIGURATION, SECRET};
use super::*;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const NAME: &str = "outboard-injector.outboard.svc";

fn bundle(api: &ApiServer) -> Option<String> {
    let configuration = api.get(CONFIGURATION)?;
    let bundle = configuration.pointer("/webhooks/0/clientConfig/caBundle")?.as_str()?.to_owned();
    Some(String::from_utf8(BASE64_STANDARD.decode(bundle).unwrap()).unwrap())
}

fn secret(api: &ApiServer, key: &str) -> String {
    let secret = api.get(SECRET).unwrap();
    String::from_utf8(BASE64_STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
}

/// Connects as an API server does: it believes the bundle alone, and comes by the Service's name.
fn connect(address: SocketAddr, bundle: &str) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let connection = rustls::ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    Client::over(common::Wire::TlsClient(Box::new(rustls::StreamOwned::new(connection, stream))))
}

#[test]
fn it_makes_its_own_certificate_and_api_servers_believe_it() {
    let api = ApiServer::start("1.34");
    let webhook = Webhook::start(&[], &api.env());
    webhook.await_ready();
    let mut client = connect(webhook.listen, &bundle(&api).expect("a bundle"));
    let made = patched(&pod(), &ask(&mut client, &review(&pod())));
    assert_eq!(made["spec"]["initContainers"][0]["name"], "outboard", "native: the version was asked");
    let until = webhook.metric("outboard_webhook_certificate_expiry_timestamp_seconds");
    assert_eq!(until.to_string(), secret(&api, "until"));
    // The CA's key is nowhere: who reads the Secret cannot make another certificate.
    assert_eq!(api.get(SECRET).unwrap()["data"].as_object().unwrap().len(), 4);
}

#[test]
fn replicas_serve_with_the_same_certificate() {
    let api = ApiServer::start("1.34");
    let replicas: Vec<Webhook> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3).map(|_| scope.spawn(|| Webhook::start(&[], &api.env()))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    replicas.iter().for_each(Webhook::await_ready);
    let bundle = bundle(&api).unwrap();
    assert!(bundle.contains(secret(&api, "ca.crt").trim()));
    for replica in &replicas {
        let mut client = connect(replica.listen, &bundle);
        assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
    }
    assert_eq!(api.get(SECRET).unwrap()["metadata"]["resourceVersion"], "1", "one of them made it");
}

#[test]
fn one_that_ends_soon_is_renewed_and_the_old_one_is_believed_beside_the_new() {
    let api = ApiServer::start("1.34");
    let first = Webhook::start(&[], &api.env());
    first.await_ready();
    let (old, old_ca) = (bundle(&api).unwrap(), secret(&api, "ca.crt"));
    // As if it had twenty days left.
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 20 * 86_400;
    let mut kept = api.get(SECRET).unwrap();
    kept["data"]["until"] = json!(BASE64_STANDARD.encode(soon.to_string()));
    api.set(SECRET, kept);
    let second = Webhook::start(&[], &api.env());
    // It waits until API servers have heard of the new CA.
    assert!(common::within(Duration::from_secs(15), || second
        .probe("/readyz")
        .is_some_and(|answer| answer.status == 200)));
    let new = bundle(&api).unwrap();
    assert_ne!(secret(&api, "ca.crt"), old_ca);
    assert!(new.contains(secret(&api, "ca.crt").trim()) && new.contains(old_ca.trim()), "{new}");
    assert_eq!(new.matches("BEGIN CERTIFICATE").count(), 2);
    // The first replica has not seen it yet.
    for replica in [&first, &second] {
        assert_eq!(ask(&mut connect(replica.listen, &new), &review(&pod()))["allowed"], true);
    }
    assert!(old.contains(old_ca.trim()));
    eventually("it said so", || second.events("certificate_renewed").len() == 1);
}

#[test]
fn a_secret_that_holds_something_else_is_replaced() {
    let api = ApiServer::start("1.34");
    api.set(SECRET, json!({ "metadata": { "name": "outboard-injector-tls", "resourceVersion": "7" }, "data": { "tls.crt": "AAAA" } }));
    let webhook = Webhook::start(&[], &api.env());
    webhook.await_ready();
    assert_eq!(api.get(SECRET).unwrap()["metadata"]["resourceVersion"], "8");
    assert_eq!(ask(&mut connect(webhook.listen, &bundle(&api).unwrap()), &review(&pod()))["allowed"], true);
}

#[test]
fn files_of_somebody_else_are_watched() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    eventually("it said so", || webhook.events("certificate_loaded").len() == 1);
    let other = tls.issue("other", &["localhost"]);
    std::fs::copy(&other.key, tls.key_file()).unwrap();
    std::fs::copy(&other.cert, tls.cert_file()).unwrap();
    let patience = Duration::from_secs(20);
    assert!(common::within(patience, || webhook.events("certificate_loaded").len() == 2), "it was not loaded");
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
    // One that does not fit is told, and changes nothing.
    std::fs::write(tls.cert_file(), "no certificate").unwrap();
    assert!(common::within(patience, || !webhook.events("certificate_refused").is_empty()), "it was not told");
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
}

#[test]
fn without_a_certificate_it_is_not_ready() {
    let api = ApiServer::start("1.34");
    let webhook = Webhook::start(&["--configuration", "nowhere"], &api.env());
    eventually("it said why", || !webhook.events("certificate_refused").is_empty());
    assert_eq!(webhook.probe("/readyz").unwrap().status, 503);
    assert_eq!(webhook.probe("/livez").unwrap().status, 200);
    let told = webhook.events("certificate_refused")[0]["cause"].as_str().unwrap().to_owned();
    assert!(told.contains("the MutatingWebhookConfiguration: it says 404"), "{told}");
}
