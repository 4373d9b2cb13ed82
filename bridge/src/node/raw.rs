//! Bytes as they travel, for recorders and replays: nothing is decoded, nothing is encoded again.

use std::sync::Arc;

use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::qos::CongestionControl;
use zenoh::sample::{Sample, SampleKind};

use super::counts::Counts;
use super::publisher::{Channel, Matching};
use super::subscriber::Subscription;
use super::{Node, NodeError};
use crate::wire::{Header, Kind};

/// Topics below `<namespace>/<robot>` that a recorder listens to.
const TOPICS: [&str; 8] = [
    "obs/*", "cmd/*", "plan", "act", "pose", "control", "status", "health",
];

/// Publishes bytes under one key of the robot, waiting on congestion: a replay loses nothing.
#[derive(Debug)]
pub struct RawPublisher {
    inner: zenoh::pubsub::Publisher<'static>,
    matching: Arc<Matching>,
}

impl Node {
    /// Calls `callback(topic, bytes)` with every payload of this robot's or character's observations, commands, plans, actions,
    /// poses, controls, status and health; the topic is the key below `<namespace>/<robot>`. Payloads longer than any message are counted as malformed
    /// and skipped. The callback runs on zenoh's receiving threads: it must be short and must not block.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn subscribe_raw<F>(&self, callback: F) -> Result<Vec<Subscription>, NodeError>
    where
        F: Fn(&str, &[u8]) + Send + Sync + 'static,
    {
        let callback = Arc::new(callback);
        let mut subscriptions = Vec::new();
        for topic in TOPICS {
            let counts = Arc::new(Counts::default());
            let counted = Arc::clone(&counts);
            let callback = Arc::clone(&callback);
            let skipped = self.keys().prefix().len() + 1;
            let key = format!("{}/{topic}", self.keys());
            let inner = self
                .session()
                .declare_subscriber(key.clone())
                .callback(move |sample: Sample| {
                    let payload = sample.payload();
                    if sample.kind() != SampleKind::Put {
                        return;
                    }
                    if payload.len() > Kind::Image.most_bytes() {
                        let (limit, found) = (Kind::Image.most_bytes(), payload.len());
                        let error = format!("expected at most {limit} bytes, found {found}");
                        counted.count_malformed(sample.key_expr().as_str(), &error);
                    } else if let Some(topic) = sample.key_expr().as_str().get(skipped..) {
                        counted.count_received();
                        callback(topic, &payload.to_bytes());
                    }
                })
                .wait()
                .map_err(|source| NodeError::Zenoh {
                    doing: "subscribe to",
                    key,
                    source,
                })?;
            subscriptions.push(Subscription::new(inner, counts));
        }
        Ok(subscriptions)
    }

    /// Declares a publisher of bytes for a topic below `<namespace>/<robot>`, with the priority that messages of the topic
    /// have, or the lowest where the topic is none of the wire's.
    ///
    /// # Errors
    /// [`NodeError`] if the topic is no key or the session is closed.
    pub fn raw_publisher(&self, topic: &str) -> Result<RawPublisher, NodeError> {
        let channel = match topic.split_once('/') {
            Some(("obs", name)) => Some(Channel::Observation(name)),
            Some(("cmd", name)) => Some(Channel::Command(name)),
            None if topic == "act" => Some(Channel::Action),
            None if topic == "plan" => Some(Channel::Plan),
            None if topic == "status" => Some(Channel::Status),
            None if topic == "pose" => Some(Channel::Pose),
            None if topic == "control" => Some(Channel::Control),
            _ => None,
        };
        let (key, encoding) = match channel {
            Some(channel) => (channel.key(self.keys())?, channel.encoding()),
            None => (
                format!("{}/{topic}", self.keys()),
                Encoding::APPLICATION_JSON,
            ),
        };
        let (priority, _, express) = channel.unwrap_or(Channel::Status).quality();
        let failed = |source| NodeError::Zenoh {
            doing: "declare the publisher of",
            key: key.clone(),
            source,
        };
        let inner = self
            .session()
            .declare_publisher(key.clone())
            .encoding(encoding)
            .priority(priority)
            .congestion_control(CongestionControl::Block)
            .express(express)
            .wait()
            .map_err(failed)?;
        let matching = Matching::watch(&inner).map_err(failed)?;
        Ok(RawPublisher { inner, matching })
    }
}

impl RawPublisher {
    /// Sends bytes if anybody subscribes; returns whether they were sent.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn publish(&self, bytes: &[u8]) -> Result<bool, NodeError> {
        if !self.is_matched() {
            return Ok(false);
        }
        let put = self.inner.put(bytes);
        // Observations and pictures share their keys, and say by their header what they are.
        let put = match Header::decode(bytes) {
            Ok(header) if header.kind == Kind::Image => put.encoding(Channel::Image("").encoding()),
            _ => put,
        };
        put.wait().map_err(|source| NodeError::Zenoh {
            doing: "publish",
            key: self.inner.key_expr().to_string(),
            source,
        })?;
        Ok(true)
    }

    /// Whether anybody subscribes now, as far as this session knows.
    #[must_use]
    pub fn is_matched(&self) -> bool {
        self.matching.is_now()
    }
}
