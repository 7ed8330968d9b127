//! The real binary as a child process, asked over its administration and read by its log.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use serde_json::Value;

use super::{Client, Response, patience};

/// A proxy that runs. Dropped, it is killed.
pub struct Proxy {
    child: Mutex<Child>,
    output: Arc<Mutex<Vec<u8>>>,
    dir: Arc<tempfile::TempDir>,
    config: PathBuf,
    started: Started,
}

/// What the start told.
struct Started {
    admin: SocketAddr,
    listeners: Vec<(String, String)>,
    token: String,
}

impl Proxy {
    /// Runs on this configuration, whose listeners have port 0, and returns when it accepts. Administration on port 0 is
    /// added where the configuration says nothing of it. Logging must be at info or below, as JSON.
    #[track_caller]
    pub fn start(yaml: &str) -> Proxy {
        Proxy::with_args(yaml, &[])
    }

    /// The same with more arguments behind `run --config FILE`.
    #[track_caller]
    pub fn with_args(yaml: &str, args: &[&str]) -> Proxy {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = dir.path().join("outboard.yaml");
        write(&config, yaml);
        Proxy::launch(dir, config, args, &[])
    }

    /// The same with environment variables.
    #[track_caller]
    pub fn with_env(yaml: &str, env: &[(&str, &str)]) -> Proxy {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = dir.path().join("outboard.yaml");
        write(&config, yaml);
        Proxy::launch(dir, config, &[], env)
    }

    /// Another process on the same file in the same folder, for `--upgrade`.
    #[track_caller]
    pub fn successor(&self, args: &[&str]) -> Proxy {
        Proxy::launch(self.dir.clone(), self.config.clone(), args, &[])
    }

    #[track_caller]
    fn launch(dir: Arc<tempfile::TempDir>, config: PathBuf, args: &[&str], env: &[(&str, &str)]) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.arg("run").arg("--config").arg(&config).args(args);
        command.env("XDG_RUNTIME_DIR", dir.path()).envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        match wait_for_start(&mut child, &output) {
            Some(started) => Proxy { child: Mutex::new(child), output, dir, config, started },
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the proxy did not start:\n{}", text(&output));
            }
        }
    }

    /// Where a listener accepts.
    #[track_caller]
    pub fn addr(&self, listener: &str) -> SocketAddr {
        self.address(listener).parse().unwrap()
    }

    /// The same as text, for a Unix socket.
    #[track_caller]
    pub fn address(&self, listener: &str) -> String {
        let found = self.started.listeners.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("no listener {listener}")).1.clone()
    }

    /// Where administration listens.
    pub fn admin(&self) -> SocketAddr {
        self.started.admin
    }

    /// The token of the administration.
    pub fn token(&self) -> &str {
        &self.started.token
    }

    /// GET of the administration, with the token.
    pub fn admin_get(&self, path: &str) -> Response {
        self.admin_request("GET", path, "")
    }

    /// POST of the administration, with the token.
    pub fn admin_post(&self, path: &str, json: &str) -> Response {
        self.admin_request("POST", path, json)
    }

    fn admin_request(&self, method: &str, path: &str, body: &str) -> Response {
        let mut client = Client::connect(self.admin());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.admin(),
            self.token(),
            body.len()
        );
        client.send(head);
        client.read_response()
    }

    /// The page that a scraper reads.
    pub fn metrics(&self) -> String {
        self.admin_get("/metrics").text()
    }

    /// The value of one series, spelled as on the page: labels in the order of their names. 0 where it is absent.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.metrics();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }

    /// The sum of every series that begins so.
    pub fn metric_sum(&self, prefix: &str) -> f64 {
        let page = self.metrics();
        let of = page.lines().filter(|line| line.starts_with(prefix));
        of.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits until a series has this value.
    #[track_caller]
    pub fn await_metric(&self, series: &str, value: f64) {
        let mut last = 0.0;
        let met = super::within(patience(), || {
            last = self.metric(series);
            last == value
        });
        assert!(met, "{series} is {last}, expected {value}\n{}", self.raw_output());
    }

    /// Every log line so far.
    pub fn logs(&self) -> Vec<Value> {
        self.raw_output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The log lines of one event.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.logs().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// The access lines so far.
    pub fn access_lines(&self) -> Vec<Value> {
        self.events("access")
    }

    /// The first access line of this path, once it is written.
    #[track_caller]
    pub fn access_line(&self, path: &str) -> Value {
        let mut found = None;
        self.eventually(&format!("an access line of {path}"), || {
            found = self.access_lines().into_iter().find(|line| line["path"] == path);
            found.is_some()
        });
        found.unwrap()
    }

    /// Everything it wrote to its standard output and its standard error.
    pub fn raw_output(&self) -> String {
        text(&self.output)
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        super::eventually(what, condition);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    }

    /// Its exit status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&self, limit: Duration) -> ExitStatus {
        let ended = super::within(limit, || self.ended().is_some());
        assert!(ended, "still running after {limit:?}:\n{}", self.raw_output());
        self.ended().unwrap()
    }

    /// Replaces the configuration file, as a whole and at once.
    pub fn write_config(&self, yaml: &str) {
        let beside = self.config.with_extension("new");
        write(&beside, yaml);
        std::fs::rename(beside, &self.config).unwrap();
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let Ok(child) = self.child.get_mut() else { return };
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            let output = text(&self.output);
            let from = output.char_indices().rev().nth(4000).map_or(0, |(i, _)| i);
            eprintln!("the proxy's last output:\n{}", &output[from..]);
        }
    }
}

fn write(path: &Path, yaml: &str) {
    let admin = yaml.lines().any(|line| line.starts_with("admin:"));
    let added = if admin { "" } else { "\nadmin: { address: \"127.0.0.1:0\" }\n" };
    std::fs::write(path, format!("{yaml}{added}")).unwrap();
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buf = [0; 16 << 10];
        // Lines of the two streams must not cut each other.
        let mut line = Vec::new();
        while let Ok(n @ 1..) = from.read(&mut buf) {
            line.extend_from_slice(&buf[..n]);
            if let Some(end) = line.iter().rposition(|b| *b == b'\n') {
                into.lock().unwrap().extend(line.drain(..=end));
            }
        }
        into.lock().unwrap().append(&mut line);
    });
}

fn text(output: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&output.lock().unwrap()).into_owned()
}

/// Waits for the line `started`; nothing when the process ended instead.
fn wait_for_start(child: &mut Child, output: &Mutex<Vec<u8>>) -> Option<Started> {
    let begun = Instant::now();
    let mut seen: Option<Instant> = None;
    while begun.elapsed() < patience() * 2 {
        let text = text(output);
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if let Some(started) = lines.iter().find(|line| line["event"] == "started") {
            let word = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
            let listening = lines.iter().filter(|line| line["event"] == "listening");
            let token = text.lines().find_map(|line| line.split_once("/dashboard#token=")).map(|(_, token)| token);
            // The token comes by the other stream, which another thread reads. With a token file it never comes.
            let seen = *seen.get_or_insert_with(Instant::now);
            if token.is_none() && seen.elapsed() < Duration::from_millis(500) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            return Some(Started {
                admin: word(started, "admin").parse().unwrap(),
                listeners: listening.map(|line| (word(line, "listener"), word(line, "address"))).collect(),
                token: token.unwrap_or_default().trim().to_owned(),
            });
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
