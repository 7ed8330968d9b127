//! The volumes that annotations name: the pod's own, and what a StatefulSet makes one of.

use serde_json::Value;

use super::{Reason, Refused};
use crate::kube::pod;
use crate::kube::workload::Maker;

/// A volume that an annotation names; none where it is a volumeClaimTemplate, which each pod gets as a volume.
pub(super) fn named<'a>(
    spec: &'a Value,
    maker: &Maker,
    annotation: &str,
    name: &str,
) -> Result<Option<&'a Value>, Refused> {
    if maker.claims.iter().any(|claim| claim == name) {
        return Ok(None);
    }
    let volumes = pod::list(spec, "volumes");
    if let Some(volume) = volumes.iter().find(|volume| pod::text(volume, "name") == Some(name)) {
        return Ok(Some(volume));
    }
    let names = volumes.iter().filter_map(|volume| pod::text(volume, "name"));
    let known: Vec<&str> = names.chain(maker.claims.iter().map(String::as_str)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Refused::new(Reason::Annotation, format!("{annotation}: there is no volume {name}; there is {known}")))
}
