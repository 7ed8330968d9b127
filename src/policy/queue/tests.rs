use super::core::{Core, Entry, NO_LIMIT, Rules, Standing};
use super::line::Handle;
use super::*;

mod overload;
mod permits;
mod properties;
mod rules;

const RULES: Rules = Rules { max_queued: 100, timeout: ms(1000), target: ms(50), interval: ms(500), observe: false };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ask(priority: Priority) -> Ask {
    Ask { priority, tenant: 0, cap: Cap::NONE, deadline: None }
}

const CRITICAL: Priority = Priority::Critical;
const NORMAL: Priority = Priority::Normal;
const LOW: Priority = Priority::Low;

fn granted(core: &mut Core, ask: &Ask, now: Duration) {
    assert_eq!(core.enter(ask, false, now), Entry::Granted(None));
}

/// It has to wait.
fn waits(core: &mut Core, ask: &Ask, now: Duration) -> Handle {
    match core.enter(ask, false, now) {
        Entry::Waits(handle) => handle,
        other => panic!("{ask:?}: {other:?}"),
    }
}

fn refused(core: &mut Core, ask: &Ask, now: Duration) -> Refused {
    match core.enter(ask, false, now) {
        Entry::Refused(why) => why,
        other => panic!("{ask:?}: {other:?}"),
    }
}

/// A place comes back; who got it.
fn leave(core: &mut Core, now: Duration) -> Vec<Handle> {
    core.leave(Cap::NONE, None, now);
    core.told().collect()
}

fn told(core: &mut Core) -> Vec<Handle> {
    core.told().collect()
}

fn of_tenant(tenant: u64) -> Ask {
    Ask { tenant, ..ask(NORMAL) }
}
