//! `docs/reference/mcpendpoint.md` and `mcpendpointclass.md`: the API reference, from the CRDs' schemas.

use super::{HEADER, cell};
use crate::files::Error;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

const ENDPOINT: &str = "
# McpEndpoint

`apiVersion: sallyport.dev/v1alpha1`, `kind: McpEndpoint`, short name `mcpe`, category `mcp`. Namespaced.

Every field that can be written is enforced; a field that this version cannot enforce is refused with the reason. The rules
under each table are checked by the API server, with these messages. `kubectl explain mcpe.spec` shows the same texts.
";

const CLASS: &str = "
# McpEndpointClass

`apiVersion: sallyport.dev/v1alpha1`, `kind: McpEndpointClass`, short name `mcpec`, category `mcp`. Cluster-scoped.

What the platform decides for all endpoints that name the class in `spec.className`. The class with the annotation
`sallyport.dev/is-default-class: \"true\"` holds for endpoints that name none; of several, the newest. Without one, every
field has its default. An endpoint that names a class which does not exist is stalled with reason `InvalidSpec` until it does.
A changed class is followed at once.
";

/// The reference of `McpEndpoint`.
pub fn endpoint() -> Result<String, Error> {
    markdown(ENDPOINT, &sallyport_api::mcp_endpoint_crd()?, &["spec", "status"])
}

/// The reference of `McpEndpointClass`.
pub fn class() -> Result<String, Error> {
    markdown(CLASS, &sallyport_api::mcp_endpoint_class_crd()?, &["spec"])
}

fn markdown(introduction: &str, crd: &impl Serialize, parts: &[&str]) -> Result<String, Error> {
    let crd = serde_json::to_value(crd)?;
    let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let mut text = format!("{HEADER}{introduction}");
    let rules = rules(&schema);
    if !rules.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nRules of the whole object:\n\n{rules}");
    }
    for part in parts {
        let schema = schema["properties"].get(part).ok_or(Error::Schema("spec or status"))?;
        section(&mut text, part, schema);
    }
    Ok(text)
}

/// One heading and table for an object, then those of the objects inside it.
fn section(text: &mut String, path: &str, schema: &Value) {
    let Some(properties) = fields(schema) else { return };
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let _ = write!(text, "\n## {path}\n\n");
    if let Some(description) = schema["description"].as_str() {
        let _ = write!(text, "{}\n\n", prose(description));
    }
    text.push_str("| field | type | default | description |\n|---|---|---|---|\n");
    let mut rows: Vec<_> = properties.iter().collect();
    rows.sort_by_key(|(name, _)| !required.contains(&name.as_str()));
    for (name, field) in rows {
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            value => format!("`{value}`"),
        };
        let description = cell(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "| `{name}` | {} | {default} | {description} |", type_of(field));
    }
    let of_fields = properties.values().filter(|field| inner(field).is_none());
    let all: String = std::iter::once(schema).chain(of_fields).map(rules).collect();
    if !all.is_empty() {
        let _ = write!(text, "\nRules:\n\n{all}");
    }
    for (name, field) in properties {
        if let Some((suffix, schema)) = inner(field) {
            section(text, &format!("{path}.{name}{suffix}"), schema);
        }
    }
}

/// The object that a field holds, or holds a list of, if it has a section of its own.
fn inner(field: &Value) -> Option<(&'static str, &Value)> {
    let (suffix, schema) = if field["type"] == "array" {
        ("[]", &field["items"])
    } else {
        ("", field)
    };
    fields(schema).map(|_| (suffix, schema))
}

/// Fields of an object that has named ones.
fn fields(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"]
        .as_object()
        .filter(|properties| !properties.is_empty())
}

fn type_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        return values.join(" or ");
    }
    let kind = match field["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if field["additionalProperties"].is_object() => "map of string to string".to_owned(),
        kind => kind.to_owned(),
    };
    let bounds = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ];
    let bounds = bounds.into_iter().filter_map(|(least, most, unit)| {
        let range = match (field[least].as_f64(), field[most].as_f64()) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => return None,
        };
        Some(format!(", {range}{unit}"))
    });
    std::iter::once(kind).chain(bounds).collect()
}

fn rules(schema: &Value) -> String {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let messages = rules.filter_map(|rule| rule["message"].as_str());
    messages
        .flat_map(|message| ["- ".to_owned(), prose(message), "\n".to_owned()])
        .collect()
}

/// Plain text as Markdown prose.
fn prose(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('<', "&lt;")
        .replace('*', "\\*")
}
