//! Nobody is charged twice, whatever dies: clients pay with idempotency keys and try until they know, while the application
//! breaks in every way, the network is cut, and the sidecars and their store are killed and started again.
//!
//! At the end the ledger of the application, what it did, and what every try was told have to fit: `check` says how.
//!
//! `OUTBOARD_TORTURE_SECONDS` says how long (30; `make torture` makes it 600), halved between the two stores;
//! `OUTBOARD_TORTURE_SEED` repeats the plan of a run that was printed. The last two stories show that it can fail.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]
// Built so that charges may double, it is not asked whether they do not.
#![cfg_attr(feature = "unsafe-no-sync", allow(dead_code))]

mod common;

#[path = "torture/application.rs"]
mod application;
#[path = "torture/chaos.rs"]
mod chaos;
#[path = "torture/check.rs"]
mod check;
#[path = "torture/client.rs"]
mod client;
#[path = "torture/history.rs"]
mod history;
#[path = "torture/relay.rs"]
mod relay;
#[path = "torture/sidecar.rs"]
mod sidecar;
#[path = "torture/world.rs"]
mod world;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use world::{Outcome, Setup};

/// For how long sidecars with one store are tortured.
fn half() -> Duration {
    let seconds = std::env::var("OUTBOARD_TORTURE_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30)) / 2
}

/// Runs one at a time: each takes the whole machine.
fn torture(setup: &Setup) -> Outcome {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = std::env::var("OUTBOARD_TORTURE_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("OUTBOARD_TORTURE_SEED={seed}");
    world::run(setup, seed)
}

/// One sidecar, which is killed and started again on its folder.
#[test]
#[cfg(not(feature = "unsafe-no-sync"))]
fn a_sidecar_that_is_killed_charges_once() {
    torture(&Setup { sidecars: 1, redis: false, time: half(), doomed: false }).holds();
}

/// Three sidecars behind a balancer that knows nothing of keys, and one Redis; each of them is killed.
#[test]
#[cfg(not(feature = "unsafe-no-sync"))]
fn three_sidecars_with_one_redis_charge_once() {
    torture(&Setup { sidecars: 3, redis: true, time: half(), doomed: false }).holds();
}

/// This test can fail: three stores that know nothing of each other are the mistake of which docs/ warn.
#[test]
#[cfg(not(feature = "unsafe-no-sync"))]
fn three_sidecars_with_stores_of_their_own_charge_twice() {
    let outcome = torture(&Setup { sidecars: 3, redis: false, time: Duration::from_secs(30), doomed: true });
    outcome.tells();
    assert!(outcome.found_a_double_charge());
}

/// This test can fail: `cargo test --features unsafe-no-sync --test torture`, in which no record is durable before the
/// application gets the first byte.
#[test]
#[cfg(feature = "unsafe-no-sync")]
fn without_the_sync_it_finds_a_double_charge() {
    let outcome = torture(&Setup { sidecars: 1, redis: false, time: Duration::from_secs(30), doomed: true });
    outcome.tells();
    assert!(outcome.found_a_double_charge());
}
