//! Tables with a `kind` that says how the rest is read, which is how registries are written.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The kind of a table, and the rest of it.
///
/// # Errors
/// Something else than a table, or one without a kind.
pub(crate) fn split<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(String, Map<String, Value>), D::Error> {
    let mut table = Map::deserialize(deserializer)?;
    let kind = table
        .remove("kind")
        .ok_or_else(|| Error::missing_field("kind"))?;
    match kind {
        Value::String(kind) => Ok((kind, table)),
        other => Err(Error::custom(format!("kind is {other}, expected a text"))),
    }
}

/// The rest of a table as the type of its kind; errors name the key.
///
/// # Errors
/// What serde refuses.
pub(crate) fn read<T: DeserializeOwned, E: Error>(table: Map<String, Value>) -> Result<T, E> {
    serde_path_to_error::deserialize(Value::Object(table)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // Those of unknown keys name the key themselves.
        match path == "." || reason.starts_with("unknown field") {
            true => E::custom(reason),
            false => E::custom(format!("{path}: {reason}")),
        }
    })
}
