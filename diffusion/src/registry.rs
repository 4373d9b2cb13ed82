//! Registries: an enum of types that are configured by a table with a `kind`, written from a list.

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

/// Writes a registry from a list of `"kind" => Name(module::Type)`: the enum, which is written and
/// read as a table with `kind` and the keys of the type; its kinds; a macro that calls the same method
/// of whichever type it is; and one that makes an array of something of every type.
macro_rules! registry {
    (
        $(#[$attribute:meta])*
        pub enum $registry:ident in $folder:ident, each by $each:ident, all by $all:ident {
            $($kind:literal => $name:ident($module:ident::$type:ident),)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(schemars::JsonSchema)]
        #[serde(tag = "kind")]
        pub enum $registry {
            $(
                #[doc = concat!("`", $kind, "`: see [`", stringify!($folder), "::", stringify!($module), "`].")]
                #[serde(rename = $kind)]
                $name($folder::$module::$type),
            )+
        }

        $(
            impl From<$folder::$module::$type> for $registry {
                fn from(member: $folder::$module::$type) -> Self {
                    Self::$name(member)
                }
            }
        )+

        impl<'de> serde::Deserialize<'de> for $registry {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let (kind, table) = crate::registry::split(deserializer)?;
                match kind.as_str() {
                    $($kind => crate::registry::read(table).map(Self::$name),)+
                    other => Err(serde::de::Error::unknown_variant(other, Self::KINDS)),
                }
            }
        }

        impl $registry {
            /// Every kind of the registry.
            pub const KINDS: &'static [&'static str] = &[$($kind,)+];

            /// Which kind it is.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $kind,)+
                }
            }
        }

        /// Calls the same method of whichever type it is.
        macro_rules! $each {
            ($value:expr, $member:ident => $call:expr) => {
                match $value {
                    $($registry::$name($member) => $call,)+
                }
            };
        }

        /// Makes something of every type of the registry.
        macro_rules! $all {
            ($member:ident => $made:expr) => {
                [$({
                    type $member = $folder::$module::$type;
                    $made
                }),+]
            };
        }
    };
}
pub(crate) use registry;
