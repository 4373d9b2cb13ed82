//! Publishers: one per key, each with a buffer that it encodes into again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::qos::{CongestionControl, Priority};

use super::{Node, NodeError};
use crate::health::HealthError;
use crate::keys::{KeyError, Keys};
use crate::wire::{ContentError, Encode, Kind, VERSION};

/// What is published, and so under which key, with which priority, and what happens on congestion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel<'a> {
    /// `obs/<name>`: real-time, express, dropped on congestion.
    Observation(&'a str),
    /// `act`: real-time, express, dropped on congestion.
    Action,
    /// `plan`: interactive-high, express, dropped on congestion.
    Plan,
    /// `status`: background, batched, dropped on congestion.
    Status,
    /// `cmd/<name>`: real-time, express, waits on congestion: a stop must not be lost. It shares the priority of
    /// observations, so that a reset arrives before the observations that the same node sends after it.
    Command(&'a str),
    /// `pose`: as actions.
    Pose,
    /// `control`: as observations.
    Control,
    /// `obs/<name>`: pictures, as observations, so that one arrives before the observation that is sent after it.
    Image(&'a str),
}

impl Channel<'_> {
    /// The kind of message that travels here.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Observation(_) => Kind::Observation,
            Self::Action => Kind::Action,
            Self::Plan => Kind::Plan,
            Self::Status => Kind::Status,
            Self::Command(_) => Kind::Command,
            Self::Pose => Kind::Pose,
            Self::Control => Kind::Control,
            Self::Image(_) => Kind::Image,
        }
    }

    pub(super) fn key(self, keys: &Keys) -> Result<String, KeyError> {
        Ok(match self {
            Self::Observation(name) | Self::Image(name) => keys.observation(name)?,
            Self::Action => keys.action(),
            Self::Plan => keys.plan(),
            Self::Status => keys.status(),
            Self::Command(name) => keys.command(name)?,
            Self::Pose => keys.pose(),
            Self::Control => keys.control(),
        })
    }

    /// zenoh's encoding, with the kind of message as its schema.
    pub(super) fn encoding(self) -> Encoding {
        Encoding::APPLICATION_OCTET_STREAM
            .with_schema(format!("kinestream/{}/{VERSION}", self.kind().name()))
    }

    pub(super) fn quality(self) -> (Priority, CongestionControl, bool) {
        match self {
            Self::Observation(_) | Self::Action | Self::Pose | Self::Control | Self::Image(_) => {
                (Priority::RealTime, CongestionControl::Drop, true)
            }
            Self::Plan => (Priority::InteractiveHigh, CongestionControl::Drop, true),
            Self::Status => (Priority::Background, CongestionControl::Drop, false),
            Self::Command(_) => (Priority::RealTime, CongestionControl::Block, true),
        }
    }
}

/// Publishes one kind of message under one key. `Send`, so that a publisher thread can own it.
#[derive(Debug)]
pub struct Publisher {
    inner: zenoh::pubsub::Publisher<'static>,
    matching: Arc<Matching>,
    kind: Kind,
    buffer: Vec<u8>,
    published: u64,
    skipped: u64,
}

impl Node {
    /// Declares a publisher with the quality of service of its channel.
    ///
    /// # Errors
    /// [`NodeError`] if the channel's name is not valid or the session is closed.
    pub fn publisher(&self, channel: Channel<'_>) -> Result<Publisher, NodeError> {
        let (_, congestion, _) = channel.quality();
        self.declare(channel, congestion)
    }

    /// Declares a publisher that waits on congestion where its channel would drop: for simulators and evaluations in lock
    /// step, where a lost message would stall both sides. Not for anything that runs in real time.
    ///
    /// # Errors
    /// As [`Node::publisher`].
    pub fn lossless_publisher(&self, channel: Channel<'_>) -> Result<Publisher, NodeError> {
        self.declare(channel, CongestionControl::Block)
    }

    fn declare(
        &self,
        channel: Channel<'_>,
        congestion: CongestionControl,
    ) -> Result<Publisher, NodeError> {
        let key = channel.key(self.keys())?;
        let kind = channel.kind();
        let (priority, _, express) = channel.quality();
        let (inner, matching) =
            self.declare_matched(key, channel.encoding(), (priority, congestion, express))?;
        Ok(Publisher {
            inner,
            matching,
            kind,
            buffer: Vec::new(),
            published: 0,
            skipped: 0,
        })
    }

    /// Declares a publisher of zenoh's, and watches whether anybody subscribes.
    pub(super) fn declare_matched(
        &self,
        key: String,
        encoding: Encoding,
        (priority, congestion, express): (Priority, CongestionControl, bool),
    ) -> Result<(zenoh::pubsub::Publisher<'static>, Arc<Matching>), NodeError> {
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
            .congestion_control(congestion)
            .express(express)
            .wait()
            .map_err(failed)?;
        let matching = Matching::watch(&inner).map_err(failed)?;
        Ok((inner, matching))
    }
}

impl Publisher {
    /// Encodes and sends `message` if anybody subscribes; returns whether it was sent. Allocates nothing but what zenoh
    /// itself does, once the buffer has grown to the message's size.
    ///
    /// # Errors
    /// [`PublishError`]: another kind than this channel's, contents that break the format's limits, a closed session.
    pub fn publish<M: Encode>(&mut self, message: &M) -> Result<bool, PublishError> {
        if M::KIND != self.kind {
            return Err(PublishError::Kind {
                expected: self.kind,
                found: M::KIND,
            });
        }
        if !self.is_matched() {
            self.skipped += 1;
            return Ok(false);
        }
        message.encode_into(&mut self.buffer)?;
        self.inner
            .put(self.buffer.as_slice())
            .wait()
            .map_err(|source| PublishError::Put {
                key: self.key().to_owned(),
                source,
            })?;
        self.published += 1;
        Ok(true)
    }

    /// Whether anybody subscribes now, as far as this session knows.
    #[must_use]
    pub fn is_matched(&self) -> bool {
        self.matching.is_now()
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

    /// Messages sent.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Messages not encoded because nobody subscribed.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The publisher's channel carries another kind of message.
    #[error("this publisher carries messages of kind {expected}, found {found}")]
    Kind {
        /// The channel's kind.
        expected: Kind,
        /// The message's kind.
        found: Kind,
    },
    /// The message breaks the format's limits.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Health with a value that a reader would refuse.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// zenoh refused it, as a rule because the session is closed.
    #[error("cannot publish {key}: {source}")]
    Put {
        /// The key.
        key: String,
        /// What zenoh said.
        source: zenoh::Error,
    },
}

/// Whether subscribers are there, kept up to date by zenoh's callback so that asking costs one load.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    now: AtomicBool,
    gate: Mutex<()>,
    changed: Condvar,
}

impl Matching {
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let guard = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(guard, limit, |()| !self.is_now());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.is_now()
    }

    /// Follows a publisher for as long as that lives.
    pub(crate) fn watch(
        publisher: &zenoh::pubsub::Publisher<'static>,
    ) -> Result<Arc<Self>, zenoh::Error> {
        let matching = Arc::new(Self::default());
        let seen = Arc::clone(&matching);
        publisher
            .matching_listener()
            .callback(move |status| seen.set(status.matching()))
            .background()
            .wait()?;
        Ok(matching)
    }

    pub(crate) fn is_now(&self) -> bool {
        self.now.load(Ordering::Acquire)
    }

    fn set(&self, matching: bool) {
        let guard = self.lock();
        self.now.store(matching, Ordering::Release);
        drop(guard);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
