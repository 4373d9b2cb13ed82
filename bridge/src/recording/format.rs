//! How the messages of a topic are encoded, as MCAP files say it to their readers.

/// Encoding of a topic's messages, and where there is one, its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format<'a> {
    /// MCAP's message encoding: `kinestream/1`, `json` and so on.
    pub message_encoding: &'a str,
    /// What describes the messages; none for a format that describes itself.
    pub schema: Option<Schema<'a>>,
}

/// A description that a recording carries along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema<'a> {
    /// What is described.
    pub name: &'a str,
    /// How the text is to be read, such as `jsonschema` or `markdown`.
    pub encoding: &'a str,
    /// The description.
    pub text: &'a str,
}

impl Format<'static> {
    /// The bytes of docs/WIRE.md. The recording carries that page, so that it can be read without this project.
    pub const WIRE: Self = Self {
        message_encoding: "kinestream/1",
        schema: Some(Schema {
            name: "kinestream.Message",
            encoding: "markdown",
            text: include_str!("../../../docs/WIRE.md"),
        }),
    };
}

impl<'a> Format<'a> {
    /// JSON objects called `name`, which every MCAP tool shows.
    #[must_use]
    pub fn json(name: &'a str) -> Self {
        Self {
            message_encoding: "json",
            schema: Some(Schema {
                name,
                encoding: "jsonschema",
                text: r#"{"type": "object"}"#,
            }),
        }
    }
}
