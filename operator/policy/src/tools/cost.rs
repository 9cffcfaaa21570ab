//! How much work it takes to check a value against a schema, counted before it is done.
//!
//! A validator cannot be interrupted, and a short schema can make it work for ever: references that lead back to where
//! they began, or that double at every step. So the schema is first walked along the value as a validator would that
//! never stops early, and the steps are counted.

use serde_json::{Map, Value};
use std::collections::HashSet;

/// Steps that a check may take.
const STEPS: usize = 200_000;
/// Characters that patterns may be held against.
const CHARACTERS: usize = 1 << 20;
/// Schemas within schemas, references included.
const DEPTH: usize = 128;
/// Patterns in one schema. Each takes memory of its own.
const PATTERNS: usize = 64;

/// It would take too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// Keywords with a schema that the same value must fit.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords with an array of schemas for the same value.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords with schemas by name.
const NAMED: [&str; 6] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "$defs",
    "definitions",
];
/// Keywords with a schema, or an array of them, for parts of the value.
const PARTS: [&str; 9] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "contentSchema",
];

/// Whether all references in `root` are such as can be followed here: `#` or `#/…`, to a place in `root`; and whether
/// there are not too many patterns. Every place that a reference leads to is looked at too, wherever it is.
///
/// # Errors
///
/// What is wrong, in words.
pub(super) fn check_references(root: &Value) -> Result<(), String> {
    let mut open = vec![(root, 0)];
    let mut seen: HashSet<*const Value> = HashSet::new();
    let mut patterns = 0;
    while let Some((schema, depth)) = open.pop() {
        if depth > DEPTH {
            return Err(format!("its schemas are nested more than {DEPTH} deep"));
        }
        let Value::Object(members) = schema else {
            continue;
        };
        if !seen.insert(schema) {
            continue;
        }
        if let Some(key) = unsupported(members, std::ptr::eq(root, schema)) {
            return Err(format!(
                "it has a {key} that is not supported: references begin at the root, and by $ref"
            ));
        }
        if let Some(reference) = members.get("$ref") {
            let target = resolve(root, reference).ok_or_else(|| {
                "it has a $ref to elsewhere: only references within the schema, as in #/$defs/x, are followed"
                    .to_owned()
            })?;
            open.push((target, depth + 1));
        }
        let named = members
            .get("patternProperties")
            .and_then(Value::as_object)
            .map_or(0, Map::len);
        patterns += named + usize::from(members.contains_key("pattern"));
        if patterns > PATTERNS {
            return Err(format!("it has more than {PATTERNS} patterns"));
        }
        open.extend(subschemas(members).map(|below| (below, depth + 1)));
    }
    Ok(())
}

/// A keyword that changes where references lead.
fn unsupported(members: &Map<String, Value>, is_root: bool) -> Option<&'static str> {
    let within = ["$id", "id", "$schema"].into_iter();
    let within = within.filter(|key| !is_root && members.get(*key).is_some_and(Value::is_string));
    let dynamic = ["$dynamicRef", "$recursiveRef"].into_iter();
    dynamic.filter(|key| members.contains_key(*key)).chain(within).next()
}

/// All schemas directly within a schema.
fn subschemas(members: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    members.iter().flat_map(|(key, value)| {
        let key = key.as_str();
        let is_one = SAME.contains(&key) || SAME_LISTS.contains(&key) || PARTS.contains(&key);
        let found: Vec<&Value> = match value {
            Value::Object(named) if NAMED.contains(&key) => named.values().collect(),
            Value::Array(list) if is_one => list.iter().collect(),
            value if is_one => vec![value],
            _ => vec![],
        };
        found
    })
}

/// What `reference` refers to in `root`.
fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    let pointer = reference.as_str()?.strip_prefix('#')?;
    // Encoded pointers mean the same, but are read differently.
    let plain = pointer.is_empty() || (pointer.starts_with('/') && !pointer.contains('%'));
    root.pointer(pointer).filter(|_| plain)
}

/// Counts the steps that it takes to check `value` against `root`.
///
/// # Errors
///
/// [`Refused`]: too many.
pub(super) fn estimate(root: &Value, value: &Value) -> Result<(), Refused> {
    let mut walk = Walk {
        root,
        steps: STEPS,
        characters: CHARACTERS,
    };
    walk.schema(root, value, DEPTH)
}

struct Walk<'a> {
    root: &'a Value,
    steps: usize,
    characters: usize,
}

impl Walk<'_> {
    fn spend(&mut self, steps: usize) -> Result<(), Refused> {
        self.steps = self.steps.checked_sub(steps).ok_or(Refused)?;
        Ok(())
    }

    fn hold_against_pattern(&mut self, text: &str) -> Result<(), Refused> {
        self.characters = self.characters.checked_sub(text.len() + 64).ok_or(Refused)?;
        Ok(())
    }

    fn schema(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), Refused> {
        self.spend(1)?;
        let depth = depth.checked_sub(1).ok_or(Refused)?;
        let Value::Object(members) = schema else {
            return Ok(());
        };
        for list in ["enum", "required"] {
            self.spend(members.get(list).and_then(Value::as_array).map_or(0, Vec::len))?;
        }
        // A validator may look twice: for the unevaluated rest, or for the reason of a mismatch.
        let looks_twice = ["unevaluatedProperties", "unevaluatedItems", "anyOf", "oneOf"];
        let times = if looks_twice.iter().any(|key| members.contains_key(*key)) {
            2
        } else {
            1
        };
        for _ in 0..times {
            self.same(members, value, depth)?;
        }
        match value {
            Value::Object(object) => self.object(members, object, depth),
            Value::Array(items) => self.array(members, items, depth),
            Value::String(text) if members.contains_key("pattern") => self.hold_against_pattern(text),
            _ => Ok(()),
        }
    }

    /// The schemas that the value itself must fit.
    fn same(&mut self, members: &Map<String, Value>, value: &Value, depth: usize) -> Result<(), Refused> {
        if let Some(reference) = members.get("$ref") {
            let target = resolve(self.root, reference).ok_or(Refused)?;
            self.schema(target, value, depth)?;
        }
        for schema in SAME.iter().filter_map(|key| members.get(*key)) {
            self.schema(schema, value, depth)?;
        }
        for list in SAME_LISTS.iter().filter_map(|key| members.get(*key)?.as_array()) {
            for schema in list {
                self.schema(schema, value, depth)?;
            }
        }
        for named in ["dependentSchemas", "dependencies"] {
            for schema in members
                .get(named)
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::values)
            {
                self.schema(schema, value, depth)?;
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        members: &Map<String, Value>,
        object: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), Refused> {
        self.spend(object.len())?;
        let properties = members.get("properties").and_then(Value::as_object);
        let patterns = members.get("patternProperties").and_then(Value::as_object);
        for (name, value) in object {
            let own = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = own {
                self.schema(schema, value, depth)?;
            }
            for schema in patterns.into_iter().flat_map(Map::values) {
                self.hold_against_pattern(name)?;
                self.schema(schema, value, depth)?;
            }
            for rest in ["additionalProperties", "unevaluatedProperties"] {
                if let Some(schema) = members.get(rest).filter(|_| own.is_none()) {
                    self.schema(schema, value, depth)?;
                }
            }
            if let Some(schema) = members.get("propertyNames") {
                self.schema(schema, &Value::String(name.clone()), depth)?;
            }
        }
        Ok(())
    }

    fn array(&mut self, members: &Map<String, Value>, items: &[Value], depth: usize) -> Result<(), Refused> {
        self.spend(items.len())?;
        if members.get("uniqueItems") == Some(&Value::Bool(true)) {
            items.iter().try_for_each(|item| self.spend(4 * size(item)))?;
        }
        for (index, item) in items.iter().enumerate() {
            for key in [
                "items",
                "prefixItems",
                "additionalItems",
                "contains",
                "unevaluatedItems",
            ] {
                match members.get(key) {
                    Some(Value::Array(list)) => {
                        if let Some(schema) = list.get(index) {
                            self.schema(schema, item, depth)?;
                        }
                    }
                    Some(schema) => self.schema(schema, item, depth)?,
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// How many values `value` is made of.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
