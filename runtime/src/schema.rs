//! The JSON schema of configuration files, by which editors complete and check them.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::Config;

/// The schema of [`Config`], from the types that read it: descriptions are their comments, defaults their defaults. Draft 7,
/// which the TOML servers of editors know.
pub fn configuration_schema() -> Schema {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<Config>();
    // A file that runs a checkpoint says only what it changes.
    schema.remove("required");
    for table in PARTIAL_TABLES {
        let definition = schema.pointer_mut(&format!("/definitions/{table}"));
        if let Some(definition) = definition.and_then(Value::as_object_mut) {
            definition.remove("required");
        }
    }
    schema
}

/// Types of tables that may be written in part.
const PARTIAL_TABLES: [&str; 3] = ["TaskConfig", "PlanConfig", "SamplerConfig"];

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    /// Keywords that say nothing of what is allowed.
    const ANNOTATIONS: [&str; 6] = [
        "$schema",
        "title",
        "description",
        "default",
        "format",
        "definitions",
    ];

    /// Why a value does not fit a schema; knows the keywords that ours has, and panics at others.
    fn problem(root: &Value, schema: &Value, value: &Value) -> Option<String> {
        let Value::Object(schema) = schema else {
            return (schema == false).then(|| format!("{value} is not allowed"));
        };
        schema.iter().find_map(|(keyword, rule)| {
            let fits = |schema: &Value| problem(root, schema, value).is_none();
            let list = || rule.as_array().unwrap().iter();
            let object = value.as_object();
            let ok = match keyword.as_str() {
                "$ref" => {
                    let name = rule.as_str().unwrap().trim_start_matches('#');
                    return problem(root, root.pointer(name).unwrap(), value);
                }
                "type" => match rule {
                    Value::Array(names) => names.iter().any(|name| is(value, name)),
                    name => is(value, name),
                },
                "properties" => {
                    let rules = rule.as_object().unwrap().iter();
                    let mut pairs =
                        rules.filter_map(|(key, rule)| Some((key, rule, object?.get(key)?)));
                    return pairs.find_map(|(key, rule, value)| {
                        problem(root, rule, value).map(|why| format!("{key}: {why}"))
                    });
                }
                "required" => list().all(|key| {
                    object.is_none_or(|object| object.contains_key(key.as_str().unwrap()))
                }),
                "additionalProperties" => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    let mut others = object.into_iter().flatten().filter(|(key, _)| {
                        known.is_none_or(|known: &Map<_, _>| !known.contains_key(key.as_str()))
                    });
                    return others.find_map(|(key, value)| {
                        problem(root, rule, value).map(|why| format!("{key}: {why}"))
                    });
                }
                "items" => {
                    let mut items = value.as_array().into_iter().flatten();
                    return items.find_map(|item| problem(root, rule, item));
                }
                "minItems" => value
                    .as_array()
                    .is_none_or(|it| it.len() as u64 >= rule.as_u64().unwrap()),
                "maxItems" => value
                    .as_array()
                    .is_none_or(|it| it.len() as u64 <= rule.as_u64().unwrap()),
                "minimum" => value.as_f64().is_none_or(|it| it >= rule.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|it| it <= rule.as_f64().unwrap()),
                "enum" => list().any(|one| one == value),
                "const" => rule == value,
                "oneOf" => list().filter(|one| fits(one)).count() == 1,
                "anyOf" => list().any(fits),
                "allOf" => list().all(fits),
                other => {
                    assert!(ANNOTATIONS.contains(&other), "what is {other}?");
                    true
                }
            };
            (!ok).then(|| format!("{value} against {keyword}: {rule}"))
        })
    }

    fn is(value: &Value, name: &Value) -> bool {
        match name.as_str().unwrap() {
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            other => panic!("what is {other}?"),
        }
    }

    fn problem_of(text: &str) -> Option<String> {
        let schema = serde_json::to_value(configuration_schema()).unwrap();
        problem(&schema, &schema, &toml::from_str(text).unwrap())
    }

    #[test]
    fn shipped_configurations_of_policies_fit_and_so_do_they_with_all_defaults() {
        let mut seen = 0;
        for entry in std::fs::read_dir("../configs").unwrap() {
            let path = entry.unwrap().path();
            let Ok(config) = Config::read(&path) else {
                // Of a character or of clips, or a folder.
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(problem_of(&text), None, "{}", path.display());
            let whole = toml::to_string(&config).unwrap();
            assert_eq!(problem_of(&whole), None, "{} with defaults", path.display());
            seen += 1;
        }
        assert!(seen >= 3, "{seen}");
    }

    #[test]
    fn what_is_refused_when_read_does_not_fit() {
        let text = crate::config::BUILT_IN;
        for (line, other) in [
            ("horizon = ", "horizn = "),
            ("kind = \"per_position\"", "kind = \"per_positon\""),
            ("kind = \"ddim\"", "kind = \"ddim\", order = 2"),
            ("horizon = 16", "horizon = \"16\""),
        ] {
            assert!(text.contains(line), "{line}");
            let changed = text.replacen(line, other, 1);
            assert!(Config::parse(&changed, "run.toml").is_err(), "{other}");
            assert!(problem_of(&changed).is_some(), "{other}");
        }
    }

    #[test]
    fn every_key_of_the_runtime_is_described() {
        let schema = serde_json::to_value(configuration_schema()).unwrap();
        let keys = schema["definitions"]["RuntimeConfig"]["properties"]
            .as_object()
            .unwrap();
        assert!(keys.len() > 10, "{keys:?}");
        for (key, about) in keys {
            assert!(about["description"].is_string(), "{key}: {about}");
        }
    }
}
