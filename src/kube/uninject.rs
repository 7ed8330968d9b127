//! Takes the sidecar out of a pod again: what was there before an injection is there after it. What somebody has changed
//! since stays as it is.

use serde_json::{Value, json};

use super::inject::{LABEL, VOLUMES};
use super::pod::{self, CONTAINERS, SIDECAR};
use super::status::{STATUS, Status};

/// A pod without its sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Uninjected {
    /// The pod as it was before.
    pub pod: Value,
    /// The application's port, where it has no name: Services that were made to reach it by the sidecar's need its number.
    pub unnamed: Option<u16>,
}

/// Takes the sidecar out; none where there is none.
pub fn uninject(pod: &Value) -> Option<Uninjected> {
    let annotations = pod::annotations(pod);
    let status: Status = serde_json::from_str(annotations.get(STATUS)?).ok()?;
    pod.get("spec").filter(|spec| spec.is_object())?;
    let unnamed = status.name.is_none().then_some(status.port);
    let mut changed = pod.clone();
    let spec = &mut changed["spec"];
    for key in CONTAINERS {
        if spec.get(key).is_some() {
            pod::list_mut(spec, key).retain(|container| pod::text(container, "name") != Some(SIDECAR));
        }
    }
    if spec.get("volumes").is_some() {
        pod::list_mut(spec, "volumes")
            .retain(|volume| !pod::text(volume, "name").is_some_and(|name| VOLUMES.contains(&name)));
    }
    pod::drop_empty(spec, "initContainers");
    pod::drop_empty(spec, "volumes");
    if let Some(container) = pod::container_mut(spec, &status.container) {
        application(container, &status);
    }
    for name in &status.sleeps {
        if let Some(container) = pod::container_mut(spec, name) {
            wake(container, status.sleep);
        }
    }
    if let Some(raised) = status.grace_raised_to
        && spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64) == Some(raised)
    {
        match status.grace {
            Some(before) => spec["terminationGracePeriodSeconds"] = before,
            None => {
                spec.as_object_mut().map(|spec| spec.shift_remove("terminationGracePeriodSeconds"));
            }
        }
    }
    let metadata = &mut changed["metadata"];
    let annotations = pod::map_mut(metadata, "annotations");
    for name in status.annotations.iter().map(String::as_str).chain([STATUS]) {
        annotations.shift_remove(name);
    }
    pod::drop_empty(metadata, "annotations");
    pod::map_mut(metadata, "labels").shift_remove(LABEL);
    pod::drop_empty(metadata, "labels");
    Some(Uninjected { pod: changed, unnamed })
}

/// Gives the application its port's name back.
fn application(container: &mut Value, status: &Status) {
    let Some(name) = &status.name else { return };
    for reference in &status.references {
        let handler = container.pointer_mut(&format!("/{reference}")).and_then(Value::as_object_mut);
        if let Some(port) = handler.and_then(|handler| handler.get_mut("port")).filter(|port| **port == status.port) {
            *port = json!(name);
        }
    }
    let ports = pod::list_mut(container, "ports");
    let taken = ports.iter_mut().find(|port| {
        pod::is_tcp(port) && port.get("containerPort") == Some(&json!(status.port)) && port.get("name").is_none()
    });
    if let Some(port) = taken.and_then(Value::as_object_mut) {
        // First, where people write it.
        port.shift_insert(0, "name".into(), json!(name));
    }
}

/// Takes the sleep out of a container that was told to.
fn wake(container: &mut Value, seconds: u64) {
    if container.pointer("/lifecycle/preStop") == Some(&json!({ "sleep": { "seconds": seconds } })) {
        pod::map_mut(container, "lifecycle").shift_remove("preStop");
        pod::drop_empty(container, "lifecycle");
    }
}
