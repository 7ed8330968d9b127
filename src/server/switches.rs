//! What an operator switches at run time: policies of routes, and breakers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::Refused;
use crate::policy::breaker::{self, Snapshot};
use crate::policy::mode::Mode;
use crate::policy::priority::Priority;
use crate::policy::switch::{Policy, Switch};
use crate::proxy::state::State;
use crate::route::table::{Route, Table};
use crate::timer;
use crate::upstream::breaker::Breaker;

/// What a policy of a route does now, as the gauge has it: 0 off, 1 observe, 2 on. None where the route does not have it.
fn does(route: &Route, policy: Policy) -> Option<i64> {
    let configured = route.configured(policy)?;
    Some(match route.switches.get(policy, timer::uptime).over(configured) {
        Some(Mode::Enforce) => 2,
        Some(Mode::Observe) => 1,
        None => 0,
    })
}

/// Brings the gauges up to date that change by time alone.
pub(super) fn show(state: &State) {
    for route in &state.table.routes {
        for policy in Policy::ALL {
            if let Some(does) = does(route, policy) {
                route.metrics.set_policy_state(policy.as_str(), does);
            }
        }
    }
    breakers(&state.table).for_each(Breaker::show);
    state.table.upstreams.values().for_each(|u| u.show_queue());
}

/// Takes what a reload took away out of the gauges, which would show its last state for ever; and breakers that it replaced
/// have no say any more.
pub(super) fn clear(before: &Table, after: &Table) {
    let kept: HashMap<&str, &Breaker> = breakers(after).map(|b| (b.metrics.scope(), b)).collect();
    for breaker in breakers(before) {
        match kept.get(breaker.metrics.scope()) {
            Some(kept) if std::ptr::eq(*kept, breaker) => {}
            Some(kept) => {
                breaker.retire();
                kept.show();
            }
            None => {
                breaker.retire();
                breaker.metrics.set_state(0);
            }
        }
    }
    for upstream in before.upstreams.values() {
        let has_queue = after.upstreams.get(&upstream.name).is_some_and(|u| u.queue_metrics.is_some());
        if let Some(metrics) = upstream.queue_metrics.as_ref().filter(|_| !has_queue) {
            metrics.show([0; Priority::ALL.len()], 0, 0);
        }
    }
    let routes: HashMap<&str, &Arc<Route>> = after.routes.iter().map(|r| (r.name.as_str(), r)).collect();
    for route in &before.routes {
        let now = routes.get(route.name.as_str());
        let has = |policy| now.is_some_and(|r| r.configured(policy).is_some());
        for policy in Policy::ALL.into_iter().filter(|p| route.configured(*p).is_some() && !has(*p)) {
            route.metrics.set_policy_state(policy.as_str(), 0);
        }
    }
}

/// Every breaker: of the upstreams, then of the routes.
fn breakers(table: &Table) -> impl Iterator<Item = &Breaker> {
    let upstreams = table.upstreams.values().filter_map(|u| u.breaker.as_deref());
    upstreams.chain(table.routes.iter().filter_map(|r| r.breaker.as_deref()))
}

pub(super) fn list_breakers(table: &Table) -> Value {
    let list = breakers(table).map(|b| shown(b, &b.shared.snapshot()));
    json!({ "breakers": list.collect::<Vec<_>>() })
}

fn shown(breaker: &Breaker, snapshot: &Snapshot) -> Value {
    let seconds = |d: Duration| (d.as_secs_f64() * 1000.0).round() / 1000.0;
    json!({
        "scope": breaker.metrics.scope(),
        "state": snapshot.state.as_str(),
        "mode": breaker.settings.mode,
        "by_hand": snapshot.by_hand,
        "for_seconds": seconds(timer::uptime().saturating_sub(snapshot.since)),
        "calls": snapshot.figures.calls,
        "failed": snapshot.figures.failed,
        "slow": snapshot.figures.slow,
        "probes": snapshot.probes,
        "tries_in_seconds": snapshot.open_left.map(seconds),
    })
}

/// Tells a breaker something.
pub(super) fn tell_breaker(table: &Table, scope: &str, word: &str) -> Result<Value, Refused> {
    let Some(found) = breakers(table).find(|b| b.metrics.scope() == scope) else {
        let known: Vec<_> = breakers(table).map(|b| b.metrics.scope()).collect();
        return Err(unknown("breaker", scope, &known));
    };
    let tell: fn(&breaker::Shared) = match word {
        "open" => breaker::Shared::open,
        "close" => breaker::Shared::close,
        "reset" => breaker::Shared::reset,
        _ => return Err(unknown("word", word, &["open", "close", "reset"])),
    };
    tell(&found.shared);
    Ok(shown(found, &found.shared.snapshot()))
}

pub(super) fn list_policies(table: &Table) -> Value {
    let now = timer::uptime();
    let list = table.routes.iter().flat_map(|route| {
        Policy::ALL.into_iter().filter_map(move |policy| {
            let (switch, end) = route.switches.get_with_end(policy, now);
            (switch != Switch::Configured).then(|| switched(route, policy, switch, end.map(|end| end - now)))
        })
    });
    json!({ "switched": list.collect::<Vec<_>>() })
}

fn switched(route: &Route, policy: Policy, switch: Switch, left: Option<Duration>) -> Value {
    json!({
        "route": route.name,
        "policy": policy.as_str(),
        "switch": switch.as_str(),
        "seconds_left": left.map(|left| left.as_secs_f64().ceil()),
    })
}

/// Switches a policy of a route.
pub(super) fn switch(
    table: &Table,
    route: &str,
    policy: &str,
    word: &str,
    time: Option<Duration>,
) -> Result<Value, Refused> {
    let Some(route) = table.routes.iter().find(|r| r.name == route) else {
        let known: Vec<_> = table.routes.iter().map(|r| r.name.as_str()).collect();
        return Err(unknown("route", route, &known));
    };
    let Some(policy) = Policy::from_key(policy) else {
        return Err(unknown("policy", policy, &Policy::ALL.map(Policy::as_str)));
    };
    let switch = match word {
        "on" => Switch::On,
        "observe" => Switch::Observe,
        "off" => Switch::Off,
        "reset" => Switch::Configured,
        _ => return Err(unknown("word", word, &["on", "observe", "off", "reset"])),
    };
    if route.configured(policy).is_none() {
        let detail = format!("route {} has no {}: there is nothing to switch", route.name, policy.as_str());
        return Err(Refused::Impossible(detail));
    }
    if time.is_some_and(|time| time.is_zero()) {
        return Err(Refused::Impossible("for: expected more than zero".to_owned()));
    }
    let until = time.map(|time| timer::uptime() + time);
    route.switches.set(policy, switch, until).map_err(|e| Refused::Impossible(e.to_string()))?;
    Ok(switched(route, policy, switch, time))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Refused {
    // Names of thousands of routes help nobody.
    let some: Vec<_> = known.iter().take(20).copied().collect();
    let more = if known.len() > some.len() { ", …" } else { "" };
    let known = if some.is_empty() { "there are none".to_owned() } else { format!("known: {}{more}", some.join(", ")) };
    Refused::Unknown(format!("no such {what}: {name}; {known}"))
}
