//! The stories, each in namespaces of its own.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cluster::{Endpoints, inject};
use crate::common::{Client, Wire, within};
use crate::kubelet::Pod;
use crate::load::{self, Seen};
use crate::{application, node};

/// As its team wrote it, and two annotations.
fn manifest(mode: &str, drain: &str) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata: {{ name: payments }}
spec:
  replicas: 3
  selector: {{ matchLabels: {{ app: payments }} }}
  template:
    metadata:
      labels: {{ app: payments }}
      annotations:
        outboard.dev/inject: enabled
        outboard.dev/mode: {mode}
        outboard.dev/config: |
          admin: {{ probes: "0.0.0.0:9902" }}
          drain: {drain}
          listeners:
            - {{ name: inbound, address: "0.0.0.0:${{OUTBOARD_PORT}}", direction: inbound }}
            - {{ name: egress, address: "127.0.0.1:15001", direction: outbound }}
          upstreams:
            app: {{ endpoints: ["127.0.0.1:${{APP_PORT}}"] }}
            gateway: {{ endpoints: ["{}:9000"] }}
          routes:
            - {{ name: in, match: {{ listener: inbound }}, upstream: app }}
            - {{ name: out, match: {{ listener: egress }}, upstream: gateway }}
    spec:
      containers:
        - name: payments
          image: payments:1
          ports: [{{ name: http, containerPort: 8080 }}]
          readinessProbe: {{ httpGet: {{ path: /, port: http }}, periodSeconds: 1 }}
"#,
        node::NODE
    )
}

/// Clients, 500 requests a second in all.
const CLIENTS: u64 = 50;
const EVERY: Duration = Duration::from_millis(100);

/// How many requests were lost.
fn rolling_update(mode: &str, kubernetes: &str, drain: &str) -> usize {
    node::begin();
    let template = inject(&manifest(mode, drain), kubernetes);
    let (endpoints, seen) = (Endpoints::default(), Seen::default());
    std::thread::scope(|scope| {
        scope.spawn(|| endpoints.watch());
        for number in 0..3 {
            endpoints.add(&format!("old-{number}"), &template);
        }
        assert!(within(Duration::from_secs(10), || endpoints.known().len() == 3));
        let begun = Instant::now();
        for seed in 0..CLIENTS {
            let (endpoints, seen) = (&endpoints, &seen);
            scope.spawn(move || load::client(endpoints, seen, EVERY, seed));
        }
        let before = within(Duration::from_secs(20), || seen.answered.load(Ordering::Relaxed) > 1000);
        assert!(before, "{:?}", seen.failed.lock().unwrap());
        let slowest = endpoints.roll(&template);
        let after = seen.answered.load(Ordering::Relaxed);
        assert!(within(Duration::from_secs(20), || seen.answered.load(Ordering::Relaxed) > after + 1000));
        let took = begun.elapsed();
        seen.end();
        endpoints.end();
        let (answered, failed) = (seen.answered.load(Ordering::Relaxed), seen.failed.lock().unwrap());
        let served: Vec<usize> = seen.served.lock().unwrap().values().copied().collect();
        println!(
            "{mode}: {answered} requests in {took:.1?}, {:.0} a second, {} failed; the slowest pod ended after {slowest:.1?}; \
             served by each: {served:?}",
            answered as f64 / took.as_secs_f64(),
            failed.len(),
        );
        failed.iter().take(10).for_each(|what| println!("lost: {what}"));
        assert_eq!(served.len(), 6, "every replica served, the old and the new");
        failed.len()
    })
}

#[test]
#[ignore = "in namespaces of its own"]
fn rolling_update_native() {
    assert_eq!(rolling_update("native", "1.34", "{}"), 0);
}

#[test]
#[ignore = "in namespaces of its own"]
fn rolling_update_classic() {
    assert_eq!(rolling_update("classic", "1.31", "{}"), 0);
}

#[test]
#[ignore = "in namespaces of its own"]
fn rolling_update_without_delay() {
    assert!(rolling_update("native", "1.34", "{ delay: 0s }") > 10);
}

/// A charge that began before its pod was deleted: 4.5 s into the drain the application asks its gateway.
fn charge(mode: &str, kubernetes: &str) {
    node::begin();
    let gateway = application::gateway_on(SocketAddr::from((node::NODE, 9000)));
    let pod = Pod::start("payments", &inject(&manifest(mode, "{}"), kubernetes));
    assert!(within(Duration::from_secs(20), || pod.is_ready()));
    let mut client = Client::over(Wire::Tcp(TcpStream::connect(pod.target("http")).unwrap()));
    client.request("POST", "/charge", &[], b"{}");
    std::thread::scope(|scope| {
        let end = scope.spawn(|| pod.end());
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "authorized"));
        assert_eq!(answer.header("connection"), Some("close"), "the drain had begun");
        let (took, killed) = end.join().unwrap();
        println!("{mode}: the pod ended after {took:.1?}");
        assert!(!killed);
        // Nobody waited for more than was there to be waited for.
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(15), "{took:?}");
    });
    assert_eq!(gateway.count(), 1);
}

#[test]
#[ignore = "in namespaces of its own"]
fn charge_native() {
    charge("native", "1.34");
}

#[test]
#[ignore = "in namespaces of its own"]
fn charge_classic() {
    charge("classic", "1.31");
}
