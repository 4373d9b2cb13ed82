//! Questions and answers: queryables that reply in JSON (parameters, model information), and how to ask them.

use std::time::Duration;

use serde_json::Value;
use zenoh::Wait;
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::query::Queryable;

use super::{Node, NodeError};

/// Longest reply that [`Node::ask`] reads, in bytes.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// A running queryable; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    _inner: Queryable<()>,
}

impl Node {
    /// Answers every query on `info/<name>` with the JSON value that `answer` returns. It runs on a thread of zenoh's and
    /// must be short.
    ///
    /// # Errors
    /// [`NodeError`] if `name` is not a valid chunk or the session is closed.
    pub fn serve<F>(&self, name: &str, answer: F) -> Result<Service, NodeError>
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        let inner = self.serve_key(self.keys().info(name)?, move |_| answer())?;
        Ok(Service { _inner: inner })
    }

    /// Answers every query on `srv/<name>` with what `answer` makes of its payload, as [`Node::serve`]. Who asks may be
    /// anybody: the payload is any bytes.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn serve_requests<F>(&self, name: &str, answer: F) -> Result<Service, NodeError>
    where
        F: Fn(&[u8]) -> Value + Send + Sync + 'static,
    {
        let inner = self.serve_key(self.keys().service(name)?, answer)?;
        Ok(Service { _inner: inner })
    }

    /// Answers queries of a key with JSON, given their payload.
    pub(super) fn serve_key<F>(&self, key: String, answer: F) -> Result<Queryable<()>, NodeError>
    where
        F: Fn(&[u8]) -> Value + Send + Sync + 'static,
    {
        let reply_key = key.clone();
        self.session()
            .declare_queryable(key.clone())
            .complete(true)
            .callback(move |query| {
                let payload = query.payload().map(ZBytes::to_bytes).unwrap_or_default();
                let text = answer(&payload).to_string();
                if let Err(error) = query
                    .reply(reply_key.as_str(), text)
                    .encoding(Encoding::APPLICATION_JSON)
                    .wait()
                {
                    tracing::warn!(key = reply_key, %error, "reply not sent");
                }
            })
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "declare the queryable",
                key,
                source,
            })
    }

    /// Asks `info/<name>` of this robot and returns the first reply, or none if nobody answers within `limit`.
    ///
    /// # Errors
    /// [`NodeError::Reply`] if the reply is an error, longer than 1 MiB or not JSON; [`NodeError::Zenoh`] if the session is
    /// closed.
    pub fn ask(&self, name: &str, limit: Duration) -> Result<Option<Value>, NodeError> {
        self.ask_key(self.keys().info(name)?, limit)
    }

    /// Asks `srv/<name>` of this robot with a JSON payload; replies as for [`Node::ask`].
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn request(
        &self,
        name: &str,
        payload: &Value,
        limit: Duration,
    ) -> Result<Option<Value>, NodeError> {
        let key = self.keys().service(name)?;
        self.ask_with(key, Some(payload.to_string()), limit)
    }

    /// The first reply on a key; none if nobody answers in time.
    pub(super) fn ask_key(&self, key: String, limit: Duration) -> Result<Option<Value>, NodeError> {
        self.ask_with(key, None, limit)
    }

    fn ask_with(
        &self,
        key: String,
        payload: Option<String>,
        limit: Duration,
    ) -> Result<Option<Value>, NodeError> {
        let question = self.session().get(key.clone()).timeout(limit);
        let question = match payload {
            Some(text) => question.payload(text).encoding(Encoding::APPLICATION_JSON),
            None => question,
        };
        let replies = question.wait().map_err(|source| NodeError::Zenoh {
            doing: "ask",
            key: key.clone(),
            source,
        })?;
        let Ok(reply) = replies.recv() else {
            return Ok(None);
        };
        let refused = |reason| NodeError::Reply {
            key: key.clone(),
            reason,
        };
        let payload = match reply.result() {
            Ok(sample) => sample.payload(),
            // zenoh reports an expired time limit as an error reply too.
            Err(error) if error.payload().to_bytes().as_ref() == b"Timeout" => return Ok(None),
            Err(error) => {
                return Err(refused(format!(
                    "error reply {:?}",
                    String::from_utf8_lossy(&error.payload().to_bytes())
                )));
            }
        };
        if payload.len() > MAX_REPLY_BYTES {
            return Err(refused(format!(
                "expected at most {MAX_REPLY_BYTES} bytes, found {}",
                payload.len()
            )));
        }
        let value = serde_json::from_slice(&payload.to_bytes())
            .map_err(|error| refused(format!("not JSON: {error}")))?;
        Ok(Some(value))
    }
}
