//! Rules of `stores`, but for the response cache's memory (caches).

use super::{Check, NAME, is_name};
use crate::config::path::Path;

pub(super) fn check(check: &mut Check<'_>) {
    let stores = &check.config.stores;
    let path = Path::of("stores");
    check.positive(&path.key("max_records"), stores.max_records == 0);
    let keys = path.key("encryption_keys");
    for (index, key) in stores.encryption_keys.iter().enumerate() {
        let path = keys.index(index).key("id");
        if !is_name(&key.id) || key.id.len() > 32 {
            check.invalid(&path, &NAME.replace("64", "32"));
        } else if stores.encryption_keys[..index].iter().any(|before| before.id == key.id) {
            check.error(&path, "the same id twice: which key decrypts a record is told by it");
        }
    }
    redis(check);
}

fn redis(check: &mut Check<'_>) {
    let Some(redis) = &check.config.stores.redis else { return };
    let path = Path::of("stores").key("redis");
    match (&redis.url, &redis.url_file) {
        (None, None) => check.error(&path, "expected url, or url_file for one with a password in it"),
        (Some(_), Some(_)) => check.error(&path.key("url_file"), "expected one of url and url_file, found both"),
        (Some(url), None) if !is_url(url) && !check.is_lost(&path.key("url")) => {
            // Not as it was found: a password may stand in it.
            check.error(&path.key("url"), "expected redis://host:port/database, or rediss:// for TLS");
        }
        (Some(url), None) if redis.ca_file.is_some() && !url.starts_with("rediss://") => {
            check.warn(&path.key("ca_file"), "is not used: the URL begins with redis://, not with rediss://");
        }
        _ => {}
    }
    check.positive(&path.key("limits_timeout"), redis.limits_timeout.get().is_zero());
    check.positive(&path.key("records_timeout"), redis.records_timeout.get().is_zero());
    let used = check.config.routes.iter().any(|route| route.idempotency.is_some());
    if !used && check.is_written(&path) {
        check.warn(&path, "nothing is kept there: no route has idempotency.store: redis");
    }
}

fn is_url(url: &str) -> bool {
    let rest = ["redis://", "rediss://", "redis+unix://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}
