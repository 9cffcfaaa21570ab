//! YAML as it is committed.

use crate::files::Error;
use serde::Serialize;
use serde_json::{Number, Value};

/// First line of every generated YAML file.
pub const HEADER: &str = "# Written by `cargo gen write`. Do not edit.\n";

/// `object` as YAML, keys sorted.
pub fn document(object: &impl Serialize) -> Result<String, Error> {
    let mut value = serde_json::to_value(object)?;
    whole_numbers(&mut value);
    Ok(serde_saphyr::to_string(&value)?)
}

/// Schema bounds are floating-point numbers in the API types; users write `1`, not `1.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && let Ok(whole) = format!("{float:.0}").parse::<i64>()
                && float.fract() == 0.0
            {
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
