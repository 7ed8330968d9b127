//! The way out: nothing that was accepted is lost, nobody is refused before the delay is over, and the process ends when
//! its last byte has left.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "drain/commands.rs"]
mod commands;
#[path = "drain/direction.rs"]
mod direction;
#[path = "drain/load.rs"]
mod load;
#[path = "drain/phases.rs"]
mod phases;
#[path = "drain/slow.rs"]
mod slow;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Origin, Proxy};

/// What holds answers back until a test opens it.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let _open = self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// An application whose answers under /slow wait for the gate; all others come at once.
fn gated() -> (Origin, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.target.starts_with("/slow") {
                held.wait();
            }
            conn.ok("done");
        }
    });
    (origin, gate)
}

/// A proxy with this delay before an application; only what went wrong is logged.
fn proxy(app: &Origin, delay: &str, more: &str) -> Proxy {
    let drain = format!("drain: {{ delay: {delay} }}\nlogging: {{ access: {{ sample: 0%, slow: 1m }} }}\n{more}");
    Proxy::start(&common::yaml(app, &drain))
}

/// When the process entered a phase, if it has.
fn has_entered(proxy: &Proxy, phase: &str) -> bool {
    proxy.events("phase").iter().any(|line| line["new"] == phase)
}

/// For what takes as long as the machine is busy.
const LONG: Duration = Duration::from_secs(20);
