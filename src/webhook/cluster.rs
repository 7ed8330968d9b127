//! What the webhook knows of the cluster around a pod: its namespace's policy, the Services that select the pod, the
//! ConfigMap it names. Asked at the API server when it is needed, and kept for a moment.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::Api;
use crate::kube::annotations::OnFailure;
use crate::kube::inject::on_failure;
use crate::kube::inject::services::{Targets, labels};

/// For how long what was read is taken for true. A Deployment's pods come together, and ask for the same.
const FRESH: Duration = Duration::from_secs(5);
/// How many namespaces are kept.
const NAMESPACES: usize = 200;

/// A namespace, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// What becomes of its pods that cannot be injected.
    pub(super) on_failure: Option<OnFailure>,
    services: Option<Vec<Value>>,
    configurations: BTreeMap<String, String>,
}

impl Namespace {
    /// One of which this is known.
    #[cfg(test)]
    pub(super) fn with(
        on_failure: Option<OnFailure>,
        services: Option<Vec<Value>>,
        configurations: BTreeMap<String, String>,
    ) -> Namespace {
        Namespace { on_failure, services, configurations }
    }

    /// The Services that select a pod; none where they could not be read.
    pub(super) fn targets(&self, pod: &Value) -> Option<Targets> {
        Some(Targets::of(self.services.as_ref()?.iter(), &labels(pod)))
    }

    /// The configuration in a ConfigMap.
    pub(super) fn configuration(&self, name: &str) -> Option<String> {
        self.configurations.get(name).cloned()
    }
}

/// The cluster.
pub(super) struct Cluster {
    api: Arc<Api>,
    /// By name, and by the moment in which they were read: an old one is not asked for any more.
    known: Cache<(String, u64), Arc<Namespace>>,
    began: Instant,
}

impl Cluster {
    pub(super) fn new(api: Arc<Api>) -> Cluster {
        Cluster { api, known: Cache::new(NAMESPACES), began: Instant::now() }
    }

    /// A namespace, read once for all that ask in a moment. What cannot be read of it is not known: the pod is then judged by
    /// itself.
    pub(super) async fn namespace(&self, name: &str) -> Arc<Namespace> {
        let key = (name.to_owned(), self.began.elapsed().as_secs() / FRESH.as_secs());
        let read = async { Ok::<_, Infallible>(Arc::new(self.read(name).await)) };
        match self.known.get_or_insert_async(&key, read).await {
            Ok(namespace) => namespace,
            Err(never) => match never {},
        }
    }

    async fn read(&self, name: &str) -> Namespace {
        let base = format!("/api/v1/namespaces/{name}");
        let (services, maps) =
            (format!("{base}/services"), format!("{base}/configmaps?labelSelector=outboard.dev%2Fconfig"));
        let (own, services, maps) = tokio::join!(self.api.get(&base), self.api.get(&services), self.api.get(&maps));
        let told = |what: &str, e: &super::api::ApiError| {
            tracing::warn!(event = "cluster_not_read", namespace = name, what, cause = %e);
        };
        let items = |answer: std::result::Result<Value, super::api::ApiError>, what: &str| match answer {
            Ok(mut list) => match list.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => Some(items),
                _ => None,
            },
            Err(e) => {
                told(what, &e);
                None
            }
        };
        let configuration = |map: &Value| {
            let text = |pointer: &str| map.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            Some((text("/metadata/name")?, text("/data/outboard.yaml")?))
        };
        Namespace {
            on_failure: own.inspect_err(|e| told("namespace", e)).ok().and_then(|own| on_failure(&own)),
            services: items(services, "services").map(|all| all.iter().map(kept).collect()),
            configurations: items(maps, "configmaps").into_iter().flatten().filter_map(|m| configuration(&m)).collect(),
        }
    }
}

/// What is kept of a Service.
fn kept(service: &Value) -> Value {
    let part = |pointer: &str| service.pointer(pointer).cloned().unwrap_or_default();
    json!({
        "metadata": { "name": part("/metadata/name") },
        "spec": { "selector": part("/spec/selector"), "ports": part("/spec/ports") },
    })
}
