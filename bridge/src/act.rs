//! Requests that a character performs something, as JSON on `srv/act` and over the WebSocket:
//!
//! ```json
//! {"action": "jump", "seconds": 2.5, "seed": 7}
//! ```
//!
//! Seconds and seed may be left out. The answer is `{"accepted": {"action": "jump", "seconds": 2.53}}` or
//! `{"error": "..."}`. The text may be anybody's: it is read strictly and within bounds.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A message that would do.
const EXAMPLE: &str = r#"{"action": "jump", "seconds": 2.5}"#;
/// Most bytes of a request.
pub const MAX_ACT_BYTES: usize = 4096;
/// Most letters of an action.
const MAX_LETTERS: usize = 200;

/// What a character is asked to perform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// In words; which ones a character knows, `info/actions` tells.
    pub action: String,
    /// Seconds; none for as long as the action usually lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Seed of everything random in it; none for one of the character's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Why a message is no request.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// Not JSON, or a field that is missing, unknown or of the wrong type.
    #[error("{0}; expected for example {EXAMPLE}")]
    Json(serde_json::Error),
    /// Too long.
    #[error("{what} of {found} {unit}; expected at most {limit}")]
    Long {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        found: usize,
        /// In what.
        unit: &'static str,
        /// What would do.
        limit: usize,
    },
}

impl ActRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`ActError`] says what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, ActError> {
        let long = |what, found, unit, limit| ActError::Long {
            what,
            found,
            unit,
            limit,
        };
        if bytes.len() > MAX_ACT_BYTES {
            return Err(long("a request", bytes.len(), "bytes", MAX_ACT_BYTES));
        }
        let request: Self = serde_json::from_slice(bytes).map_err(ActError::Json)?;
        let letters = request.action.chars().count();
        if letters > MAX_LETTERS {
            return Err(long("an action", letters, "letters", MAX_LETTERS));
        }
        Ok(request)
    }

    /// Whether a text means to be such a request: a JSON object with an `action`.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        serde_json::from_str::<Value>(text).is_ok_and(|value| value.get("action").is_some())
    }
}

/// The answer to a request that was taken: the action as it is understood, and how long it will last.
#[must_use]
pub fn accepted(action: &str, seconds: f64) -> Value {
    json!({ "accepted": { "action": action, "seconds": seconds } })
}

/// The answer to one that was not.
#[must_use]
pub fn refused(reason: &str) -> Value {
    json!({ "error": reason })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_read_strictly() {
        let request = ActRequest::parse(br#"{"action": "sit down", "seed": 3}"#).unwrap();
        assert_eq!((&*request.action, request.seed), ("sit down", Some(3)));
        assert_eq!(request.seconds, None);
        for (text, words) in [
            (String::new(), "expected for example"),
            ("{}".into(), "action"),
            (r#"{"action": 1}"#.into(), "invalid type"),
            (r#"{"action": "a", "speed": 1}"#.into(), "speed"),
            (
                format!(r#"{{"action": "{}"}}"#, "a".repeat(300)),
                "300 letters",
            ),
            (" ".repeat(5000), "5000 bytes"),
        ] {
            let error = ActRequest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(ActRequest::is_meant(r#"{"action": null}"#));
        assert!(!ActRequest::is_meant(r#"{"velocity": [0, 1]}"#));
        assert!(!ActRequest::is_meant("action"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ActRequest::parse(&bytes);
        }
    }
}
