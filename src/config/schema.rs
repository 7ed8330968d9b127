//! The JSON Schema of the file, for editors and for machines that write it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;

/// The schema of the whole file, draft 2020-12. It knows what the loader knows beside the types: a key without a value
/// is one left out, `off` is none, and numbers stand for their text.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value();
    loosen(&mut schema);
    // A route may switch off the headers that `defaults` gave it.
    if let Some(headers) = schema.pointer_mut("/$defs/Route/properties/headers") {
        *headers = json!({ "anyOf": [headers.take(), { "enum": [false, "off", null] }] });
    }
    schema
}

fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            words(object);
            texts(object);
            properties(object);
            object.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

/// Where a word may be `off`, so may `false`.
fn words(object: &mut Map<String, Value>) {
    let off = json!("off");
    if let Some(Value::Array(words)) = object.get_mut("enum")
        && words.contains(&off)
        && !words.contains(&json!(false))
    {
        words.push(json!(false));
        object.remove("type");
    }
    if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
        let says_off = |c: &Value| {
            c.get("const") == Some(&off) || c.get("enum").and_then(Value::as_array).is_some_and(|w| w.contains(&off))
        };
        if choices.iter().any(says_off) {
            choices.push(json!({ "const": false }));
        }
    }
}

/// `x-api-version: 2` is read as the text 2.
fn texts(object: &mut Map<String, Value>) {
    if let Some(values) = object.get_mut("additionalProperties").and_then(Value::as_object_mut)
        && values.get("type") == Some(&json!("string"))
    {
        values.insert("type".to_owned(), json!(["string", "number", "boolean"]));
    }
}

/// A key that is not required may have no value, and one that may have none may be `off`.
fn properties(object: &mut Map<String, Value>) {
    let required = object.get("required").cloned().unwrap_or_default();
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for (_, schema) in properties.iter_mut().filter(|(name, _)| !required.contains(&name.as_str())) {
        let none = if takes_null(schema) { json!([false, "off", null]) } else { json!([null]) };
        let mut outer = Map::new();
        // Documentation and default stay where an editor looks for them.
        if let Value::Object(inner) = schema {
            for key in ["description", "default"] {
                outer.extend(inner.remove(key).map(|value| (key.to_owned(), value)));
            }
        }
        outer.insert("anyOf".to_owned(), json!([schema.take(), { "enum": none }]));
        *schema = Value::Object(outer);
    }
}

fn takes_null(schema: &Value) -> bool {
    let null = json!("null");
    let own = schema.get("type").is_some_and(|t| *t == null || t.as_array().is_some_and(|t| t.contains(&null)));
    own || schema.get("anyOf").and_then(Value::as_array).is_some_and(|choices| choices.iter().any(takes_null))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_schema() {
        let schema = super::schema();
        assert!(jsonschema::meta::is_valid(&schema));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["listeners", "upstreams"]));
    }
}
