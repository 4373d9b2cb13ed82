//! A bounded queue of received messages that drops the oldest when full, and a bell for whoever waits on several.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::subscriber::Subscription;

/// Messages of one subscription, oldest first. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
    subscription: Subscription,
}

/// Wakes a thread that waits on several inboxes at once; made with them by [`Node::inbox_with_bell`](super::Node).
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Rung>);

#[derive(Debug, Default)]
struct Rung {
    is_rung: Mutex<bool>,
    rang: Condvar,
}

impl Bell {
    /// Blocks until something has arrived at one of the inboxes since the last call, or `limit` has passed. Returns
    /// whether something had.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let waiting = self.lock();
        let waited = self
            .0
            .rang
            .wait_timeout_while(waiting, limit, |is_rung| !*is_rung);
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn ring(&self) {
        *self.lock() = true;
        self.0.rang.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0
            .is_rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What arrived at an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxCounts {
    /// Messages that decoded.
    pub received: u64,
    /// Messages dropped because the queue was full.
    pub dropped: u64,
    /// Payloads that did not decode.
    pub malformed: u64,
}

impl<M> Inbox<M> {
    pub(super) fn new(shared: Arc<Shared<M>>, subscription: Subscription) -> Self {
        Self {
            shared,
            subscription,
        }
    }

    /// The oldest message, if there is one.
    #[must_use]
    pub fn try_next(&self) -> Option<M> {
        self.shared.lock().messages.pop_front()
    }

    /// The oldest message; blocks until there is one or `limit` has passed.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<M> {
        let queue = self.shared.lock();
        let waited = self
            .shared
            .arrived
            .wait_timeout_while(queue, limit, |queue| queue.messages.is_empty());
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .messages
            .pop_front()
    }

    /// The newest message; what was older is discarded without counting as dropped.
    #[must_use]
    pub fn latest(&self) -> Option<M> {
        let mut queue = self.shared.lock();
        let newest = queue.messages.pop_back();
        queue.messages.clear();
        newest
    }

    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> InboxCounts {
        let dropped = self.shared.lock().dropped;
        let counts = self.subscription.counts();
        InboxCounts {
            received: counts.received(),
            dropped,
            malformed: counts.malformed(),
        }
    }
}

#[derive(Debug)]
struct Queue<M> {
    messages: VecDeque<M>,
    dropped: u64,
}

/// The queue as the subscription's callback and the inbox share it.
#[derive(Debug)]
pub(super) struct Shared<M> {
    queue: Mutex<Queue<M>>,
    arrived: Condvar,
    capacity: usize,
}

impl<M> Shared<M> {
    pub(super) fn new(capacity: usize) -> Self {
        let queue = Queue {
            messages: VecDeque::new(),
            dropped: 0,
        };
        Self {
            queue: Mutex::new(queue),
            arrived: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    pub(super) fn push(&self, message: M) {
        let mut queue = self.lock();
        if queue.messages.len() >= self.capacity {
            queue.messages.pop_front();
            queue.dropped += 1;
        }
        queue.messages.push_back(message);
        drop(queue);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
