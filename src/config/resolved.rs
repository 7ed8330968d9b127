//! Defaults that depend on something else, worked out in one place.

use std::time::Duration;

use super::endpoint::{Endpoint, EndpointError};
use super::{Config, Direction, HostHeader, Listener, Protocol, Route, Upstream};
use crate::policy::idempotency::Store;
use crate::units::Auto;

/// What a masked value is shown as.
const MASK: &str = "***";

impl Config {
    /// From SIGTERM to the end at the latest: `drain.timeout`, or the delay, the largest total and a second.
    pub fn drain_timeout(&self) -> Duration {
        match self.drain.timeout {
            Auto::Is(timeout) => timeout.get(),
            Auto::Auto => {
                let totals = self.routes.iter().filter(|r| !r.stream).map(|r| r.timeouts.total.get());
                self.drain.delay.get() + totals.max().unwrap_or_default() + Duration::from_secs(1)
            }
        }
    }

    /// The first route whose idempotency records this process has to itself.
    pub fn local_records(&self) -> Option<&Route> {
        self.routes.iter().find(|route| route.idempotency.as_ref().is_some_and(|section| section.store == Store::Local))
    }

    /// Takes everything out that decides about requests: what is left forwards them, as a plain proxy does. For a person
    /// who has to know, at once, whether it is outboard that hurts. Idempotency stays: without it a retry that comes while
    /// that is found out is a second charge.
    pub fn bypass(&mut self) {
        for upstream in self.upstreams.values_mut() {
            (upstream.queue, upstream.circuit_breaker) = (None, None);
            (upstream.health_check, upstream.outlier_detection) = (None, None);
        }
        for route in &mut self.routes {
            route.rate_limits.clear();
            (route.max_concurrent, route.circuit_breaker, route.fault) = (None, None, None);
            (route.cache, route.invalidates, route.compression) = (None, None, None);
        }
    }

    /// The configuration as it may be shown: values of headers that say who is asking are masked.
    pub fn masked(&self) -> Config {
        let mut shown = self.clone();
        let secret = |name: &str| {
            let known = self.credentials.iter().chain(&self.redaction.headers);
            known.into_iter().any(|k| k.eq_ignore_ascii_case(name))
        };
        let headers = shown.routes.iter_mut().map(|r| &mut r.headers).chain([&mut shown.defaults.headers]);
        let halves = headers.flat_map(|h| [&mut h.request, &mut h.response]);
        for (name, value) in halves.flat_map(|c| c.set.iter_mut().chain(c.add.iter_mut())) {
            if secret(name) {
                MASK.clone_into(value);
            }
        }
        let matches = shown.routes.iter_mut().flat_map(|r| r.matches.headers.iter_mut());
        for (_, value) in matches.filter(|(name, value)| secret(name) && value.as_str() != "*") {
            MASK.clone_into(value);
        }
        if let Some(url) = shown.stores.redis.as_mut().and_then(|redis| redis.url.as_mut()) {
            *url = without_password(url);
        }
        shown
    }
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (_, address))) => format!("{scheme}://{MASK}@{address}"),
        None => url.to_owned(),
    }
}

impl Upstream {
    /// The Host it is sent: preserve, endpoint where it has tls.
    pub fn host_header(&self) -> HostHeader {
        match &self.host {
            Some(host) => host.clone(),
            None if self.tls.is_some() => HostHeader::Endpoint,
            None => HostHeader::Preserve,
        }
    }

    /// Where it is, parsed; a checked configuration has no error here.
    pub fn parsed_endpoints(&self) -> Result<Vec<Endpoint>, EndpointError> {
        self.endpoints.iter().map(|e| e.parse()).collect()
    }
}

impl Listener {
    /// What is spoken on it: as written, or both that are possible.
    pub fn protocols(&self) -> Vec<Protocol> {
        match (&self.tls, self.protocols.is_empty()) {
            (_, false) => self.protocols.clone(),
            (None, true) => vec![Protocol::Http1, Protocol::H2c],
            (Some(_), true) => vec![Protocol::Http1, Protocol::H2],
        }
    }

    /// Whose requests it takes: inbound where nothing is written.
    pub fn direction(&self) -> Direction {
        self.direction.unwrap_or(Direction::Inbound)
    }
}
