//! An AdmissionReview (admission.k8s.io/v1) in, one out: the pod that is about to be created, and the patch that puts the
//! sidecar into it. Nothing else is touched, and nothing is kept, so a dry run is like any other.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kube::annotations::OnFailure;
use crate::kube::inject::{Injector, Left, Outcome, Reason, Refused, Surroundings, inject, on_failure};
use crate::kube::workload::Maker;

use super::cluster::Namespace;

/// What API servers send.
#[derive(Debug, Deserialize)]
struct Incoming {
    #[serde(rename = "apiVersion")]
    version: String,
    request: Option<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    uid: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
struct Kind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    kind: String,
}

/// What became of a review, for its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    /// The pod gets the sidecar.
    Injected,
    /// It stays as it is, and says so itself.
    Left(Left),
    /// It is not what the webhook is for: no pod, no creation.
    Skipped,
    /// It cannot have the sidecar, and is created as it is.
    Ignored(Reason),
    /// It cannot have the sidecar, and is not created.
    Refused(Reason),
}

impl Result {
    /// The words of the metric: what was done, and why.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Result::Injected => ("injected", ""),
            Result::Left(left) => ("left", left.as_str()),
            Result::Skipped => ("skipped", ""),
            Result::Ignored(reason) => ("ignored", reason.as_str()),
            Result::Refused(reason) => ("refused", reason.as_str()),
        }
    }
}

/// An answer.
pub(super) struct Reviewed {
    /// Whose pods: the namespace and the pod's name, as far as it has one.
    pub(super) pod: String,
    /// What became of it.
    pub(super) result: Result,
    /// What its owner is told.
    pub(super) messages: Vec<String>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// The body is no review.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoReview {
    /// It is no JSON, or something is missing.
    #[error("expected an AdmissionReview: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another version.
    #[error("expected apiVersion admission.k8s.io/v1, got {0:?}")]
    Version(String),
    /// It asks nothing.
    #[error("expected a request in the AdmissionReview, found none")]
    Empty,
}

/// A review that was read.
pub(super) struct Review(Request);

impl Review {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> std::result::Result<Review, NoReview> {
        let incoming: Incoming = serde_json::from_slice(body)?;
        if incoming.version != "admission.k8s.io/v1" {
            return Err(NoReview::Version(incoming.version));
        }
        incoming.request.map(Review).ok_or(NoReview::Empty)
    }

    /// The namespace that has to be known to answer it; none where it does not matter.
    pub(super) fn namespace(&self) -> Option<&str> {
        (self.is_ours() && !self.0.namespace.is_empty()).then_some(self.0.namespace.as_str())
    }

    fn is_ours(&self) -> bool {
        let Request { kind, operation, .. } = &self.0;
        // A static pod is the kubelet's: what is created of it here only shows it.
        let mirror = self.0.object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
        operation == "CREATE" && kind.group.is_empty() && kind.version == "v1" && kind.kind == "Pod" && !mirror
    }

    /// Answers it.
    pub(super) fn answer(&self, injector: &Injector, namespace: Option<&Arc<Namespace>>) -> Reviewed {
        let pod = &self.0.object;
        let mut response = json!({ "uid": self.0.uid, "allowed": true });
        let (result, messages) = if self.is_ours() {
            let around = Surroundings {
                ends: is_of_job(pod),
                maker: Maker::of_pod(pod),
                services: namespace.and_then(|namespace| namespace.targets(pod)),
                services_change: false,
                config_map: &|name| namespace.and_then(|namespace| namespace.configuration(name)),
            };
            match inject(injector, &around, pod) {
                Ok(Outcome::Injected(injected)) => {
                    let patch = json_patch::diff(pod, &injected.pod);
                    let patch = serde_json::to_vec(&patch).unwrap_or_default();
                    response["patchType"] = json!("JSONPatch");
                    response["patch"] = json!(BASE64_STANDARD.encode(patch));
                    (Result::Injected, injected.warnings)
                }
                Ok(Outcome::Left(left)) => (Result::Left(left), Vec::new()),
                Err(Refused { reason, message }) => {
                    let says = on_failure(pod).or_else(|| namespace.and_then(|namespace| namespace.on_failure));
                    match says.unwrap_or_default() {
                        OnFailure::Ignore => (Result::Ignored(reason), vec![format!("without outboard: {message}")]),
                        OnFailure::Refuse => {
                            response["allowed"] = json!(false);
                            response["status"] = json!({
                                "code": 422, "reason": "Invalid",
                                "message": format!("outboard cannot be injected: {message}"),
                            });
                            (Result::Refused(reason), vec![message])
                        }
                    }
                }
            }
        } else {
            (Result::Skipped, Vec::new())
        };
        if !messages.is_empty() {
            response["warnings"] = messages.iter().map(|message| warning(message)).collect();
        }
        let body = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
        Reviewed { pod: self.pod(), result, messages, body: body.to_string().into_bytes() }
    }

    /// The pod as people call it. One of a controller has no name yet.
    fn pod(&self) -> String {
        let text = |pointer: &str| self.0.object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or("?");
        format!("{}/{name}", self.0.namespace)
    }
}

/// The longest warning that is sure to arrive whole.
const LONGEST: usize = 256;

/// A warning as a header can carry it: API servers cut longer ones, and drop those with line breaks.
fn warning(message: &str) -> Value {
    let mut line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > LONGEST {
        let end = (0..=LONGEST - "…".len()).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    line.into()
}

/// Whether a pod belongs to a Job, so that it has to come to an end.
fn is_of_job(pod: &Value) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner.get("kind").and_then(Value::as_str) == Some("Job"))
}

#[cfg(test)]
mod tests;
