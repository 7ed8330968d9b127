//! The webhook as API servers meet it: the real binary, HTTPS, AdmissionReviews; and the API server as the webhook meets it.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "webhook/api_server.rs"]
mod api_server;
#[path = "webhook/certificates.rs"]
mod certificates;
#[path = "webhook/cluster.rs"]
mod cluster;
#[path = "webhook/process.rs"]
mod process;

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use common::{Client, Tls, eventually};
use process::Webhook;

/// A pod that asks for the sidecar.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "payments-5d4-", "labels": { "app": "payments" },
            "annotations": { "outboard.dev/inject": "enabled" },
        },
        "spec": { "containers": [
            { "name": "app", "image": "payments:1", "ports": [{ "name": "http", "containerPort": 8080 }] },
        ] },
    })
}

fn review(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop", "operation": "CREATE", "dryRun": false, "object": object,
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" },
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}

fn ask(client: &mut Client, review: &Value) -> Value {
    let json = [("content-type", "application/json")];
    client.request("POST", "/inject?timeout=5s", &json, review.to_string().as_bytes());
    let answer = client.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()["response"].clone()
}

/// The pod as the API server makes it.
fn patched(pod: &Value, response: &Value) -> Value {
    let patch = BASE64_STANDARD.decode(response["patch"].as_str().expect("a patch")).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
    pod
}

/// One that knows no cluster, with a certificate of files.
fn alone(tls: &Tls) -> Webhook {
    let (certificate, key) = (tls.cert_file(), tls.key_file());
    let files = ["--cert-file", certificate.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    let webhook =
        Webhook::start(&[&["--alone", "--kubernetes", "1.34", "--image", "outboard:test"], &files[..]].concat(), &[]);
    webhook.await_ready();
    webhook
}

#[test]
fn a_pod_gets_the_sidecar_and_a_dry_run_is_like_any_other() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = Client::tls(webhook.listen, &tls, "localhost", alpn);
        let mut asked = review(&pod());
        let response = ask(&mut client, &asked);
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        let made = patched(&pod(), &response);
        assert_eq!(made["spec"]["initContainers"][0]["image"], "outboard:test");
        assert_eq!(made["spec"]["containers"][0]["ports"], json!([{ "containerPort": 8080 }]));
        // What was made is not made again: webhooks are called anew when others have changed the pod.
        let again = ask(&mut client, &review(&made));
        assert_eq!((&again["allowed"], again.get("patch")), (&json!(true), None));
        asked["request"]["dryRun"] = json!(true);
        assert_eq!(ask(&mut client, &asked)["patch"], response["patch"]);
    }
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"\",result=\"injected\"}"), 4.0);
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"already\",result=\"left\"}"), 2.0);
    eventually("they are logged", || webhook.events("reviewed").len() == 4);
    let lines = webhook.events("reviewed");
    assert_eq!(lines[0]["pod"], "shop/payments-5d4-");
    assert_eq!(lines[0]["result"], "injected");
}

#[test]
fn other_operations_and_kinds_pass() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    for (key, value) in [
        ("operation", json!("UPDATE")),
        ("operation", json!("DELETE")),
        ("kind", json!({ "group": "apps", "version": "v1", "kind": "Deployment" })),
        ("kind", json!({ "group": "example.com", "version": "v7", "kind": "Surprise" })),
    ] {
        let mut asked = review(&pod());
        asked["request"][key] = value;
        let response = ask(&mut client, &asked);
        assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
    }
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"\",result=\"skipped\"}"), 4.0);
}

#[test]
fn a_wrong_annotation_refuses_the_pod_and_says_what_to_write() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let mut wrong = pod();
    wrong["metadata"]["annotations"]["outboard.dev/app-prot"] = json!("http");
    let response = ask(&mut client, &review(&wrong));
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("there is no such annotation; did you mean outboard.dev/app-port?"), "{message}");
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"annotation\",result=\"refused\"}"), 1.0);
}

#[test]
fn what_is_no_review_is_refused_and_the_next_one_is_served() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    for (method, target, body, status, cause) in [
        ("GET", "/inject", "", 405, "method"),
        ("POST", "/", "{}", 404, "path"),
        ("POST", "/inject", "{", 400, "malformed"),
        ("POST", "/inject", "[]", 400, "malformed"),
        ("POST", "/inject", r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#, 400, "version"),
        ("POST", "/inject", r#"{"apiVersion":"admission.k8s.io/v1"}"#, 400, "empty"),
    ] {
        client.request(method, target, &[], body.as_bytes());
        let answer = client.read_response();
        assert_eq!(answer.status, status, "{method} {target} {body}: {}", answer.text());
        assert!(webhook.metric(&format!("outboard_webhook_bad_requests_total{{cause=\"{cause}\"}}")) >= 1.0);
    }
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
    // Too large: by what it says, and by what it is.
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    client.send("POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
    assert_eq!(client.read_response().status, 413);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    client.send("POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    while client.try_send(&chunk).is_ok() {}
    eventually("it was refused", || webhook.metric("outboard_webhook_bad_requests_total{cause=\"too_large\"}") == 2.0);
}

/// A pod as large as API servers take.
#[test]
fn an_oversized_pod_is_answered_as_any_other() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let mut large = pod();
    large["metadata"]["annotations"]["notes"] = json!("x".repeat(3 << 20));
    assert_eq!(ask(&mut client, &review(&large))["allowed"], true);
}

fn thousand(webhook: &Webhook, tls: &Tls) -> Duration {
    let asked = review(&pod());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::tls(webhook.listen, tls, "localhost", &[]);
                for _ in 0..125 {
                    assert_eq!(ask(&mut client, &asked)["patchType"], "JSONPatch");
                }
            });
        }
    });
    started.elapsed()
}

#[test]
fn a_thousand_reviews_at_once_are_all_answered() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    println!("1,000 reviews in {:?}", thousand(&webhook, &tls));
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"\",result=\"injected\"}"), 1000.0);
}

#[test]
#[ignore = "a thousand a second need a release build and a machine that does nothing else"]
fn a_thousand_reviews_a_second() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    for _ in 0..3 {
        let took = thousand(&webhook, &tls);
        println!("1,000 reviews in {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn it_is_not_ready_any_more_when_it_leaves_and_answers_until_then() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
    webhook.terminate();
    eventually("it is not ready", || webhook.probe("/readyz").is_some_and(|answer| answer.status == 503));
    // API servers that have not heard yet, on old connections and on new ones.
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
    let mut late = Client::tls(webhook.listen, &tls, "localhost", &[]);
    assert_eq!(ask(&mut late, &review(&pod()))["allowed"], true);
    webhook.terminate();
    assert_eq!(webhook.wait().code(), Some(0));
}

#[test]
fn who_sends_nothing_holds_no_connection() {
    let tls = Tls::new();
    let webhook = alone(&tls);
    let mut silent = std::net::TcpStream::connect(webhook.listen).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    silent.write_all(b"\x16\x03").unwrap();
    // The handshake has 5 s.
    let read = std::io::Read::read(&mut silent, &mut [0; 64]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    assert_eq!(ask(&mut client, &review(&pod()))["allowed"], true);
}
