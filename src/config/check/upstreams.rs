//! Rules of `upstreams`.

use super::{Check, NAME, is_name};
use crate::config::endpoint::Endpoint;
use crate::config::key::KeySource;
use crate::config::path::Path;
use crate::config::pattern::PathPattern;
use crate::config::upstream::{HostHeader, Upstream, UpstreamProtocol};
use crate::policy::balance::LoadBalance;

pub(super) fn check(check: &mut Check<'_>) {
    let upstreams = &check.config.upstreams;
    let section = Path::of("upstreams");
    if upstreams.is_empty() {
        check.error(&section, "expected at least one upstream");
    }
    for (name, upstream) in upstreams {
        let path = section.key(name);
        if !is_name(name) {
            check.invalid_key(&path, NAME);
        }
        let endpoints = endpoints(check, upstream, &path.key("endpoints"));
        tls(check, upstream, &path, &endpoints);
        host(check, upstream, &path, &endpoints);
        hash_on(check, name, upstream, &path);
        health_check(check, upstream, &path, &endpoints);
        outlier_detection(check, upstream, &path, &endpoints);
        let pool = path.key("pool");
        check.positive(&path.key("dns_refresh"), upstream.dns_refresh.get().is_zero());
        check.positive(&pool.key("max_connections"), upstream.pool.max_connections == 0);
        check.positive(&pool.key("max_streams"), upstream.pool.max_streams == 0);
        check.positive(&pool.key("max_lifetime"), upstream.pool.max_lifetime.get().is_zero());
    }
}

fn endpoints(check: &mut Check<'_>, upstream: &Upstream, path: &Path) -> Vec<Endpoint> {
    if upstream.endpoints.is_empty() {
        check.error(path, "expected at least one endpoint");
    }
    let mut known = Vec::new();
    for (index, text) in upstream.endpoints.iter().enumerate() {
        let path = path.index(index);
        match text.parse::<Endpoint>() {
            Ok(endpoint) if endpoint.port() == Some(0) => check.invalid(&path, "a port from 1 to 65535"),
            Ok(endpoint) if known.contains(&endpoint) => check.error(&path, "the same endpoint twice"),
            Ok(endpoint) => known.push(endpoint),
            Err(_) => check.invalid(&path, "host:port, [ipv6]:port or unix:/path"),
        }
        let ours = |l: &&crate::config::Listener| l.address.parse::<Endpoint>().is_ok_and(|a| Some(&a) == known.last());
        if let Some(listener) = check.config.listeners.iter().find(ours) {
            check.warn(&path, format!("is our own listener {}: requests may go round for ever", listener.name));
        }
    }
    known
}

fn tls(check: &mut Check<'_>, upstream: &Upstream, path: &Path, endpoints: &[Endpoint]) {
    let protocol = path.key("protocol");
    let Some(tls) = &upstream.tls else {
        if matches!(upstream.protocol, UpstreamProtocol::H2 | UpstreamProtocol::Auto)
            && !check.is_lost(&path.key("tls"))
        {
            check.invalid(&protocol, "http1 or h2c, as the upstream has no tls");
        }
        return;
    };
    let path = path.key("tls");
    if upstream.protocol == UpstreamProtocol::H2c {
        check.invalid(&protocol, "http1, h2 or auto, as the upstream has tls");
    }
    match &tls.server_name {
        Some(name) if !is_server_name(name) => check.invalid(&path.key("server_name"), "a host name or an IP address"),
        None if endpoints.iter().any(|e| matches!(e, Endpoint::Unix(_))) => {
            check.error(&path.key("server_name"), "required with a unix socket: there is no host to take it from");
        }
        _ => {}
    }
    let (cert, key) = (path.key("cert_file"), path.key("key_file"));
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => check.error(&key, "required beside cert_file"),
        (None, Some(_)) => check.error(&cert, "required beside key_file"),
        _ => {}
    }
    if tls.insecure_skip_verify {
        check.warn(&path.key("insecure_skip_verify"), "anyone can answer as this upstream; never for money");
    }
}

fn is_server_name(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok() || crate::config::endpoint::is_host(name)
}

fn host(check: &mut Check<'_>, upstream: &Upstream, path: &Path, endpoints: &[Endpoint]) {
    let path = path.key("host");
    match &upstream.host {
        Some(HostHeader::Name(name)) if name.parse::<http::uri::Authority>().is_err() || name.contains('@') => {
            check.invalid(&path, "preserve, endpoint or a name");
        }
        Some(HostHeader::Endpoint) if upstream.tls.is_none() && endpoints.iter().any(|e| e.port().is_none()) => {
            check.invalid(&path, "preserve or a name, as a unix socket has no host");
        }
        _ => {}
    }
}

fn hash_on(check: &mut Check<'_>, name: &str, upstream: &Upstream, path: &Path) {
    let hashes = upstream.load_balance == LoadBalance::ConsistentHash;
    let path = path.key("hash_on");
    if hashes && upstream.hash_on.is_empty() {
        check.error(&path, "required with load_balance: consistent_hash");
    }
    if !hashes && !upstream.hash_on.is_empty() {
        check.error(&path, "is only for load_balance: consistent_hash");
    }
    for (index, text) in upstream.hash_on.iter().enumerate() {
        let path = path.index(index);
        match text.parse() {
            Ok(KeySource::Path(param)) => parameter(check, name, &path, &param),
            // Tokens are verified for a route, and only where its limits ask for them.
            Ok(KeySource::Jwt(_)) | Err(_) => {
                check.invalid(&path, "client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM or constant");
            }
            Ok(_) => {}
        }
    }
}

fn health_check(check: &mut Check<'_>, upstream: &Upstream, path: &Path, endpoints: &[Endpoint]) {
    let (Some(health), path) = (&upstream.health_check, path.key("health_check")) else { return };
    let target = health.path.parse::<http::uri::PathAndQuery>();
    if !health.path.starts_with('/') || health.path.contains('#') || target.is_err() {
        check.invalid(&path.key("path"), "a path that starts with /");
    }
    let (interval, timeout) = (path.key("interval"), path.key("timeout"));
    check.positive(&interval, health.interval.get().is_zero());
    check.positive(&timeout, health.timeout.get().is_zero());
    check.positive(&path.key("unhealthy_after"), health.unhealthy_after == 0);
    check.positive(&path.key("healthy_after"), health.healthy_after == 0);
    if health.timeout > health.interval && !health.interval.get().is_zero() {
        let message = format!(
            "{} is more than health_check.interval {} (line {}): a check would not end before the next",
            health.timeout,
            health.interval,
            check.line(&interval),
        );
        check.error(&timeout, message);
    }
    if health.expect_status.is_empty() {
        check.error(&path.key("expect_status"), "expected at least one status");
    }
    alone(check, &path, endpoints);
}

fn outlier_detection(check: &mut Check<'_>, upstream: &Upstream, path: &Path, endpoints: &[Endpoint]) {
    let (Some(outlier), path) = (&upstream.outlier_detection, path.key("outlier_detection")) else { return };
    check.positive(&path.key("consecutive_failures"), outlier.consecutive_failures == 0);
    check.positive(&path.key("eject_for"), outlier.eject_for.get().is_zero());
    check.positive(&path.key("max_ejected"), outlier.max_ejected.get() == 0.0);
    alone(check, &path, endpoints);
}

/// A name may resolve to several addresses; anything else that stands alone is the last endpoint.
fn alone(check: &mut Check<'_>, path: &Path, endpoints: &[Endpoint]) {
    let [only] = endpoints else { return };
    if matches!(only, Endpoint::Unix(_)) || only.ip().is_some() {
        check.warn(path, "takes nobody out: the last endpoint always stays, and there is one only");
    }
}

/// A parameter that a route of the upstream does not have is the same for all its requests: they share an endpoint.
fn parameter(check: &mut Check<'_>, upstream: &str, path: &Path, param: &str) {
    let only = check.config.upstreams.len() == 1;
    let has = |p: &Option<String>| {
        p.as_ref().and_then(|p| p.parse::<PathPattern>().ok()).is_some_and(|p| p.params().any(|name| name == param))
    };
    let without = check.config.routes.iter().find(|route| {
        let goes = route.upstream.as_deref().map_or(only, |to| to == upstream);
        goes && !has(&route.matches.path)
    });
    if let Some(route) = without {
        check.warn(
            path,
            format!("the path of route {} has no {{{param}}}: all its requests go to one endpoint", route.name),
        );
    }
}
