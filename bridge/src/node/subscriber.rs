//! Subscriptions: decoded messages go to a callback or into a bounded [`Inbox`]; what does not decode is counted.

use std::fmt::Display;
use std::sync::Arc;

use zenoh::Wait;
use zenoh::sample::{Sample, SampleKind};

use super::counts::Counts;
use super::inbox::{Inbox, Notifier, Room, Shared};
use super::{Node, NodeError};
use crate::wire::{Decode, DecodeError};

/// A running subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    _inner: zenoh::pubsub::Subscriber<()>,
    counts: Arc<Counts>,
}

impl Subscription {
    pub(super) fn new(inner: zenoh::pubsub::Subscriber<()>, counts: Arc<Counts>) -> Self {
        Self {
            _inner: inner,
            counts,
        }
    }

    /// The inbox of a subscription that fills `shared`.
    pub(super) fn into_inbox<M>(self, shared: Arc<Shared<M>>) -> Inbox<M> {
        Inbox::new(shared, Arc::clone(&self.counts), Box::new(self))
    }

    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Node {
    /// Calls `callback` with every message of kind `M` under `key` (a whole key, as [`Keys`](crate::Keys) makes them, or a
    /// key expression), decoded in place. The callback runs on zenoh's receiving thread, one message after another per
    /// link: it must be short and must not block.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if `key` is not a key expression or the session is closed.
    pub fn subscribe<M, F>(&self, key: &str, callback: F) -> Result<Subscription, NodeError>
    where
        M: Decode,
        F: for<'a> Fn(M::View<'a>) + Send + Sync + 'static,
    {
        self.subscribe_bytes(key, M::KIND.most_bytes(), move |bytes, counts| {
            let view = M::view(bytes)?;
            counts.count_received();
            callback(view);
            Ok::<_, DecodeError>(())
        })
    }

    /// Calls `take` with every payload of at most `limit` bytes; what it refuses is counted as malformed, what it takes it
    /// counts itself, before it hands it on.
    pub(super) fn subscribe_bytes<E, F>(
        &self,
        key: &str,
        limit: usize,
        take: F,
    ) -> Result<Subscription, NodeError>
    where
        E: Display,
        F: Fn(&[u8], &Counts) -> Result<(), E> + Send + Sync + 'static,
    {
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let inner = self
            .session()
            .declare_subscriber(key.to_owned())
            .callback(move |sample| deliver(&sample, limit, &counted, &take))
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "subscribe to",
                key: key.to_owned(),
                source,
            })?;
        Ok(Subscription::new(inner, counts))
    }

    /// Collects messages of kind `M` under `key` in a queue of `capacity` (at least 1). When it is full the oldest is
    /// dropped and counted: capacity 1 keeps the latest message only.
    ///
    /// # Errors
    /// As [`Node::subscribe`].
    pub fn inbox<M: Decode + Send>(
        &self,
        key: &str,
        capacity: usize,
    ) -> Result<Inbox<M>, NodeError> {
        self.inbox_of::<M, M, _>(key, Room::of(capacity), None, |view| M::from_view(&view))
    }

    /// As [`Node::inbox`], and every message rings the bell.
    ///
    /// # Errors
    /// As [`Node::subscribe`].
    pub fn inbox_with_bell<M: Decode + Send>(
        &self,
        key: &str,
        capacity: usize,
        bell: &Notifier,
    ) -> Result<Inbox<M>, NodeError> {
        self.inbox_of::<M, M, _>(key, Room::of(capacity), Some(bell), |view| {
            M::from_view(&view)
        })
    }

    /// Collects what `take` makes of messages of kind `M`, where they arrive: it runs on zenoh's receiving thread, as the
    /// callback of [`Node::subscribe`] does, whatever the inbox's owner does meanwhile. What it makes counts as large as the
    /// message. Every message rings the bell, where there is one.
    ///
    /// # Errors
    /// As [`Node::subscribe`].
    pub fn inbox_of<M, T, F>(
        &self,
        key: &str,
        room: Room,
        bell: Option<&Notifier>,
        take: F,
    ) -> Result<Inbox<T>, NodeError>
    where
        M: Decode,
        T: Send + 'static,
        F: for<'a> Fn(M::View<'a>) -> T + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared::new(room));
        let (queue, bell) = (Arc::clone(&shared), bell.cloned());
        let limit = M::KIND.most_bytes();
        let subscription = self.subscribe_bytes(key, limit, move |bytes, counts| {
            let view = M::view(bytes)?;
            counts.count_received();
            queue.push(take(view), bytes.len());
            if let Some(bell) = &bell {
                bell.ring();
            }
            Ok::<_, DecodeError>(())
        })?;
        Ok(subscription.into_inbox(shared))
    }
}

/// Hands a payload of at most `limit` bytes to `take`, and counts and logs what that refuses.
pub(crate) fn deliver<E: Display>(
    sample: &Sample,
    limit: usize,
    counts: &Counts,
    take: &impl Fn(&[u8], &Counts) -> Result<(), E>,
) {
    if sample.kind() != SampleKind::Put {
        return;
    }
    let payload = sample.payload();
    // Checked before `to_bytes`, which copies a payload that arrived in fragments.
    let outcome = if payload.len() > limit {
        let found = payload.len();
        Err(format!("expected at most {limit} bytes, found {found}"))
    } else {
        take(&payload.to_bytes(), counts).map_err(|error| error.to_string())
    };
    if let Err(error) = outcome {
        counts.count_malformed(sample.key_expr().as_str(), &error);
    }
}
