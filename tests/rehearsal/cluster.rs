//! A Deployment and its Service: replicas, a rolling update (maxSurge 1, maxUnavailable 0), and endpoints that everybody learns
//! of late.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::within;
use crate::kubelet::Pod;

/// How late a balancer learns of a change.
const LATE: Duration = Duration::from_secs(3);

/// A manifest with one Deployment, injected by the command, as the pods of it.
pub(crate) fn inject(manifest: &str, kubernetes: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payments.yaml");
    std::fs::write(&file, manifest).unwrap();
    let args = ["inject", "--kubernetes", kubernetes, "-f", file.to_str().unwrap()];
    let ran = Command::new(env!("CARGO_BIN_EXE_outboard")).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let object: Value = serde_yaml::from_slice(&ran.stdout).unwrap();
    object["spec"]["template"].clone()
}

/// The endpoints of a Service, as its balancers know them.
#[derive(Default)]
pub(crate) struct Endpoints {
    pods: Mutex<Vec<Arc<Pod>>>,
    /// What was so since when.
    history: Mutex<VecDeque<(Instant, Vec<SocketAddr>)>>,
    ends: AtomicBool,
}

impl Endpoints {
    /// What balancers send to now: what was so 3 s ago.
    pub(crate) fn known(&self) -> Vec<SocketAddr> {
        let history = self.history.lock().unwrap();
        let known = history.iter().rev().find(|(since, _)| since.elapsed() >= LATE);
        known.map(|(_, endpoints)| endpoints.clone()).unwrap_or_default()
    }

    /// Looks at the pods' readiness until it is told to end.
    pub(crate) fn watch(&self) {
        while !self.ends.load(Ordering::SeqCst) {
            let pods = self.pods.lock().unwrap().clone();
            let ready: Vec<SocketAddr> =
                pods.iter().filter(|pod| pod.is_ready()).map(|pod| pod.target("http")).collect();
            let mut history = self.history.lock().unwrap();
            if history.back().is_none_or(|(_, last)| *last != ready) {
                history.push_back((Instant::now(), ready));
            }
            drop(history);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    fn ready(&self, pod: &Pod) -> bool {
        let history = self.history.lock().unwrap();
        history.back().is_some_and(|(_, ready)| ready.contains(&pod.target("http")))
    }

    /// Adds a pod; returns when it is ready.
    pub(crate) fn add(&self, name: &str, template: &Value) -> Arc<Pod> {
        let pod = Pod::start(name, template);
        self.pods.lock().unwrap().push(pod.clone());
        assert!(within(Duration::from_secs(40), || self.ready(&pod)), "{name} is not ready");
        pod
    }

    /// Replaces every pod by a new one, as a Deployment does it. How long the slowest took to end.
    pub(crate) fn roll(&self, template: &Value) -> Duration {
        let old = self.pods.lock().unwrap().clone();
        std::thread::scope(|scope| {
            let mut ends = Vec::new();
            for (number, pod) in old.into_iter().enumerate() {
                self.add(&format!("new-{number}"), template);
                // The next one does not wait for its end.
                ends.push(scope.spawn(move || {
                    let (took, killed) = pod.end();
                    assert!(!killed, "{} at {} was killed", pod.name, pod.address());
                    self.pods.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &pod));
                    took
                }));
            }
            ends.into_iter().map(|end| end.join().unwrap()).max().unwrap()
        })
    }
}
