//! A breaker with those who are told of its changes: the log and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::observe::metrics::BreakerMetrics;
use crate::policy::breaker::{Mode, Settings, Shared, State, Transition};
use crate::policy::queue;
use crate::timer;

/// A breaker of an upstream or of a route.
pub struct Breaker {
    /// The breaker.
    pub shared: Shared,
    /// What the configuration says, to see whether a reload changed it.
    pub settings: Settings,
    /// Shows its state.
    pub metrics: Arc<BreakerMetrics>,
    /// A reload replaced it: what the attempts that it still has make of it concerns nobody.
    retired: Arc<AtomicBool>,
}

impl Breaker {
    /// Compiles a section `circuit_breaker`. One whose section did not change is taken from `before`, with its state. When it
    /// opens, nobody waits in `queue` any more.
    pub fn compile(
        settings: Option<&Settings>,
        before: Option<&Arc<Breaker>>,
        metrics: impl FnOnce() -> Arc<BreakerMetrics>,
        queue: Option<&queue::Shared>,
    ) -> Option<Arc<Breaker>> {
        let settings = settings?;
        if let Some(before) = before.filter(|b| b.settings == *settings) {
            return Some(before.clone());
        }
        let metrics = metrics();
        let told = metrics.clone();
        let waiting = queue.filter(|_| settings.mode != Mode::Observe).cloned();
        let retired = Arc::new(AtomicBool::new(false));
        let is_retired = retired.clone();
        let observer = move |transition: &Transition| {
            if is_retired.load(Ordering::Relaxed) {
                return;
            }
            changed(&told, transition);
            if transition.to == State::Open
                && let Some(queue) = &waiting
            {
                queue.flush(queue::Refused::Breaker);
            }
        };
        let shared = Shared::new(settings, Arc::new(timer::uptime), Arc::new(observer));
        metrics.set_state(i64::from(shared.snapshot().state.as_number()));
        Some(Arc::new(Breaker { shared, settings: settings.clone(), metrics, retired }))
    }

    /// A reload replaced it.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Shows the state as it is now: an open breaker becomes half-open by time alone.
    pub fn show(&self) {
        self.metrics.set_state(i64::from(self.shared.snapshot().state.as_number()));
    }
}

fn changed(metrics: &BreakerMetrics, transition: &Transition) {
    let Transition { from, to, why, figures } = transition;
    metrics.changed(to.as_str());
    metrics.set_state(i64::from(to.as_number()));
    tracing::info!(
        event = "breaker",
        scope = metrics.scope(),
        old = from.as_str(),
        new = to.as_str(),
        why = why.as_str(),
        calls = figures.calls,
        failed = figures.failed,
        slow = figures.slow
    );
}
