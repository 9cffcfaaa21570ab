//! Finds fields that the CRD does not know, as the API server does with strict field validation.

use serde_json::Value;

/// Paths of the fields of `document` that `schema` does not know, as in `spec.server.imgae`.
pub fn unknown_fields(document: &Value, schema: &Value) -> Vec<String> {
    let mut unknown = vec![];
    collect(document, schema, "", &mut unknown);
    unknown
}

fn collect(value: &Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            // Maps of the user's own keys, and metadata, which is the API server's.
            let Some(properties) = schema["properties"].as_object() else {
                return;
            };
            for (name, field) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match properties.get(name) {
                    Some(schema) => collect(field, schema, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &schema["items"], &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    #[test]
    fn a_misspelt_field_is_found_at_any_depth() {
        let schema = json!({"properties": {
            "list": {"items": {"properties": {"a": {}}}},
            "map": {"additionalProperties": {}},
        }});
        let document = json!({"list": [{"a": 1}, {"b": 1}], "map": {"any": 1}, "lst": []});
        assert_eq!(unknown_fields(&document, &schema), ["list[1].b", "lst"]);
    }
}
