//! The webhook as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::common::{Client, Response, eventually};

/// It ends with the test.
pub(crate) struct Webhook {
    pub(crate) listen: SocketAddr,
    pub(crate) probes: SocketAddr,
    child: Mutex<Child>,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(args: &[&str], env: &[(&str, String)]) -> Webhook {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args(["webhook", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0"]).args(args);
        command.envs(env.iter().map(|(name, value)| (name, value))).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = lines.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                written.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let started = || lines.lock().unwrap().iter().find(|line| line["event"] == "webhook_started").cloned();
        eventually("the webhook listens", || started().is_some());
        let started = started().unwrap();
        let address = |key: &str| started[key].as_str().unwrap().parse().unwrap();
        let (listen, probes) = (address("listen"), address("probes"));
        Webhook { listen, probes, child: Mutex::new(child), lines }
    }

    pub(crate) fn await_ready(&self) {
        eventually("the webhook is ready", || self.probe("/readyz").is_some_and(|answer| answer.status == 200));
    }

    /// What the kubelet gets; none where nobody listens.
    pub(crate) fn probe(&self, path: &str) -> Option<Response> {
        let stream = std::net::TcpStream::connect(self.probes).ok()?;
        let mut client = Client::over(crate::common::Wire::Tcp(stream));
        client.try_send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).ok()?;
        client.try_read_response("GET").ok()
    }

    /// A counter or a gauge.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.probe("/metrics").unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        line.unwrap_or(0.0)
    }

    /// The lines of an event.
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        self.lines.lock().unwrap().iter().filter(|line| line["event"] == event).cloned().collect()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child.lock().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&self) -> ExitStatus {
        let mut ended = None;
        eventually("the webhook ends", || {
            ended = self.child.lock().unwrap().try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
