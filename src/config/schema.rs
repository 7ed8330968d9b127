//! The JSON Schema of the file, for editors and for machines that write it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;

/// The schema of the whole file, draft 2020-12. It knows what the loader knows beside the types: a key without a value
/// is one left out, `off` is none, and numbers stand for their text.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value();
    let sections = sections(&schema);
    loosen(&mut schema, &sections);
    // A route may switch off the headers that `defaults` gave it.
    if let Some(headers) = schema.pointer_mut("/$defs/Route/properties/headers") {
        *headers = json!({ "anyOf": [headers.take(), { "enum": [false, "off", null] }] });
    }
    schema
}

/// The definitions that are sections: their values are no text, so no variable can stand for them.
fn sections(schema: &Value) -> Vec<String> {
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let sections = definitions.into_iter().flatten().filter(|(_, d)| d.get("type") == Some(&json!("object")));
    sections.map(|(name, _)| format!("#/$defs/{name}")).collect()
}

fn loosen(schema: &mut Value, sections: &[String]) {
    match schema {
        Value::Object(object) => {
            words(object);
            numbers(object);
            texts(object);
            properties(object, sections);
            object.values_mut().for_each(|value| loosen(value, sections));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| loosen(item, sections)),
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

/// The largest number that a type holds.
fn numbers(object: &mut Map<String, Value>) {
    let most = match object.get("format").and_then(Value::as_str) {
        Some("uint16") => json!(u16::MAX),
        Some("uint32") => json!(u32::MAX),
        _ => return,
    };
    object.entry("maximum").or_insert(most);
}

/// `x-api-version: 2` is read as the text 2.
fn texts(object: &mut Map<String, Value>) {
    if let Some(values) = object.get_mut("additionalProperties").and_then(Value::as_object_mut)
        && values.get("type") == Some(&json!("string"))
    {
        values.insert("type".to_owned(), json!(["string", "number", "boolean"]));
    }
}

/// A key that is not required may have no value, one that may have none may be `off`, and a variable of the
/// environment may stand for any scalar.
fn properties(object: &mut Map<String, Value>, sections: &[String]) {
    let required = object.get("required").cloned().unwrap_or_default();
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for (name, schema) in properties {
        let mut choices = Vec::new();
        if !required.contains(&name.as_str()) {
            let none = if takes_null(schema) { json!([false, "off", null]) } else { json!([null]) };
            choices.push(json!({ "enum": none }));
        }
        if !is_structure(schema, sections) {
            choices.push(json!({ "type": "string", "pattern": r"\$\{[A-Za-z_]" }));
        }
        // Documentation and default stay where an editor looks for them.
        let mut outer = Map::new();
        if let Value::Object(inner) = schema {
            for key in ["description", "default"] {
                outer.extend(inner.remove(key).map(|value| (key.to_owned(), value)));
            }
        }
        choices.insert(0, schema.take());
        outer.insert("anyOf".to_owned(), json!(choices));
        *schema = Value::Object(outer);
    }
}

fn is_structure(schema: &Value, sections: &[String]) -> bool {
    let own = matches!(schema.get("type").and_then(Value::as_str), Some("object" | "array"));
    let refers = schema.get("$ref").and_then(Value::as_str).is_some_and(|r| sections.iter().any(|s| s == r));
    let choices = schema.get("anyOf").and_then(Value::as_array);
    own || refers || choices.is_some_and(|choices| choices.iter().any(|choice| is_structure(choice, sections)))
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
