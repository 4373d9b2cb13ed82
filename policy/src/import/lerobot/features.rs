//! Features of a LeRobot policy: what it observes and what it returns, in their order.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Name of the action.
pub(super) const ACTION: &str = "action";
/// Name of the state of the robot.
pub(super) const STATE: &str = "observation.state";

/// What a feature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    State,
    Environment,
    Visual,
    Action,
}

impl Kind {
    /// Every kind under LeRobot's name for it.
    pub(super) const ALL: [(&str, Self); 4] = [
        ("STATE", Self::State),
        ("ENV", Self::Environment),
        ("VISUAL", Self::Visual),
        ("ACTION", Self::Action),
    ];

    /// The kind of a name that LeRobot writes.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(known, kind)| (known == name).then_some(kind))
    }

    /// The kind of a feature of the old layout, which named none.
    pub(super) fn of_feature(name: &str) -> Option<Self> {
        match name {
            STATE => Some(Self::State),
            ACTION => Some(Self::Action),
            "observation.environment_state" => Some(Self::Environment),
            _ if name.starts_with("observation.image") => Some(Self::Visual),
            _ => None,
        }
    }
}

/// A feature as `config.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Written {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) shape: Vec<usize>,
}

/// A feature that the policy takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// One size, or channels, rows and columns.
    pub(super) shape: Vec<usize>,
}

/// A JSON object whose entries keep their order: that of the cameras counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ordered<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Ordered::default())
            }
        }

        deserializer.deserialize_any(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order() {
        let text = r#"{"b": {"type": "VISUAL", "shape": [3, 4, 5]}, "a": {"type": "STATE", "shape": [2]}}"#;
        let Ordered(entries) = serde_json::from_str::<Ordered<Written>>(text).unwrap();
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let none: Ordered<Written> = serde_json::from_str("null").unwrap();
        assert!(none.0.is_empty());
    }
}
