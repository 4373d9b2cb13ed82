//! A bounded queue of received messages that drops the oldest when full, and a bell for whoever waits on several.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counts::Counts;

/// Messages of one subscription, or of a sender within the program, oldest first. Dropping it ends the subscription.
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
    counts: Arc<Counts>,
    /// The subscription, which ends with its last owner.
    _source: Box<dyn Any + Send + Sync>,
}

impl<M: fmt::Debug> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("shared", &self.shared)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// Fills an inbox from within the program, without a session.
#[derive(Debug)]
pub struct InboxSender<M> {
    shared: Arc<Shared<M>>,
    counts: Arc<Counts>,
    bell: Option<Notifier>,
}

impl<M> InboxSender<M> {
    /// Adds a message that counts as so many bytes, and rings the bell, where there is one. It waits for nothing but the
    /// inbox's owner taking a message out.
    pub fn send(&self, message: M, bytes: usize) {
        self.counts.count_received();
        self.shared.push(message, bytes);
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

/// Wakes a thread that waits on several inboxes at once; made with them by [`Node::inbox_with_bell`](super::Node).
#[derive(Debug, Clone, Default)]
pub struct Notifier(Arc<NotifyState>);

#[derive(Debug, Default)]
struct NotifyState {
    is_rung: Mutex<bool>,
    rang: Condvar,
}

impl Notifier {
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

/// What an inbox has room for. The oldest messages make room for a new one, and are counted as dropped; the newest always
/// finds room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages, at least 1.
    pub messages: usize,
    /// Bytes of their payloads together.
    pub bytes: usize,
}

impl Room {
    /// Room for so many messages of any size.
    #[must_use]
    pub const fn of(messages: usize) -> Self {
        let bytes = usize::MAX;
        Self { messages, bytes }
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
    pub(super) fn new(
        shared: Arc<Shared<M>>,
        counts: Arc<Counts>,
        source: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            shared,
            counts,
            _source: source,
        }
    }

    /// An inbox that is filled from within the program, and what fills it.
    #[must_use]
    pub fn local(room: Room, bell: Option<&Notifier>) -> (InboxSender<M>, Self) {
        let (shared, counts) = (Arc::new(Shared::new(room)), Arc::new(Counts::default()));
        let sender = InboxSender {
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            bell: bell.cloned(),
        };
        (sender, Self::new(shared, counts, Box::new(())))
    }

    /// The oldest message, if there is one.
    #[must_use]
    pub fn try_next(&self) -> Option<M> {
        self.shared.lock().pop()
    }

    /// The oldest message; blocks until there is one or `limit` has passed.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<M> {
        let queue = self.shared.lock();
        let waited = self
            .shared
            .arrived
            .wait_timeout_while(queue, limit, |queue| queue.messages.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop()
    }

    /// The newest message; what was older is discarded without counting as dropped.
    #[must_use]
    pub fn latest(&self) -> Option<M> {
        let mut queue = self.shared.lock();
        let newest = queue.messages.pop_back();
        queue.messages.clear();
        queue.bytes = 0;
        newest.map(|(message, _)| message)
    }

    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> InboxCounts {
        let dropped = self.shared.lock().dropped;
        InboxCounts {
            received: self.counts.received(),
            dropped,
            malformed: self.counts.malformed(),
        }
    }
}

#[derive(Debug)]
struct Queue<M> {
    /// With the bytes of their payloads.
    messages: VecDeque<(M, usize)>,
    /// Of all of them.
    bytes: usize,
    dropped: u64,
}

impl<M> Queue<M> {
    fn pop(&mut self) -> Option<M> {
        let (message, bytes) = self.messages.pop_front()?;
        self.bytes -= bytes;
        Some(message)
    }
}

/// The queue as the subscription's callback and the inbox share it.
#[derive(Debug)]
pub(super) struct Shared<M> {
    queue: Mutex<Queue<M>>,
    arrived: Condvar,
    room: Room,
}

impl<M> Shared<M> {
    pub(super) fn new(room: Room) -> Self {
        let queue = Queue {
            messages: VecDeque::new(),
            bytes: 0,
            dropped: 0,
        };
        Self {
            queue: Mutex::new(queue),
            arrived: Condvar::new(),
            room,
        }
    }

    /// Adds a message whose payload had so many bytes.
    pub(super) fn push(&self, message: M, bytes: usize) {
        let mut queue = self.lock();
        while queue.messages.len() >= self.room.messages.max(1)
            || queue.bytes.saturating_add(bytes) > self.room.bytes
        {
            if queue.pop().is_none() {
                break;
            }
            queue.dropped += 1;
        }
        queue.messages.push_back((message, bytes));
        queue.bytes += bytes;
        drop(queue);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_the_newest_always_finds_it() {
        let room = Room {
            messages: 3,
            bytes: 100,
        };
        let shared = Shared::new(room);
        let push = |message: u32, bytes: usize| {
            shared.push(message, bytes);
            let queue = shared.lock();
            let kept: Vec<u32> = queue.messages.iter().map(|(message, _)| *message).collect();
            (kept, queue.bytes, queue.dropped)
        };
        assert_eq!(push(1, 40), (vec![1], 40, 0));
        assert_eq!(push(2, 40), (vec![1, 2], 80, 0));
        assert_eq!(push(3, 30), (vec![2, 3], 70, 1));
        assert_eq!(push(4, 10), (vec![2, 3, 4], 80, 1));
        assert_eq!(push(5, 1), (vec![3, 4, 5], 41, 2));
        assert_eq!(push(6, 1000), (vec![6], 1000, 5));
        assert_eq!(push(7, 1), (vec![7], 1, 6));
        assert_eq!(shared.lock().pop(), Some(7));
        assert_eq!(shared.lock().pop(), None);
        let none = Shared::new(Room::of(0));
        none.push(1, usize::MAX);
        none.push(2, usize::MAX);
        assert_eq!(none.lock().messages.len(), 1);
    }
}
