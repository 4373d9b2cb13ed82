//! Health as JSON on its key: a publisher that waits for nobody, and an inbox of what was sent.

use std::sync::Arc;
use std::time::Duration;

use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::qos::{CongestionControl, Priority};

use super::inbox::{Inbox, Room, Shared};
use super::publisher::Matching;
use super::{Node, NodeError, PublishError};
use crate::health::{Health, HealthError, MAX_HEALTH_BYTES};

/// Publishes [`Health`] with background priority, dropped on congestion. `Send`.
#[derive(Debug)]
pub struct HealthPublisher {
    inner: zenoh::pubsub::Publisher<'static>,
    matching: Arc<Matching>,
}

impl Node {
    /// Declares the publisher of `health`.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn health_publisher(&self) -> Result<HealthPublisher, NodeError> {
        let quality = (Priority::Background, CongestionControl::Drop, false);
        let encoding = Encoding::APPLICATION_JSON.with_schema("kinestream/health");
        let (inner, matching) = self.declare_matched(self.keys().health(), encoding, quality)?;
        Ok(HealthPublisher { inner, matching })
    }

    /// Collects the health of this robot in a queue of `capacity` (at least 1), the oldest dropped and counted when it is
    /// full. What [`Health::from_json`] refuses is counted as malformed.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn health_inbox(&self, capacity: usize) -> Result<Inbox<Health>, NodeError> {
        let shared = Arc::new(Shared::new(Room::of(capacity)));
        let queue = Arc::clone(&shared);
        let subscription = self.subscribe_bytes(
            &self.keys().health(),
            MAX_HEALTH_BYTES,
            move |bytes, counts| {
                let health = Health::from_json(bytes)?;
                counts.count_received();
                queue.push(health, 0);
                Ok::<_, HealthError>(())
            },
        )?;
        Ok(subscription.into_inbox(shared))
    }
}

impl HealthPublisher {
    /// Sends `health` if anybody subscribes; returns whether it was sent.
    ///
    /// # Errors
    /// [`PublishError::Health`] for what a reader would refuse, whether or not anybody subscribes;
    /// [`PublishError::Put`] as a rule because the session is closed.
    pub fn publish(&mut self, health: &Health) -> Result<bool, PublishError> {
        health.check()?;
        if !self.matching.is_now() {
            return Ok(false);
        }
        let text = health.to_json()?;
        self.inner
            .put(text)
            .wait()
            .map_err(|source| PublishError::Put {
                key: self.key().to_owned(),
                source,
            })?;
        Ok(true)
    }

    /// Blocks until somebody subscribes or `limit` has passed; returns whether somebody does.
    #[must_use]
    pub fn wait_until_matched(&self, limit: Duration) -> bool {
        self.matching.wait(limit)
    }

    /// The whole key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.inner.key_expr().as_str()
    }
}
