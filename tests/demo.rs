//! `outboard demo`, as a person runs it: the real binary, for a moment.

#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn demo(more: &[&str]) -> Output {
    let quick = ["demo", "--for", "3s", "--db-latency", "1ms"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.env_remove("OUTBOARD_BYPASS").args(quick).args(more).output().unwrap()
}

#[test]
fn a_short_run_prints_every_line_and_ends_by_itself() {
    let output = demo(&[]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    let mut rest = &text[..];
    for line in [
        "direct, warm-up",
        "direct, saturation",
        "direct, half load",
        "outboard, warm-up",
        "outboard, saturation",
        "outboard, half load",
        "At half load: ",
        "reads, average",
        "reads, 99th percentile",
        "writes, average",
        "writes, 99th percentile",
        "reads from memory (hit ratio)",
        "database queries",
        "bytes received",
        "At saturation: 64 clients",
        "throughput",
        "reads, average",
        "reads, 99th percentile",
        "writes, average",
        "writes, 99th percentile",
        "reads from memory (hit ratio)",
        "database queries, 1000 requests",
        "bytes received, 1000 requests",
        "Right answers, over the whole run",
        "errors",
        "stale reads",
        "answers of another merchant",
        "How to read it",
        "Summary",
        "targets met",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("no {line:?}, or not in its place:\n{text}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn as_json_it_prints_nothing_else_and_every_answer_is_right() {
    let output = demo(&["--json", "--seed", "7"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["seed"], 7);
    let right: Vec<_> = found["lines"].as_array().unwrap().iter().filter(|l| l["part"] == "correctness").collect();
    assert_eq!(right.len(), 3);
    for line in right {
        assert_eq!((line["direct"].as_f64(), line["proxied"].as_f64()), (Some(0.0), Some(0.0)), "{line}");
        assert_eq!(line["met"], true, "{line}");
    }
}

#[test]
fn sigterm_ends_it_and_leaves_no_database_behind() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.env_remove("OUTBOARD_BYPASS").env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", runtime.path());
    let mut child = command.args(["demo", "--db-latency", "1ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("direct, warm-up")));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    // As long as it runs it holds its end of the pipe.
    lines.for_each(drop);
    assert!(!child.wait().unwrap().success(), "there is no report: that is no success");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
