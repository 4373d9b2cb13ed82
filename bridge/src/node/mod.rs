//! The thin shell around a zenoh session: one [`Node`] per program and robot.
//!
//! Promises: no queue without a bound, no payload is encoded that nobody would receive, a malformed payload is counted and
//! skipped and never ends a subscription. All calls block for a short while at most and need no async runtime; from a
//! tokio task call them inside `spawn_blocking`. Publishers are for an ordinary thread, not for the control loop's own:
//! zenoh allocates and may wait for its transmission queue.

mod client;
mod client_config;
pub(crate) mod counts;
mod exposure;
mod health;
mod inbox;
mod options;
mod presence;
pub(crate) mod publisher;
mod raw;
mod reply;
mod service;
mod stop;
mod stop_source;
pub(crate) mod subscriber;

use zenoh::Wait;
pub use zenoh::liveliness::LivelinessToken;

pub use counts::Counts;
pub use health::HealthPublisher;
pub use inbox::{Inbox, InboxCounts, InboxSender, Notifier, Room};
pub use options::{Mode, SessionOptions, loopback_pair, path_from_file};
pub use presence::Presence;
pub use publisher::{Channel, PublishError, Publisher};
pub use raw::RawPublisher;
pub use service::Service;
pub use stop::{
    KeeperState, MotionRequest, RequestHandler, RuntimeIdentity, StopForward, StopListener,
};
pub use stop_source::StopSource;
pub use subscriber::Subscription;

use crate::keys::{KeyError, Keys};
use reply::ReplyThread;

/// A participant in the traffic of one robot: an open session, the robot's keys and a liveliness token.
/// Dropping it withdraws the token; the session closes with the last node, publisher or subscription that uses it.
#[derive(Debug)]
pub struct Node {
    session: zenoh::Session,
    keys: Keys,
    name: String,
    replies: ReplyThread,
    _token: LivelinessToken,
}

impl Node {
    /// Opens a session and announces this node as `<namespace>/<robot>/alive/<name>`. Reads the machine's network
    /// interfaces, opens sockets, starts zenoh's own threads.
    ///
    /// # Errors
    /// [`NodeError`]: a key that is not valid, a configuration that zenoh refuses, an address already in use.
    pub fn open(options: &SessionOptions, robot: &str, name: &str) -> Result<Self, NodeError> {
        let keys = Keys::new(&options.namespace, robot)?;
        keys.alive(name)?;
        let config = options.to_zenoh()?;
        let session = zenoh::open(config)
            .wait()
            .map_err(|source| NodeError::Open {
                listen: options.listen.clone(),
                connect: options.connect.clone(),
                source,
            })?;
        Self::announce(session, keys, name, ReplyThread::default())
    }

    /// A node for another robot on the same session, with this node's name and its own liveliness token.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if the session is closed.
    pub fn for_robot(&self, keys: Keys) -> Result<Self, NodeError> {
        Self::announce(self.session.clone(), keys, &self.name, self.replies.clone())
    }

    /// The keys of this node's robot.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// This node's own name, the last part of its liveliness token.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zenoh session, for what this shell does not wrap.
    #[must_use]
    pub fn session(&self) -> &zenoh::Session {
        &self.session
    }

    /// Withdraws the liveliness token and closes the session, whoever else uses it.
    ///
    /// # Errors
    /// [`NodeError::Zenoh`] if zenoh fails to close within its own time limit.
    pub fn close(self) -> Result<(), NodeError> {
        self.session
            .close()
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "close the session",
                key: String::new(),
                source,
            })
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.session.is_closed()
    }

    /// Announces a part of this program that may come and go, as `alive/<name>`, as long as the token lives.
    ///
    /// # Errors
    /// A name that is no key, or zenoh refused.
    pub fn announce_part(&self, name: &str) -> Result<LivelinessToken, NodeError> {
        declare_token(&self.session, self.keys.alive(name)?)
    }

    /// The thread that answers the queries of this session.
    fn replies(&self) -> &ReplyThread {
        &self.replies
    }

    fn announce(
        session: zenoh::Session,
        keys: Keys,
        name: &str,
        replies: ReplyThread,
    ) -> Result<Self, NodeError> {
        let token = declare_token(&session, keys.alive(name)?)?;
        Ok(Self {
            session,
            keys,
            name: name.to_owned(),
            replies,
            _token: token,
        })
    }
}

fn declare_token(session: &zenoh::Session, key: String) -> Result<LivelinessToken, NodeError> {
    session
        .liveliness()
        .declare_token(key.clone())
        .wait()
        .map_err(|source| NodeError::Zenoh {
            doing: "declare the liveliness token",
            key,
            source,
        })
}

/// Why a node could not be opened or could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A namespace, robot or name that cannot be part of a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value of [`SessionOptions`] that cannot work.
    #[error("session: {key}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        key: &'static str,
        /// What would do.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The user's zenoh configuration file could not be read.
    #[error("session: config_file {path}: {source}")]
    ConfigFile {
        /// The path given.
        path: String,
        /// What zenoh said.
        source: zenoh::Error,
    },
    /// The session did not open.
    #[error(
        "cannot open the zenoh session (listen {listen:?}, connect {connect:?}): {source}; is the address free and right?"
    )]
    Open {
        /// Addresses to listen on.
        listen: Vec<String>,
        /// Addresses to connect to.
        connect: Vec<String>,
        /// What zenoh said.
        source: zenoh::Error,
    },
    /// Any other failure inside zenoh.
    #[error("zenoh cannot {doing} {key}: {source}")]
    Zenoh {
        /// What was tried.
        doing: &'static str,
        /// The key, where there is one.
        key: String,
        /// What zenoh said.
        source: zenoh::Error,
    },
    /// A reply that is not JSON, or an error sent by the other side.
    #[error("{key}: {reason}")]
    Reply {
        /// The key asked.
        key: String,
        /// What came instead.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
