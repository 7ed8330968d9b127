//! A rehearsal of pods: real processes in network and PID namespaces, a kubelet that starts, probes and ends them as the
//! injected pod says and as Kubernetes does it, a balancer that learns of changes 3 s late, and clients that count what fails.
//!
//! Each story runs in namespaces of its own: the test starts itself again in them.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "rehearsal/application.rs"]
mod application;
#[path = "rehearsal/cluster.rs"]
mod cluster;
#[path = "rehearsal/kubelet.rs"]
mod kubelet;
#[path = "rehearsal/load.rs"]
mod load;
#[path = "rehearsal/node.rs"]
mod node;
#[path = "rehearsal/stories.rs"]
mod stories;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Runs a story in namespaces of its own; one at a time, for each has clients that ask 500 times a second.
fn rehearse(story: &str) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let exe = std::env::current_exe().unwrap();
    let run = |how: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(how).args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.arg(&exe).args(["--exact", story, "--ignored", "--nocapture", "--test-threads=1"]);
        command.output().unwrap()
    };
    let possible = |how: &[&str]| {
        let made = Command::new("unshare").args(how).args(["--net", "--pid", "--fork", "true"]).status();
        made.is_ok_and(|status| status.success())
    };
    let how: &[&str] = match (possible(&[]), possible(&["--user", "--map-root-user"])) {
        (true, _) => &[],
        (false, true) => &["--user", "--map-root-user"],
        // A container without a right to namespaces: nothing here can be shown in it.
        (false, false) => return println!("not rehearsed: no namespaces can be made here"),
    };
    let ran = run(how);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{out}");
    assert!(ran.status.success(), "{out}\n{err}");
}

#[test]
fn a_rolling_update_loses_nothing_native() {
    rehearse("stories::rolling_update_native");
}

#[test]
fn a_rolling_update_loses_nothing_classic() {
    rehearse("stories::rolling_update_classic");
}

#[test]
fn a_charge_reaches_its_gateway_while_its_pod_ends_native() {
    rehearse("stories::charge_native");
}

#[test]
fn a_charge_reaches_its_gateway_while_its_pod_ends_classic() {
    rehearse("stories::charge_classic");
}

/// The stories above can fail: balancers that learn late need the delay of the drain.
#[test]
fn without_the_delay_requests_are_lost() {
    rehearse("stories::rolling_update_without_delay");
}
