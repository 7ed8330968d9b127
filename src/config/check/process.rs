//! Rules of the process: runtime, administration, limits, and what the drain's times add up to.

use super::{Check, headers};
use crate::config::endpoint::Endpoint;
use crate::config::path::Path;
use crate::units::{Auto, Duration};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    if let Auto::Is(threads) = config.runtime.threads
        && !(1..=256).contains(&threads)
    {
        check.invalid(&Path::of("runtime").key("threads"), "auto or a number from 1 to 256");
    }
    admin(check);
    limits(check);
    drain(check);
    headers::names(check, &Path::of("credentials"), &config.credentials);
    headers::names(check, &Path::of("redaction").key("headers"), &config.redaction.headers);
    let access = Path::of("logging").key("access").key("request_headers");
    headers::names(check, &access, &config.logging.access.request_headers);
    if !config.redaction.card_numbers {
        check.warn(&Path::of("redaction").key("card_numbers"), "card numbers are written to the log as they are");
    }
}

fn admin(check: &mut Check<'_>) {
    let admin = &check.config.admin;
    let path = Path::of("admin");
    let mut known: Option<Endpoint> = None;
    for (key, text) in [("address", Some(&admin.address)), ("probes", admin.probes.as_ref())] {
        let Some(text) = text else { continue };
        let path = path.key(key);
        match text.parse::<Endpoint>() {
            Ok(endpoint @ Endpoint::Tcp { .. }) => {
                if known.as_ref().is_some_and(|known| known.clashes(&endpoint)) {
                    check.error(&path, "the same address as admin.address");
                }
                let loopback = endpoint.ip().is_some_and(|ip| ip.is_loopback())
                    || matches!(&endpoint, Endpoint::Tcp { host, .. } if host == "localhost");
                if key == "address" && !loopback {
                    check.warn(
                        &path,
                        "administration can be reached from other machines; probes are enough for a kubelet",
                    );
                }
                known = Some(endpoint);
            }
            _ => check.invalid(&path, "host:port"),
        }
    }
}

fn limits(check: &mut Check<'_>) {
    let limits = &check.config.limits;
    let path = Path::of("limits");
    let zero = |d: Duration| d.get().is_zero();
    check.positive(&path.key("max_connections"), limits.max_connections == Auto::Is(0));
    check.positive(&path.key("header_read_timeout"), zero(limits.header_read_timeout));
    check.positive(&path.key("body_read_timeout"), zero(limits.body_read_timeout));
    check.positive(&path.key("keepalive_requests"), limits.keepalive_requests == 0);
    check.positive(&path.key("max_streams"), limits.max_streams == 0);
    if !(1 << 10..=1 << 20).contains(&limits.max_request_headers.bytes()) {
        check.invalid(&path.key("max_request_headers"), "a size from 1KiB to 1MiB");
    }
}

/// What is accepted in the last moment of the delay must still have its whole time.
fn drain(check: &mut Check<'_>) {
    let config = check.config;
    let path = Path::of("drain").key("timeout");
    let Auto::Is(timeout) = config.drain.timeout else { return };
    let routes = config.routes.iter().zip(&check.routes).filter(|(route, _)| !route.stream);
    let Some((route, place)) = routes.max_by_key(|(route, _)| route.timeouts.total) else { return };
    let total = place.key("timeouts").key("total");
    let needed = config.drain.delay.get() + route.timeouts.total.get();
    if timeout.get() >= needed || check.is_lost(&total) || check.is_lost(&Path::of("drain")) {
        return;
    }
    let message = format!(
        "{timeout} is less than drain.delay {} plus timeouts.total {} of route {} (line {}): a request accepted late \
         is cut",
        config.drain.delay,
        route.timeouts.total,
        route.name,
        check.line(&total),
    );
    if config.drain.allow_cut {
        check.warn(&path, message);
    } else {
        check.error(&path, format!("{message}; raise it, or set drain.allow_cut: true"));
    }
}
