//! `run --upgrade`: a new process takes the listening sockets over from the one that runs, and nobody notices.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, Origin, Proxy, eventually, yaml};

const LONG: Duration = Duration::from_secs(15);

fn config(app: &Origin, socket: &Path) -> String {
    let runtime = format!("runtime: {{ threads: 1, upgrade_socket: \"{}\" }}", socket.display());
    yaml(app, &format!("{runtime}\ndrain: {{ delay: 500ms }}\nlogging: {{ access: {{ sample: 0%, slow: 1m }} }}"))
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Clients that ask without a pause: half of them make a new connection for every request, half keep one.
struct Load {
    good: Arc<AtomicUsize>,
    bad: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(addr: SocketAddr) -> Load {
        let mut load = Load { good: Arc::default(), bad: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for i in 0..4 {
            let (good, bad, stop) = (load.good.clone(), load.bad.clone(), load.stop.clone());
            load.threads.push(std::thread::spawn(move || {
                let mut kept = None;
                while !stop.load(Ordering::SeqCst) {
                    match if i % 2 == 0 { ask(addr) } else { ask_kept(addr, &mut kept) } {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") && answer.ends_with("done") => {
                            good.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(answer) => bad.lock().unwrap().push(answer),
                        Err(e) => bad.lock().unwrap().push(e.to_string()),
                    }
                }
            }));
        }
        load
    }

    fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }

    /// Waits until this many more requests were answered.
    #[track_caller]
    fn more(&self, count: usize) {
        let before = self.good();
        eventually("more answers", || self.good() >= before + count || !self.bad.lock().unwrap().is_empty());
    }

    /// How many were answered; panics if one was not.
    #[track_caller]
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        assert_eq!(*self.bad.lock().unwrap(), Vec::<String>::new());
        self.good.load(Ordering::SeqCst)
    }
}

fn ask(addr: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Over a connection that is kept as long as its answers allow it.
fn ask_kept(addr: SocketAddr, kept: &mut Option<Client>) -> std::io::Result<String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => Client::over(common::Wire::Tcp(TcpStream::connect(addr)?)),
    };
    client.try_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")?;
    let answer = client.try_read_response("POST")?;
    if answer.header("connection").is_none() {
        *kept = Some(client);
    }
    Ok(format!("HTTP/1.1 {} {}", answer.status, answer.text()))
}

fn done() -> Origin {
    Origin::answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
}

#[test]
fn a_successor_takes_over_under_load_and_no_connection_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upgrade.sock");
    let origin = done();
    let first = Proxy::start(&config(&origin, &socket));
    eventually("the socket file", || is_socket(&socket));
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let addr = first.addr("inbound");
    let load = Load::start(addr);
    load.more(50);

    let second = first.successor(&["--upgrade"]);
    assert_eq!(second.addr("inbound"), addr);
    assert_eq!(first.wait(LONG).code(), Some(0));
    load.more(100);
    eventually("the socket file of the second", || is_socket(&socket));
    // And once more, from the one that took over.
    let third = second.successor(&["--upgrade"]);
    assert_eq!(second.wait(LONG).code(), Some(0));
    load.more(100);
    assert!(third.metric_sum("outboard_requests_total") > 0.0);
    let good = load.end();
    assert_eq!(origin.count(), good, "each was sent once");
    println!("{good} requests across two upgrades");
}

#[test]
fn the_old_process_finishes_what_it_has_and_answers_no_probe_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upgrade.sock");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            if head.target == "/slow" {
                let _ = released.lock().unwrap().recv();
            }
            conn.ok("done");
        }
    });
    let first = Proxy::start(&config(&origin, &socket));
    eventually("the socket file", || is_socket(&socket));
    let mut client = Client::connect(first.addr("inbound"));
    client.request("GET", "/slow", &[], b"");
    eventually("in flight", || origin.count() == 1);
    let second = first.successor(&["--upgrade"]);
    eventually("handed over", || first.events("upgrade").iter().any(|line| line["result"] == "handed over"));
    // Both would listen at one address; who probes must meet the one that takes traffic.
    eventually("the old administration is closed", || TcpStream::connect(first.admin()).is_err());
    assert_eq!(second.admin_get("/readyz").status, 200);
    assert!(first.ended().is_none(), "a request is in flight");
    release.send(()).unwrap();
    let answer = client.read_response();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(first.wait(LONG).code(), Some(0));
    assert_eq!(Client::connect(second.addr("inbound")).get("/").status, 200);
}

fn run(config: &str, args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("outboard.yaml");
    std::fs::write(&file, format!("{config}\nadmin: {{ address: \"127.0.0.1:0\" }}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    let output = command.arg("run").arg("--config").arg(&file).args(args).env("XDG_RUNTIME_DIR", dir.path()).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_running_process_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upgrade.sock");
    let (code, said) = run(&config(&done(), &socket), &["--upgrade"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot take over from the running process at"), "{said}");
    assert!(said.contains(&socket.display().to_string()), "{said}");
    let (code, said) = run(&yaml(done(), ""), &["--upgrade"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("runtime.upgrade_socket is not set"), "{said}");
}

#[test]
fn a_successor_that_cannot_start_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upgrade.sock");
    let origin = done();
    let first = Proxy::start(&config(&origin, &socket));
    eventually("the socket file", || is_socket(&socket));
    let load = Load::start(first.addr("inbound"));
    // It asks for the sockets and then finds that it cannot open its administration.
    let taken = format!("{}\nadmin: {{ address: \"{}\" }}\n", config(&origin, &socket), first.addr("inbound"));
    let file = dir.path().join("other.yaml");
    std::fs::write(&file, taken).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    let output = command.args(["run", "--upgrade", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    load.more(50);
    load.end();
    assert_eq!(first.admin_get("/readyz").status, 200);
    eventually("it is logged", || first.events("upgrade").iter().any(|line| line["result"] == "the successor gave up"));
    // The next one succeeds.
    let second = first.successor(&["--upgrade"]);
    assert_eq!(first.wait(LONG).code(), Some(0));
    assert_eq!(Client::connect(second.addr("inbound")).get("/").status, 200);
}

#[test]
fn another_process_on_the_same_socket_file_does_not_take_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upgrade.sock");
    let origin = done();
    let first = Proxy::start(&config(&origin, &socket));
    eventually("the socket file", || is_socket(&socket));
    // Started by mistake without --upgrade: it runs, on a port of its own, and says that it cannot be upgraded.
    let stranger = Proxy::start(&config(&origin, &socket));
    eventually("it says so", || stranger.events("upgrade_unavailable").len() == 1);
    let second = first.successor(&["--upgrade"]);
    assert_eq!(second.addr("inbound"), first.addr("inbound"));
    assert_eq!(first.wait(LONG).code(), Some(0));
}
