//! Who is there: the liveliness tokens of one robot's nodes.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zenoh::Wait;
use zenoh::sample::{Sample, SampleKind};

use super::{Node, NodeError};

/// Keeps the set of nodes that are alive; dropping it ends the watch.
#[derive(Debug)]
pub struct Presence {
    _inner: zenoh::pubsub::Subscriber<()>,
    shared: Arc<Shared>,
}

impl Node {
    /// Watches the nodes of this robot, those already there included (this node too).
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn presence(&self) -> Result<Presence, NodeError> {
        self.watch_presence(|_, _| ())
    }

    /// As [`Node::presence`], and calls `on_change(node, alive)` at every change. The callback runs on zenoh's receiving
    /// thread: it must be short and must not block.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn watch_presence<F>(&self, on_change: F) -> Result<Presence, NodeError>
    where
        F: Fn(&str, bool) + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let key = self.keys().alive_all();
        let inner = self
            .session()
            .liveliness()
            .declare_subscriber(key.clone())
            .history(true)
            .callback(move |sample: Sample| {
                let Some((_, name)) = sample.key_expr().as_str().rsplit_once('/') else {
                    return;
                };
                let alive = sample.kind() == SampleKind::Put;
                if watched.set(name, alive) {
                    on_change(name, alive);
                }
            })
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "watch",
                key,
                source,
            })?;
        Ok(Presence {
            _inner: inner,
            shared,
        })
    }
}

impl Presence {
    /// Names of the nodes that are alive, in alphabetical order.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        self.shared.lock().iter().cloned().collect()
    }

    /// Whether the node called `name` is alive.
    #[must_use]
    pub fn is_alive(&self, name: &str) -> bool {
        self.shared.lock().contains(name)
    }

    /// Blocks until `name` is alive (or, with `alive` false, gone) or `limit` has passed; returns whether it came true.
    #[must_use]
    pub fn wait_for(&self, name: &str, alive: bool, limit: Duration) -> bool {
        let names = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(names, limit, |names| names.contains(name) != alive);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .contains(name)
            == alive
    }
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl Shared {
    /// Records a change; false if it was known already.
    fn set(&self, name: &str, alive: bool) -> bool {
        let mut names = self.lock();
        let changed = if alive {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
        drop(names);
        self.changed.notify_all();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
