//! What is counted for each breaker, of an upstream or of a route.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::build;

pub(super) struct Families {
    state: IntGaugeVec,
    transitions: IntCounterVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            state: build::gauges(
                r,
                "breaker_state",
                &["scope"],
                "A circuit breaker's state: 0 closed (traffic flows), 1 half-open (a few requests try), 2 open (refused). \
                 The scope is upstream:NAME or route:NAME.",
            )?,
            transitions: build::counters(
                r,
                "breaker_transitions_total",
                &["scope", "to"],
                "Changes of a circuit breaker's state, by the state that it changed to.",
            )?,
        })
    }
}

/// What one breaker counts into.
pub struct BreakerMetrics {
    scope: String,
    state: IntGauge,
    transitions: IntCounterVec,
}

impl BreakerMetrics {
    pub(super) fn new(families: &Families, scope: &str) -> Self {
        BreakerMetrics {
            scope: scope.to_owned(),
            state: families.state.with_label_values(&[scope]),
            transitions: families.transitions.clone(),
        }
    }

    /// The breaker's scope: `upstream:NAME` or `route:NAME`.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Shows a state by its number: 0 closed, 1 half-open, 2 open.
    pub fn set_state(&self, number: i64) {
        self.state.set(number);
    }

    /// Counts a change to the state with this name.
    pub fn changed(&self, to: &str) {
        self.transitions.with_label_values(&[self.scope.as_str(), to]).inc();
    }
}
