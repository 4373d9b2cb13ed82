//! Configurations of OmegaConf in a pickle, as JSON.
//!
//! Reads what `DictConfig`, `ListConfig` and their nodes keep in their state (`_content` and
//! `_val`), and plain dictionaries and lists alike.

use serde_json::{Map, Value as Json};

use super::pickle::Value;

/// Nodes of a configuration at most, and how deep they may be nested. A pickle can say with a few
/// bytes that a large part occurs again and again.
const MOST_NODES: usize = 100_000;
const DEEPEST: usize = 64;

/// A configuration as JSON.
///
/// # Errors
/// In words: something that is no configuration, or one that is larger or deeper than any.
pub(super) fn to_json(config: Value<'_>) -> Result<Json, String> {
    let mut left = MOST_NODES;
    convert(config, "cfg", DEEPEST, &mut left)
}

/// The keys of the dictionary at a path of a configuration, in their order; none where there is none.
pub(super) fn keys(config: Value<'_>, path: &[&str]) -> Vec<String> {
    let mut found = content(config);
    for key in path {
        found = found.and_then(|value| content(value.get(key)?));
    }
    let entries = found.and_then(|value| value.dictionary());
    let keys = entries.into_iter().flatten();
    keys.filter_map(|(key, _)| key.text().map(str::to_owned))
        .collect()
}

fn convert(value: Value<'_>, path: &str, depth: usize, left: &mut usize) -> Result<Json, String> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("{path}: more than {MOST_NODES} entries"))?;
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| format!("{path} is nested more than {DEEPEST} deep"))?;
    let value = content(value).ok_or_else(|| format!("{path} is a node without content"))?;
    if let Some(entries) = value.dictionary() {
        let mut object = Map::new();
        for (key, value) in entries {
            let key = match (key.text(), key.integer()) {
                (Some(key), _) => key.to_owned(),
                (_, Some(key)) => key.to_string(),
                _ => return Err(format!("{path} has {} as a key", key.describe())),
            };
            let value = convert(value, &format!("{path}.{key}"), depth, left)?;
            object.insert(key, value);
        }
        return Ok(Json::Object(object));
    }
    if let Some(items) = value.sequence() {
        let items = items
            .enumerate()
            .map(|(index, item)| convert(item, &format!("{path}.{index}"), depth, left));
        return Ok(Json::Array(items.collect::<Result<_, _>>()?));
    }
    if let Some(number) = value.float() {
        // JSON knows neither NaN nor infinity; whoever needs the number says that it is missing.
        return Ok(serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number));
    }
    if let Some((made_by, parts)) = value.made_by()
        && made_by.module.starts_with("pathlib")
        && let Some(parts) = parts.sequence()
    {
        let parts: Vec<_> = parts.filter_map(Value::text).collect();
        return Ok(Json::String(parts.join("/")));
    }
    if value.is_none() {
        Ok(Json::Null)
    } else if let Some(value) = value.boolean() {
        Ok(Json::Bool(value))
    } else if let Some(value) = value.integer() {
        Ok(Json::from(value))
    } else if let Some(value) = value.text() {
        Ok(Json::from(value))
    } else {
        Err(format!("{path} is {}", value.describe()))
    }
}

/// What a node of OmegaConf holds; any other value is its own content.
fn content(value: Value<'_>) -> Option<Value<'_>> {
    match value.made_by() {
        Some((class, _)) if class.module.starts_with("omegaconf.") => {
            let key = match class.name {
                "DictConfig" | "ListConfig" | "UnionNode" => "_content",
                _ => "_val",
            };
            let inner = value.state()?.get(key)?;
            // A union holds a node in its turn.
            if class.name == "UnionNode" && inner.made_by().is_some() {
                return inner.state()?.get("_val");
            }
            Some(inner)
        }
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::pickle::Pickle;

    fn json(pickle: &[u8]) -> Result<Json, String> {
        to_json(Pickle::read(pickle).unwrap().root())
    }

    #[test]
    fn plain_values_stay_what_they_are() {
        let found = json(
            b"\x80\x04}(\x8c\x01a](K\x01G?\xe0\x00\x00\x00\x00\x00\x00\x88Ne\x8c\x01b\x8c\x01xK\x03)u.",
        );
        let expected = serde_json::json!({"a": [1, 0.5, true, null], "b": "x", "3": []});
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn nodes_are_their_content() {
        // DictConfig {"a": AnyNode(7), "b": ListConfig [AnyNode("x")]}, each with itself as parent.
        let mut pickle = b"\x80\x04comegaconf.dictconfig\nDictConfig\n)\x81q\x00}(".to_vec();
        pickle.extend(b"\x8c\x07_parenth\x00\x8c\x08_content}(");
        pickle.extend(b"\x8c\x01acomegaconf.nodes\nAnyNode\n)\x81}\x8c\x04_valK\x07sb");
        pickle.extend(b"\x8c\x01bcomegaconf.listconfig\nListConfig\n)\x81}\x8c\x08_content](");
        pickle.extend(b"comegaconf.nodes\nAnyNode\n)\x81}\x8c\x04_val\x8c\x01xsbesb");
        pickle.extend(b"uub.");
        assert_eq!(
            json(&pickle).unwrap(),
            serde_json::json!({"a": 7, "b": ["x"]})
        );
    }

    #[test]
    fn circles_and_repetitions_end() {
        let message = json(b"\x80\x02]q\x00h\x00a.").unwrap_err();
        assert!(message.contains("nested more than 64 deep"), "{message}");
        // Ten lists of ten of the last one make ten thousand millions.
        let mut pickle = b"\x80\x02N".to_vec();
        for _ in 0..10 {
            pickle.extend(b"q\x00(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00tq\x01");
            // Only the new tuple stays.
            pickle.extend(b"00h\x01");
        }
        pickle.push(b'.');
        let message = json(&pickle).unwrap_err();
        assert!(message.contains("more than 100000 entries"), "{message}");
        let message = json(b"\x80\x02ctyping\nAny\n.").unwrap_err();
        assert_eq!(message, "cfg is `typing.Any`");
    }
}
