//! `outboard drain`: what a preStop hook calls.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::common::{Client, Proxy, Signal, eventually};
use super::{LONG, gated, has_entered, proxy};

fn drain(proxy: &Proxy, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.arg("drain").arg("--admin").arg(proxy.admin().to_string()).args(args);
    command.env("XDG_RUNTIME_DIR", proxy.dir());
    command
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_drain_without_an_end_leaves_the_process_running() {
    let (origin, _gate) = gated();
    let proxy = proxy(&origin, "200ms", "");
    succeeds(&drain(&proxy, &[]).output().unwrap());
    assert_eq!(proxy.admin_get("/readyz").status, 503);
    eventually("inbound is closed", || has_entered(&proxy, "draining"));
    eventually("nobody connects", || std::net::TcpStream::connect(proxy.addr("inbound")).is_err());
    // Asked again it answers the same, and says when it is done.
    succeeds(&drain(&proxy, &["--wait"]).output().unwrap());
    assert!(proxy.ended().is_none() && !has_entered(&proxy, "closing"));
    let term = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    assert!(term.elapsed() < Duration::from_secs(2), "no second delay: {:?}", term.elapsed());
}

#[test]
fn wait_returns_when_the_last_inbound_request_has_ended() {
    let (origin, gate) = gated();
    let proxy = proxy(&origin, "100ms", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/slow", &[], b"");
    eventually("in flight", || origin.count() == 1);
    let mut waiting = drain(&proxy, &["--wait"]).spawn().unwrap();
    eventually("draining", || has_entered(&proxy, "draining"));
    assert!(waiting.try_wait().unwrap().is_none(), "a request is in flight");
    gate.open();
    assert_eq!(client.read_response().status, 200);
    eventually("the command returns", || waiting.try_wait().unwrap().is_some_and(|s| s.success()));
    assert!(proxy.ended().is_none());
}

#[test]
fn exit_ends_the_process_and_a_sigterm_behind_it_does_not_hurry_it() {
    let (origin, gate) = gated();
    let proxy = proxy(&origin, "100ms", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/slow", &[], b"charge");
    eventually("in flight", || origin.count() == 1);
    // What a preStop hook does, and then the kubelet.
    succeeds(&drain(&proxy, &["--exit"]).output().unwrap());
    proxy.signal(Signal::TERM);
    eventually("draining", || has_entered(&proxy, "draining"));
    gate.open();
    assert_eq!(client.read_response().status, 200);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn wait_and_exit_answer_before_the_process_ends() {
    let (origin, _gate) = gated();
    let proxy = proxy(&origin, "100ms", "");
    succeeds(&drain(&proxy, &["--wait", "--exit"]).output().unwrap());
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn without_the_token_or_the_process_it_says_so_and_fails() {
    let (origin, _gate) = gated();
    let proxy = proxy(&origin, "100ms", "");
    let nowhere = proxy.dir().join("nowhere");
    let output = drain(&proxy, &[]).env("XDG_RUNTIME_DIR", &nowhere).env("TMPDIR", &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("401"), "{output:?}");
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    proxy.signal(Signal::TERM);
    proxy.wait(LONG);
    let output = drain(&proxy, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect to the admin address"), "{output:?}");
}
