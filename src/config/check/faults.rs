//! Rules of `fault`.

use super::Check;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(places) {
        let Some(fault) = &route.fault else { continue };
        let path = place.key("fault");
        if fault.abort.is_none() && fault.delay.is_none() {
            check.error(&path, "expected abort, delay or both");
        }
        let Some(delay) = &fault.delay else { continue };
        let (path, total) = (path.key("delay").key("for"), place.key("timeouts").key("total"));
        check.positive(&path, delay.time.get().is_zero());
        if delay.time >= route.timeouts.total && !check.is_lost(&total) {
            let message = format!(
                "{} is not less than timeouts.total {} ({}): whoever is held back is answered with 504",
                delay.time,
                route.timeouts.total,
                check.whence(&total),
            );
            check.warn(&path, message);
        }
    }
}
