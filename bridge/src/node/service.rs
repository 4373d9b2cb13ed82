//! Questions and answers: queryables that reply in JSON (parameters, model information), and how to ask them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::query::{Query, Queryable};

use super::{Node, NodeError};

/// Longest reply that [`Node::ask`] reads, in bytes.
const MAX_REPLY_BYTES: usize = 1 << 20;
/// Longest payload of a query that is read, in bytes; of a longer one, nothing.
const MAX_REQUEST_BYTES: usize = 1 << 16;
/// What a query by a wildcard is told where something would be done.
const BY_NAME: &str = "this acts only on a query of exactly its own key, not on a wildcard";

/// A running queryable; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    _inner: Queryable<()>,
}

/// Which queries a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressing {
    /// All that match its key: explorers and dashboards ask for `**`.
    Any,
    /// Those of exactly its key.
    Exact,
}

impl Node {
    /// Answers every query on `info/<name>` with the JSON value that `answer` returns, wildcards included: nothing is changed
    /// by a look. It runs on a thread that answers queries alone.
    ///
    /// # Errors
    /// [`NodeError`] if `name` is not a valid chunk or the session is closed.
    pub fn serve<F>(&self, name: &str, answer: F) -> Result<Service, NodeError>
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        let key = self.keys().info(name)?;
        let inner = self.declare_service(key, Addressing::Any, move |_| Ok(answer()))?;
        Ok(Service { _inner: inner })
    }

    /// Answers queries on `srv/<name>`, by exactly this key, with what `answer` makes of their payload, as [`Node::serve`]. Who
    /// asks may be anybody: the payload is any bytes.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn serve_requests<F>(&self, name: &str, answer: F) -> Result<Service, NodeError>
    where
        F: Fn(&[u8]) -> Value + Send + Sync + 'static,
    {
        let key = self.keys().service(name)?;
        let answered = move |payload: &[u8]| Ok(answer(payload));
        let inner = self.declare_service(key, Addressing::Exact, answered)?;
        Ok(Service { _inner: inner })
    }

    /// Answers queries of a key with JSON, given their payload, or with an error.
    pub(super) fn declare_service<F>(
        &self,
        key: String,
        addressing: Addressing,
        answer: F,
    ) -> Result<Queryable<()>, NodeError>
    where
        F: Fn(&[u8]) -> Result<Value, String> + Send + Sync + 'static,
    {
        self.declare_action(key, addressing, |_| (), move |payload, ()| answer(payload))
    }

    /// Calls `act` with the payload of a query at once, on zenoh's receiving thread, where it must neither wait nor lock, and
    /// `answer` with what came of it later, on the thread that answers queries.
    pub(super) fn declare_action<T, A, F>(
        &self,
        key: String,
        addressing: Addressing,
        act: A,
        answer: F,
    ) -> Result<Queryable<()>, NodeError>
    where
        T: Send + 'static,
        A: Fn(&[u8]) -> T + Send + Sync + 'static,
        F: Fn(&[u8], T) -> Result<Value, String> + Send + Sync + 'static,
    {
        let failed = |source| NodeError::Zenoh {
            doing: "declare the queryable",
            key: key.clone(),
            source,
        };
        let replies = self.replies().clone();
        replies
            .start()
            .map_err(|error| failed(Box::new(error).into()))?;
        let (own_key, answer) = (Arc::<str>::from(key.as_str()), Arc::new(answer));
        self.session()
            .declare_queryable(key.clone())
            .complete(true)
            .callback(move |query| {
                let (own_key, answer) = (Arc::clone(&own_key), Arc::clone(&answer));
                if addressing == Addressing::Exact && query.key_expr().as_str() != &*own_key {
                    replies.hand_over(move || refuse(&query, &own_key, BY_NAME));
                    return;
                }
                let payload = bounded(&query);
                let acted = act(&payload);
                replies.hand_over(move || match answer(&payload, acted) {
                    Ok(value) => reply(&query, &own_key, &value),
                    Err(reason) => refuse(&query, &own_key, &reason),
                });
            })
            .wait()
            .map_err(failed)
    }

    /// Asks `info/<name>` of this robot and returns the first reply, or none if nobody answers within `limit`.
    ///
    /// # Errors
    /// [`NodeError::Reply`] if the reply is an error, longer than 1 MiB or not JSON; [`NodeError::Zenoh`] if the session is
    /// closed.
    pub fn ask(&self, name: &str, limit: Duration) -> Result<Option<Value>, NodeError> {
        self.ask_with(self.keys().info(name)?, None, limit)
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
                return Err(refused(
                    String::from_utf8_lossy(&error.payload().to_bytes()).into_owned(),
                ));
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

/// A query's payload, nothing of one that is too long.
fn bounded(query: &Query) -> Vec<u8> {
    match query.payload() {
        Some(payload) if payload.len() <= MAX_REQUEST_BYTES => match payload.to_bytes() {
            Cow::Borrowed(bytes) => bytes.to_vec(),
            Cow::Owned(bytes) => bytes,
        },
        _ => Vec::new(),
    }
}

fn reply(query: &Query, key: &str, value: &Value) {
    let sent = query
        .reply(key, value.to_string())
        .encoding(Encoding::APPLICATION_JSON)
        .wait();
    if let Err(error) = sent {
        tracing::debug!(key, %error, "reply not sent");
    }
}

fn refuse(query: &Query, key: &str, reason: &str) {
    if let Err(error) = query.reply_err(reason).wait() {
        tracing::debug!(key, %error, "refusal not sent");
    }
}
