//! Where in an object the template of its pods stands.

use serde_json::Value;

/// A kind of object that runs pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Where the pod stands, as a JSON pointer; empty: the object is the pod.
    pub pod: &'static str,
    /// Its pods come to an end by themselves.
    pub ends: bool,
}

/// What an object is, if it runs pods.
pub fn of(object: &Value) -> Option<Workload> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let (pod, ends) = match (text("apiVersion")?, text("kind")?) {
        ("v1", "Pod") => ("", false),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => ("/spec/template", false),
        ("v1", "ReplicationController") => ("/spec/template", false),
        ("batch/v1", "Job") => ("/spec/template", true),
        ("batch/v1", "CronJob") => ("/spec/jobTemplate/spec/template", true),
        _ => return None,
    };
    object.pointer(pod)?.is_object().then_some(Workload { pod, ends })
}

/// Whether a text that cannot be read may be one that runs pods, a Service or a ConfigMap.
pub fn may_matter(text: &str) -> bool {
    let kinds = [
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "Job",
        "CronJob",
        "Service",
        "ConfigMap",
        "List",
    ];
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| kinds.contains(&word))
}

/// Whether an object is a Service.
pub fn is_service(object: &Value) -> bool {
    is(object, "v1", "Service")
}

/// Whether an object is a ConfigMap.
pub fn is_config_map(object: &Value) -> bool {
    is(object, "v1", "ConfigMap")
}

fn is(object: &Value, version: &str, kind: &str) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    text("apiVersion") == Some(version) && text("kind") == Some(kind)
}

/// An object as people call it.
pub fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    let name = object.pointer("/metadata/name").or_else(|| object.pointer("/metadata/generateName"));
    format!("{}/{}", text("/kind"), name.and_then(Value::as_str).unwrap_or("?"))
}
