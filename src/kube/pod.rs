//! A pod's JSON: the few ways in which it is read and changed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The name of the sidecar's container.
pub(super) const SIDECAR: &str = "outboard";

/// Where containers stand in a pod's spec.
pub(super) const CONTAINERS: [&str; 2] = ["initContainers", "containers"];

/// A list of a mapping; empty where there is none.
pub(super) fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text of a mapping.
pub(super) fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

/// A mapping in a mapping, made where it is not there. What is there and is none is replaced: the API server would refuse it.
pub(super) fn map_mut<'a>(of: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let of = as_map(of);
    as_map(of.entry(key).or_insert(Value::Null))
}

/// Whether a port, a container's or a Service's, is one of TCP, which is what is carried.
pub(super) fn is_tcp(port: &Value) -> bool {
    matches!(text(port, "protocol"), None | Some("TCP"))
}

/// A list in a mapping, made where it is not there.
pub(super) fn list_mut<'a>(of: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    let place = as_map(of).entry(key).or_insert(Value::Null);
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    match place {
        Value::Array(list) => list,
        _ => unreachable!("it was just made one"),
    }
}

fn as_map(place: &mut Value) -> &mut Map<String, Value> {
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(map) => map,
        _ => unreachable!("it was just made one"),
    }
}

/// Takes a mapping or a list away where nothing is in it any more.
pub(super) fn drop_empty(of: &mut Value, key: &str) {
    let empty = match of.get(key) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => false,
    };
    if empty && let Some(map) = of.as_object_mut() {
        map.shift_remove(key);
    }
}

/// The annotations of an object with metadata.
pub(super) fn annotations(object: &Value) -> BTreeMap<String, String> {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    annotations.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// The container of this name, wherever it stands in a spec.
pub(super) fn container_mut<'a>(spec: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let containers = spec.get_mut("containers")?.as_array_mut()?;
    containers.iter_mut().find(|container| text(container, "name") == Some(name))
}

/// All containers of a spec.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINERS.into_iter().flat_map(|key| list(spec, key))
}
