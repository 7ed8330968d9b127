//! Services: how they reach a pod.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kube::pod;

/// How the Services that select a pod reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(Vec<(String, Target)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Number(u16),
    Name(String),
}

impl Targets {
    /// Those among these Services that select a pod of these labels.
    pub fn of<'a>(services: impl Iterator<Item = &'a Value>, labels: &BTreeMap<String, String>) -> Targets {
        let mut targets = Targets::default();
        for service in services.filter(|service| selects(service, labels)) {
            let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            for port in pod::list(&service["spec"], "ports") {
                let by_name = || pod::text(port, "targetPort").map(|name| Target::Name(name.to_owned()));
                let target = number(port).map(Target::Number).or_else(by_name);
                targets.0.extend(target.map(|target| (name.to_owned(), target)));
            }
        }
        targets
    }

    /// The names of those that reach a port by its number.
    pub fn by_number(&self, port: u16) -> Vec<&str> {
        self.0.iter().filter(|(_, target)| *target == Target::Number(port)).map(|(name, _)| name.as_str()).collect()
    }

    /// Whether one of them reaches a port of this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.0.iter().any(|(_, target)| matches!(target, Target::Name(other) if other == name))
    }
}

/// Lets a Service reach a port by its name instead of its number. Whether it did so before.
pub fn rename(service: &mut Value, port: u16, name: &str) -> bool {
    let mut changed = false;
    let Some(ports) = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return false };
    for entry in ports.iter_mut().filter(|entry| number(entry) == Some(port)) {
        entry["targetPort"] = json!(name);
        changed = true;
    }
    changed
}

/// The other way: lets a Service reach a port by its number instead of a name. Whether it did so before.
pub fn renumber(service: &mut Value, name: &str, port: u16) -> bool {
    let mut changed = false;
    let Some(ports) = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return false };
    for entry in ports.iter_mut().filter(|entry| pod::text(entry, "targetPort") == Some(name)) {
        entry["targetPort"] = json!(port);
        changed = true;
    }
    changed
}

/// Whether a Service selects a pod of these labels. One without a selector selects none.
pub fn selects(service: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else { return false };
    let wants = |(name, value): (&String, &Value)| value.as_str() == labels.get(name).map(String::as_str);
    !selector.is_empty() && selector.iter().all(wants)
}

/// The labels of a pod.
pub fn labels(pod: &Value) -> BTreeMap<String, String> {
    let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    labels.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// The number by which an entry reaches the pod; none where it says a name. Left out it is the Service's own port.
fn number(port: &Value) -> Option<u16> {
    if !pod::is_tcp(port) {
        return None;
    }
    let target = port.get("targetPort").filter(|target| !target.is_null()).or_else(|| port.get("port"))?;
    match target {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    }
}
