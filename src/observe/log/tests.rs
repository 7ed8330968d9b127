//! The way of a line, with a writer that the test holds back.

use std::sync::mpsc;
use std::time::Instant;

use parking_lot::Mutex;

use super::*;
use crate::config::{Access, LogFormat};
use crate::refusal::Reason;
use crate::units::Ratio;

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out {
    fn lines(&self) -> Vec<serde_json::Value> {
        let text = self.0.lock();
        text.split_inclusive(|b| *b == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

/// Replaces the word `secret` where it finds it.
fn redactor() -> Redactor {
    Arc::new(|line, out| {
        let text = String::from_utf8_lossy(line).replace("secret", "***");
        out.extend_from_slice(text.as_bytes());
    })
}

fn start(level: Level, out: Box<dyn Write + Send>) -> (Guard, Metrics) {
    let metrics = Metrics::new().unwrap();
    let settings = Logging { level, ..Logging::default() };
    let guard = Guard::start(&settings, redactor(), &metrics, out).unwrap();
    (guard, metrics)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_event_is_its_fields_and_is_redacted() {
    let out = Out::default();
    let (guard, _) = start(Level::Info, Box::new(out.clone()));
    tracing::subscriber::with_default(guard.sink.clone(), || {
        tracing::info!(event = "drain", from = "ready", to = "leaving", left = 3u64, ratio = 0.5, cut = false);
        tracing::warn!(path = "/a?key=secret", delta = -4, "reload");
        tracing::debug!("not at this level");
        let error: &(dyn std::error::Error + 'static) = &LogError::Thread(io::Error::other("no room"));
        tracing::error!(event = "start", error);
    });
    assert!(guard.flush(LONG));
    let lines = out.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0]["event"], "drain");
    assert_eq!(lines[0]["level"], "info");
    assert_eq!((&lines[0]["left"], &lines[0]["ratio"], &lines[0]["cut"]), (&3.into(), &0.5.into(), &false.into()));
    assert_eq!((&lines[1]["event"], &lines[1]["path"]), (&"reload".into(), &"/a?key=***".into()));
    assert_eq!(lines[1]["delta"], -4);
    assert_eq!(lines[2]["error"], "cannot start the thread that writes the log: no room");
}

#[test]
fn dependencies_are_capped_and_the_level_moves() {
    let out = Out::default();
    let (guard, _) = start(Level::Trace, Box::new(out.clone()));
    tracing::subscriber::with_default(guard.sink.clone(), || {
        let log = |level, target: &str| {
            let record = log::Record::builder().level(level).target(target).args(format_args!("by log")).build();
            log::Log::log(&guard.sink, &record);
        };
        let round = || {
            tracing::debug!(target: "h2::proto", "frame with a body");
            tracing::warn!(target: "h2::proto", "goaway");
            tracing::debug!("ours");
            log(log::Level::Info, "pingora_core::server");
            log(log::Level::Error, "pingora_core::server");
        };
        round();
        guard.sink.level.store(rank(Level::Error), std::sync::atomic::Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        round();
    });
    assert!(guard.flush(LONG));
    let lines: Vec<_> = out.lines();
    let said: Vec<_> = lines.iter().map(|l| (l["event"].as_str().unwrap(), l["level"].as_str().unwrap())).collect();
    assert_eq!(said, [("dependency", "warn"), ("ours", "debug"), ("dependency", "error"), ("dependency", "error")]);
    assert_eq!((&lines[0]["target"], &lines[0]["message"]), (&"h2::proto".into(), &"goaway".into()));
}

/// An output that takes nothing until the test says so.
struct Blocked(mpsc::Receiver<()>, Out);

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the point is that nobody waits")]
fn a_blocked_output_costs_lines_and_blocks_nobody() {
    let (release, blocked) = mpsc::channel();
    let out = Out::default();
    let (guard, metrics) = start(Level::Info, Box::new(Blocked(blocked, out.clone())));
    let access = guard.access_log();
    let start = Instant::now();
    for _ in 0..10_000 {
        access.write(br#"{"event":"access"}"#);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(metrics.process.access_log_dropped.get(), 10_000 - 8192);
    assert!(!guard.flush(Duration::from_millis(20)), "the output is still blocked");
    drop(release);
    assert!(guard.flush(LONG));
    assert_eq!(out.lines().len(), 8192);
    access.write(b"{}");
    assert!(guard.flush(LONG));
    assert_eq!(out.lines().len(), 8193, "there is room again");
}

#[test]
fn eight_mebibytes_wait_and_no_more() {
    let (release, blocked) = mpsc::channel();
    let (guard, metrics) = start(Level::Info, Box::new(Blocked(blocked, Out::default())));
    let megabyte = vec![b'a'; 1 << 20];
    for _ in 0..20 {
        guard.access_log().write(&megabyte);
    }
    assert_eq!(metrics.process.access_log_dropped.get(), 13, "each line has its end as well");
    drop(release);
}

#[test]
fn a_line_end_inside_a_line_cannot_fake_another() {
    let out = Out::default();
    let (guard, _) = start(Level::Info, Box::new(out.clone()));
    guard.access_log().write(b"{\"event\":\"access\"\n}");
    assert!(guard.flush(LONG));
    assert_eq!(out.lines().len(), 1);
}

#[test]
fn a_redactor_that_panics_loses_its_line_and_nothing_else() {
    let metrics = Metrics::new().unwrap();
    let out = Out::default();
    let redactor: Redactor = Arc::new(|line, out| {
        out.extend_from_slice(line);
        assert!(!line.starts_with(b"\"bad"));
    });
    let guard = Guard::start(&Logging::default(), redactor, &metrics, Box::new(out.clone())).unwrap();
    for line in ["1", "\"bad 4111111111111111\"", "2"] {
        guard.access_log().write(line.as_bytes());
    }
    assert!(guard.flush(LONG));
    assert_eq!(out.lines(), [1, 2]);
    assert_eq!(metrics.process.log_lines_dropped.get(), 1);
}

/// Takes a byte at a time and stumbles in between.
struct Stumbling(Out, u32);

impl Write for Stumbling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        match self.1 % 3 {
            0 => Err(io::ErrorKind::Interrupted.into()),
            1 if self.1 < 20 => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.0.write(&bytes[..1]),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_would_block_is_waited_for() {
    let out = Out::default();
    let (guard, metrics) = start(Level::Info, Box::new(Stumbling(out.clone(), 0)));
    guard.access_log().write(b"[1,2,3]");
    assert!(guard.flush(LONG));
    assert_eq!(out.lines(), [serde_json::json!([1, 2, 3])]);
    assert_eq!(metrics.process.log_lines_dropped.get(), 0);
}

#[test]
fn what_was_logged_is_written_when_the_guard_goes() {
    let out = Out::default();
    let (guard, _) = start(Level::Info, Box::new(out.clone()));
    let access = guard.access_log();
    access.write(b"1");
    drop(guard);
    assert_eq!(out.lines(), [1]);
    access.write(b"2");
}

pub(super) fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        request_id: "0af7651916cd43dd8448eb211c80319c",
        trace: Some(crate::observe::trace::TraceContext::new([7; 16], true)),
        listener: "inbound",
        client: Some([10, 1, 2, 3].into()),
        method: "POST",
        host: b"payments.example.com",
        path: b"/v1/payments",
        query: Some(b"merchant=m-17&token=secret"),
        protocol: "HTTP/1.1",
        route: Some("create-payment"),
        upstream: Some("app"),
        endpoint: Some("127.0.0.1:3000"),
        status: 201,
        duration: Duration::from_micros(12_345),
        upstream_first_byte: Some(Duration::from_micros(11_007)),
        attempts: 1,
        reused: Some(true),
        request_bytes: 512,
        response_bytes: 1024,
        upstream_sent: UpstreamSent::All,
        upstream_bytes_sent: 700,
        upstream_bytes_received: 1300,
        config_hash: "9f86d081",
        request_headers: &[("x-merchant-id", b"m-17"), ("x-odd", b"\xff\"")],
        ..AccessRecord::default()
    }
}

#[test]
fn the_access_line_says_whether_the_application_saw_it() {
    let out = Out::default();
    let (guard, _) = start(Level::Off, Box::new(out.clone()));
    let access = guard.access_log();
    access.record(&record());
    access.record(&AccessRecord {
        status: 502,
        reason: Some(Reason::UpstreamReset),
        upstream_sent: UpstreamSent::Head,
        upstream_first_byte: None,
        client: Some("2001:db8::1".parse().unwrap()),
        request_headers: &[],
        ..record()
    });
    assert!(guard.flush(LONG));
    let lines = out.lines();
    let mut first = lines[0].clone();
    first.as_object_mut().unwrap().remove("ts");
    let expected = serde_json::json!({
        "level": "info", "event": "access", "request_id": "0af7651916cd43dd8448eb211c80319c",
        "trace_id": "07070707070707070707070707070707", "listener": "inbound", "client": "10.1.2.3",
        "method": "POST", "host": "payments.example.com", "path": "/v1/payments",
        "query": "merchant=m-17&token=***", "protocol": "HTTP/1.1", "route": "create-payment", "upstream": "app",
        "endpoint": "127.0.0.1:3000", "status": 201, "duration_ms": 12.345, "upstream_ms": 11.007, "attempts": 1,
        "connection": "reused", "request_bytes": 512, "response_bytes": 1024, "upstream_sent": "all",
        "upstream_bytes_sent": 700, "upstream_bytes_received": 1300, "client_left": false, "tls": false,
        "config_hash": "9f86d081", "request_headers": { "x-merchant-id": "m-17", "x-odd": "\u{fffd}\"" },
    });
    assert_eq!(first, expected);
    let second = &lines[1];
    assert_eq!((&second["reason"], &second["upstream_sent"]), (&"upstream_reset".into(), &"head".into()));
    assert_eq!(second["client"], "2001:db8::1");
    assert!(second.get("upstream_ms").is_none() && second.get("request_headers").is_none());
}

/// Run by the test below in a process of its own: logging is set up once in a process.
#[test]
#[ignore = "run by another test"]
fn a_process_that_logs() {
    let metrics = Metrics::new().unwrap();
    let guard = init(&Logging::default(), redactor(), &metrics).unwrap();
    assert!(matches!(init(&Logging::default(), redactor(), &metrics), Err(LogError::Twice)));
    tracing::info!(event = "start", version = "1");
    tracing::debug!(event = "not-yet");
    guard.level().set(Level::Debug);
    tracing::debug!(event = "now", token = "secret");
    log::warn!(target: "pingora_core", "a dependency\nsaid secret");
    log::info!(target: "pingora_core", "too much");
    let caught = std::panic::catch_unwind(|| panic!("card secret"));
    assert!(caught.is_err());
    assert_eq!(metrics.process.panics.get(), 1);
    guard.level().set(Level::Off);
    tracing::error!(event = "never");
}

#[test]
fn a_whole_process_logs_through_one_writer() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "observe::log::tests::a_process_that_logs", "--ignored", "--nocapture"])
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && !text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let events: Vec<_> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "now", "dependency", "panic"], "{text}");
    assert_eq!(lines[2]["message"], "a dependency\nsaid ***");
    assert_eq!(lines[3]["message"], "card ***");
    assert!(lines[3]["location"].as_str().unwrap().contains("tests.rs:"));
}

#[test]
fn which_requests_get_a_line() {
    let none = Access { sample: Ratio::percent(0.0), ..Access::default() };
    let quick = Duration::from_millis(5);
    assert!(!wanted(&none, 200, false, quick, 0.0));
    assert!(wanted(&none, 404, false, quick, 0.9));
    assert!(wanted(&none, 200, true, quick, 0.9));
    assert!(wanted(&none, 200, false, Duration::from_secs(1), 0.9));
    assert!(wanted(&Access::default(), 200, false, quick, 0.999));
    assert!(!wanted(&Access { enabled: false, ..Access::default() }, 500, true, LONG, 0.0));
}

/// `cargo test --release -- --ignored cost --nocapture` prints what a line costs the request that writes it.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn the_cost_of_an_access_line() {
    let rounds = 200_000u32;
    for format in [LogFormat::Json, LogFormat::Text] {
        let mut out = Vec::with_capacity(4096);
        let start = Instant::now();
        for _ in 0..rounds {
            out.clear();
            std::hint::black_box(record()).render(&mut out, format);
            std::hint::black_box(&out);
        }
        println!("render {format:?}: {} ns, {} bytes", start.elapsed().as_nanos() / u128::from(rounds), out.len());
    }
    let (guard, metrics) = start_to_nowhere();
    let access = guard.access_log();
    let start = Instant::now();
    for i in 0..rounds {
        access.record(&record());
        if i % 4000 == 0 {
            guard.flush(LONG);
        }
    }
    println!("record, queue and write: {} ns", start.elapsed().as_nanos() / u128::from(rounds));
    assert_eq!(metrics.process.access_log_dropped.get(), 0);
}

fn start_to_nowhere() -> (Guard, Metrics) {
    let metrics = Metrics::new().unwrap();
    let redactor: Redactor = Arc::new(|line, out| out.extend_from_slice(line));
    let guard = Guard::start(&Logging::default(), redactor, &metrics, Box::new(io::sink())).unwrap();
    (guard, metrics)
}
