//! The kubelet, for one pod: start order, probes, and the end, as Kubernetes does it.
//!
//! What it does stands in the pod: the JSON that injection wrote. Containers that are init containers with
//! `restartPolicy: Always` start first and are waited for by their startupProbe; the others start in their order, each after the
//! postStart of the one before. At the end all preStop hooks run at once; a container gets SIGTERM when its own is over, a native
//! sidecar when in addition all containers have ended; what is left at the end of the grace period is killed.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::application;
use crate::common::{Client, Wire, within};
use crate::node::{Process, Sandbox};

/// How long anything may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

struct Container {
    spec: Value,
    native: bool,
    process: Process,
}

/// A pod that runs.
pub(crate) struct Pod {
    pub(crate) name: String,
    spec: Value,
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    containers: Vec<Container>,
    terminating: AtomicBool,
}

impl Pod {
    /// Starts it; returns when all of it has started.
    pub(crate) fn start(name: &str, pod: &Value) -> Arc<Pod> {
        let folder = tempfile::tempdir().unwrap();
        // The volume that the annotation is projected into.
        let configuration = pod["metadata"]["annotations"]["outboard.dev/config"].as_str().unwrap();
        std::fs::write(folder.path().join("outboard.yaml"), configuration).unwrap();
        let mut this = Pod {
            name: name.to_owned(),
            spec: pod["spec"].clone(),
            sandbox: Sandbox::new(),
            folder,
            containers: Vec::new(),
            terminating: AtomicBool::new(false),
        };
        let list = |key: &str| pod["spec"].get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        for spec in list("initContainers") {
            assert_eq!(spec["restartPolicy"], "Always", "no other init containers here");
            let probe = spec["startupProbe"].clone();
            this.run(spec, true);
            let started = within(PATIENCE, || this.probe(&probe));
            assert!(started, "{name}: its sidecar did not start");
        }
        for spec in list("containers") {
            let hook = spec.pointer("/lifecycle/postStart").cloned();
            this.run(spec, false);
            if let Some(hook) = hook {
                assert!(this.exec(&hook), "{name}: its postStart failed");
            }
        }
        Arc::new(this)
    }

    fn run(&mut self, spec: Value, native: bool) {
        let (program, args) = if spec["name"] == "outboard" {
            let args = spec["args"].as_array().unwrap().iter().map(|arg| self.place(arg.as_str().unwrap()));
            (env!("CARGO_BIN_EXE_outboard").to_owned(), args.collect())
        } else {
            application::command()
        };
        let process = self.sandbox.start(&program, &args, &self.env(&spec));
        self.containers.push(Container { spec, native, process });
    }

    /// A path of the container as it is here: there is no mount namespace.
    fn place(&self, text: &str) -> String {
        text.replace("/etc/outboard", &self.folder.path().display().to_string())
    }

    fn env(&self, spec: &Value) -> Vec<(String, String)> {
        let given = spec.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |value: &Value| self.place(value.as_str().unwrap());
        let mut env: Vec<_> =
            given.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect();
        env.push(("XDG_RUNTIME_DIR".into(), self.folder.path().display().to_string()));
        env
    }

    /// Runs the command of a probe or a hook in the sidecar's container.
    fn exec(&self, hook: &Value) -> bool {
        let command = hook.pointer("/exec/command").and_then(Value::as_array).unwrap();
        let args: Vec<String> = command[1..].iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        assert_eq!(command[0], "/outboard");
        let sidecar = self.containers.iter().find(|container| container.spec["name"] == "outboard").unwrap();
        self.sandbox.run(env!("CARGO_BIN_EXE_outboard"), &args, &self.env(&sidecar.spec))
    }

    fn probe(&self, probe: &Value) -> bool {
        let Some(get) = probe.get("httpGet") else { return self.exec(probe) };
        let address = SocketAddr::from((self.sandbox.address, get["port"].as_u64().unwrap() as u16));
        let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
        let mut client = Client::over(Wire::Tcp(stream));
        let path = get["path"].as_str().unwrap();
        let asked = client.try_send(format!("GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"));
        asked.is_ok() && client.try_read_response("GET").is_ok_and(|answer| (200..400).contains(&answer.status))
    }

    /// Whether every container's readinessProbe passes.
    pub(crate) fn is_ready(&self) -> bool {
        let probes = self.containers.iter().filter_map(|container| container.spec.get("readinessProbe"));
        !self.terminating.load(Ordering::SeqCst) && probes.into_iter().all(|probe| self.probe(probe))
    }

    /// Where a Service with this targetPort reaches it.
    pub(crate) fn target(&self, name: &str) -> SocketAddr {
        let ports = self.containers.iter().filter_map(|container| container.spec.get("ports")?.as_array());
        let port = ports.flatten().find(|port| port["name"] == name).expect("the port of this name");
        SocketAddr::from((self.sandbox.address, port["containerPort"].as_u64().unwrap() as u16))
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.sandbox.address
    }

    /// Ends it; returns when it has ended. How long that took, and whether anything had to be killed.
    pub(crate) fn end(&self) -> (Duration, bool) {
        self.terminating.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let grace = self.spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
        let until = begun + Duration::from_secs(grace);
        std::thread::scope(|scope| {
            for container in &self.containers {
                scope.spawn(move || {
                    self.pre_stop(container, until);
                    if container.native {
                        let others = || self.containers.iter().filter(|other| !other.native);
                        wait(until, || others().all(|other| other.process.ended().is_some()));
                    }
                    container.process.signal(Signal::TERM);
                    wait(until, || container.process.ended().is_some());
                });
            }
        });
        let left = self.containers.iter().filter(|container| container.process.ended().is_none());
        let killed = left.inspect(|container| container.process.signal(Signal::KILL)).count() > 0;
        (begun.elapsed(), killed)
    }

    fn pre_stop(&self, container: &Container, until: Instant) {
        let Some(hook) = container.spec.pointer("/lifecycle/preStop") else { return };
        match hook.pointer("/sleep/seconds").and_then(Value::as_u64) {
            Some(seconds) => {
                let over = (Instant::now() + Duration::from_secs(seconds)).min(until);
                wait(over, || container.process.ended().is_some());
            }
            None => assert!(self.exec(hook), "{}: its preStop failed", self.name),
        }
    }
}

/// Until something is so, or a moment has come.
fn wait(until: Instant, is_so: impl FnMut() -> bool) {
    within(until.saturating_duration_since(Instant::now()), is_so);
}
