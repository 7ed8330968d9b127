//! Turns the names of endpoints into addresses, again and again, beside the traffic.
//!
//! The last good answer is kept when a look-up fails, and an address that is found again keeps its connections.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::endpoint::{Address, Endpoint};
use super::{Set, Upstream};
use crate::config::Endpoint as Configured;
use crate::observe::metrics::ResultLabel;

/// The longest that a look-up may take before it counts as failed.
const LOOK_UP: Duration = Duration::from_secs(5);

impl Upstream {
    /// Whether an endpoint must be looked up.
    pub fn has_names(&self) -> bool {
        self.configured.iter().any(|e| matches!(e, Configured::Tcp { host, .. } if literal(host).is_none()))
    }

    /// Looks all names up once and takes the answer over.
    pub async fn resolve(&self) {
        let mut found = Vec::new();
        let mut failed = None;
        for configured in &self.configured {
            match addresses(configured).await {
                Ok(addresses) => found.extend(addresses.into_iter().map(|a| (configured, a))),
                Err(e) => {
                    failed = Some((configured.to_string(), e));
                    // What was known of this name stays.
                    let known = self.set.load();
                    let authority = configured.to_string();
                    let same = known.endpoints.iter().filter(|e| e.authority == authority);
                    found.extend(same.map(|e| (configured, e.address.clone())));
                }
            }
        }
        match failed {
            Some((name, e)) => {
                self.metrics.resolved(ResultLabel::Failed);
                tracing::warn!(event = "resolve_failed", upstream = %self.name, name, cause = %e);
            }
            None => self.metrics.resolved(ResultLabel::Ok),
        }
        self.take_over(found);
        self.apply_queue();
    }

    /// Makes `found` the endpoints, keeping those that were there before.
    fn take_over(&self, found: Vec<(&Configured, Address)>) {
        let before = self.set.load_full();
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::with_capacity(found.len());
        for (configured, address) in found {
            let authority = configured.to_string();
            if endpoints.iter().any(|e| e.address == address && e.authority == authority) {
                continue;
            }
            let known = before.endpoints.iter().find(|e| e.address == address && e.authority == authority);
            endpoints.push(known.cloned().unwrap_or_else(|| Arc::new(self.endpoint(configured, address))));
        }
        let same = endpoints.len() == before.endpoints.len()
            && endpoints.iter().zip(&before.endpoints).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return;
        }
        let labels = |set: &[Arc<Endpoint>]| set.iter().map(|e| &*e.label).collect::<Vec<_>>().join(",");
        tracing::info!(event = "endpoints", upstream = %self.name, old = labels(&before.endpoints), new = labels(&endpoints));
        self.metrics.endpoints.set(endpoints.len() as i64);
        let gone: Vec<_> =
            before.endpoints.iter().filter(|e| !endpoints.iter().any(|n| Arc::ptr_eq(n, e))).cloned().collect();
        self.replace(Set::new(endpoints, self.load_balance));
        gone.iter().for_each(|e| e.clear());
    }

    pub(super) fn endpoint(&self, configured: &Configured, address: Address) -> Endpoint {
        let host = match configured {
            Configured::Tcp { host, .. } => host.trim_matches(['[', ']']).to_owned(),
            Configured::Unix(_) => String::new(),
        };
        Endpoint::new(configured.to_string(), host, address, self.metrics.connections_active.clone())
    }

    /// Takes what needs no look-up; and of names, until they are looked up, what the upstream in whose place it comes knew.
    pub(super) fn take_known(&self, before: Option<&Upstream>) {
        let before = before.map(|before| before.set.load_full());
        let mut known = Vec::new();
        for configured in &self.configured {
            if let Some(address) = literal_address(configured) {
                known.push((configured, address));
                continue;
            }
            let authority = configured.to_string();
            let same = before.iter().flat_map(|set| &set.endpoints).filter(|e| e.authority == authority);
            known.extend(same.map(|e| (configured, e.address.clone())));
        }
        self.take_over(known);
    }
}

/// Looks an upstream's names up every `dns_refresh`, for as long as it is one of the configuration.
pub async fn keep_resolving(upstream: Weak<Upstream>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(upstream) = upstream.upgrade().filter(|upstream| !upstream.is_retired()) else { return };
        upstream.resolve().await;
    }
}

fn literal(host: &str) -> Option<std::net::IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn literal_address(configured: &Configured) -> Option<Address> {
    match configured {
        Configured::Tcp { host, port } => literal(host).map(|ip| Address::Tcp(SocketAddr::new(ip, *port))),
        Configured::Unix(path) => Some(Address::Unix(path.clone())),
    }
}

async fn addresses(configured: &Configured) -> std::io::Result<Vec<Address>> {
    if let Some(address) = literal_address(configured) {
        return Ok(vec![address]);
    }
    let Configured::Tcp { host, port } = configured else { return Ok(Vec::new()) };
    let look_up = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host.as_str(), *port)));
    let found: Vec<_> = look_up.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??.collect();
    if found.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no address"));
    }
    Ok(found.into_iter().map(Address::Tcp).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::observe::metrics::Metrics;

    fn settings(yaml: &str) -> config::Upstream {
        serde_yaml::from_str(yaml).unwrap()
    }

    /// Requests go to it from the moment in which it is there; its names may take seconds to be looked up.
    #[tokio::test]
    async fn an_upstream_that_changed_knows_at_once_what_its_names_were() {
        let metrics = Metrics::new().unwrap();
        let first = Upstream::new("app", &settings("endpoints: ['localhost:9']"), &metrics, None).unwrap();
        assert!(first.endpoints().is_empty());
        first.resolve().await;
        let labels = |upstream: &Upstream| upstream.endpoints().iter().map(|e| e.label.clone()).collect::<Vec<_>>();
        assert!(!labels(&first).is_empty());
        let changed = settings("{ endpoints: ['localhost:9', 'other.invalid:9'], dns_refresh: 1m }");
        let second = Upstream::new("app", &changed, &metrics, Some(&first)).unwrap();
        assert_eq!(labels(&second), labels(&first));
        let other = settings("endpoints: ['localhost:10']");
        assert!(Upstream::new("app", &other, &metrics, Some(&second)).unwrap().endpoints().is_empty());
    }
}
