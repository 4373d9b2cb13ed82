//! A node of ROS 2 on a zenoh session: publishers and subscriptions that `rmw_zenoh_cpp` peers see in their graph.
//!
//! Promises: no message is encoded that nobody would receive (but for transient local ones, which are kept for those who
//! come later); what is malformed is counted and skipped; callbacks run on zenoh's receiving threads. A peer of ROS 2
//! meets others through a router as a rule (`ros2 run rmw_zenoh_cpp rmw_zenohd`): let the session connect to it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::{CongestionControl, Reliability};
use zenoh_ext::{
    AdvancedPublisher, AdvancedPublisherBuilderExt, AdvancedSubscriber,
    AdvancedSubscriberBuilderExt, CacheConfig, HistoryConfig, MissDetectionConfig, RecoveryConfig,
};

use super::messages::Message;
use super::names::{Attachment, Endpoint, NameError, NodeName, Qos, Topic};
use crate::node::counts::Counts;
use crate::node::publisher::Matching;
use crate::node::subscriber::deliver;

/// How often a reliable transient local publisher says which sample was its last, as `rmw_zenoh_cpp` does.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Numbers nodes and endpoints of this process, so that no two tokens of a session are alike.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// A node of ROS 2. Dropping it takes it out of the graph; its publishers and subscriptions live on.
#[derive(Debug)]
pub struct Ros2Node {
    session: zenoh::Session,
    domain: u32,
    name: NodeName,
    id: u32,
    _token: LivelinessToken,
}

/// Why a node cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Ros2Error {
    /// A name that ROS 2 does not allow.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Best effort for late subscribers.
    #[error(
        "{topic}: transient local and best effort do not go together here; make it reliable, as late subscribers ask for it"
    )]
    Durability {
        /// The topic.
        topic: String,
    },
    /// zenoh refused.
    #[error("zenoh cannot {doing} {key}: {source}")]
    Zenoh {
        /// What was tried.
        doing: &'static str,
        /// The key.
        key: String,
        /// What zenoh said.
        source: zenoh::Error,
    },
}

impl Ros2Node {
    /// Announces a node; `namespace` is empty or such as `/lab`.
    ///
    /// # Errors
    /// [`Ros2Error`]: a name that ROS 2 does not allow, a closed session.
    pub fn declare(
        session: &zenoh::Session,
        domain: u32,
        namespace: &str,
        name: &str,
    ) -> Result<Self, Ros2Error> {
        let id = next_id();
        let name = NodeName::new(domain, &session.zid().to_string(), namespace, name)?;
        Ok(Self {
            _token: declare_token(session, name.token(id))?,
            session: session.clone(),
            domain,
            name,
            id,
        })
    }

    /// Declares a publisher. Relative topics (without a leading `/`) are below the node's namespace.
    ///
    /// # Errors
    /// [`Ros2Error`].
    pub fn publisher<M: Message>(
        &self,
        topic: &str,
        qos: Qos,
    ) -> Result<Ros2Publisher<M>, Ros2Error> {
        let topic = self.topic::<M>(topic, qos)?;
        let key = topic.key();
        let failed = |source| Ros2Error::Zenoh {
            doing: "declare the publisher of",
            key: key.clone(),
            source,
        };
        let builder = self
            .session
            .declare_publisher(key.clone())
            .encoding(Encoding::APPLICATION_CDR)
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .reliability(if qos.reliable {
                Reliability::Reliable
            } else {
                Reliability::BestEffort
            });
        let inner = if qos.transient_local {
            let cache = CacheConfig::default().max_samples(qos.depth.max(1) as usize);
            let heartbeat = MissDetectionConfig::default().sporadic_heartbeat(HEARTBEAT);
            Outlet::Kept(
                builder
                    .cache(cache)
                    .publisher_detection()
                    .sample_miss_detection(heartbeat)
                    .wait()
                    .map_err(failed)?,
            )
        } else {
            let inner = builder.wait().map_err(failed)?;
            let matching = Matching::watch(&inner).map_err(failed)?;
            Outlet::Plain(inner, matching)
        };
        let (token, id) = self.announce(Endpoint::Publisher, &topic, qos)?;
        // The session's identity is random and no other session's; the endpoint's number tells endpoints of it apart.
        let mut gid = self.session.zid().to_le_bytes();
        for (byte, own) in gid.iter_mut().zip(id.to_le_bytes()) {
            *byte ^= own;
        }
        Ok(Ros2Publisher {
            inner,
            gid,
            sequence: 0,
            _token: token,
            kind: PhantomData,
        })
    }

    /// Calls `callback` with every message of a topic. It runs on zenoh's receiving thread: it must be short and must not
    /// block.
    ///
    /// # Errors
    /// [`Ros2Error`].
    pub fn subscribe<M, F>(
        &self,
        topic: &str,
        qos: Qos,
        callback: F,
    ) -> Result<Ros2Subscription, Ros2Error>
    where
        M: Message,
        F: Fn(M) + Send + Sync + 'static,
    {
        let topic = self.topic::<M>(topic, qos)?;
        let key = topic.key();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let take = move |bytes: &[u8], counts: &Counts| {
            let message = M::decode(bytes)?;
            counts.count_received();
            callback(message);
            Ok::<_, super::CdrError>(())
        };
        let failed = |source| Ros2Error::Zenoh {
            doing: "subscribe to",
            key: key.clone(),
            source,
        };
        let builder = self
            .session
            .declare_subscriber(key.clone())
            .callback(move |sample| deliver(&sample, M::MOST_BYTES, &counted, &take));
        let inner = if qos.transient_local {
            let history = HistoryConfig::default()
                .detect_late_publishers()
                .max_samples(qos.depth.max(1) as usize);
            Inlet::Kept {
                _inner: builder
                    .history(history)
                    .subscriber_detection()
                    .recovery(RecoveryConfig::default().heartbeat())
                    .wait()
                    .map_err(failed)?,
            }
        } else {
            Inlet::Plain {
                _inner: builder.wait().map_err(failed)?,
            }
        };
        let (token, _) = self.announce(Endpoint::Subscriber, &topic, qos)?;
        Ok(Ros2Subscription {
            _inner: inner,
            counts,
            _token: token,
        })
    }

    fn topic<M: Message>(&self, topic: &str, qos: Qos) -> Result<Topic, Ros2Error> {
        if qos.transient_local && !qos.reliable {
            return Err(Ros2Error::Durability {
                topic: topic.to_owned(),
            });
        }
        let whole = if topic.starts_with('/') {
            topic.to_owned()
        } else {
            format!("{}/{topic}", self.name.namespace())
        };
        Ok(Topic::new::<M>(self.domain, &whole)?)
    }

    fn announce(
        &self,
        end: Endpoint,
        topic: &Topic,
        qos: Qos,
    ) -> Result<(LivelinessToken, u32), Ros2Error> {
        let id = next_id();
        let token = self.name.endpoint_token(self.id, id, end, topic, qos);
        Ok((declare_token(&self.session, token)?, id))
    }
}

/// Publishes messages of one type on one topic. `Send`.
#[derive(Debug)]
pub struct Ros2Publisher<M> {
    inner: Outlet,
    gid: [u8; 16],
    sequence: i64,
    _token: LivelinessToken,
    kind: PhantomData<fn(M)>,
}

#[derive(Debug)]
enum Outlet {
    Plain(zenoh::pubsub::Publisher<'static>, Arc<Matching>),
    Kept(AdvancedPublisher<'static>),
}

impl<M: Message> Ros2Publisher<M> {
    /// Whether a message would be sent or kept, so that making it is worth while.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        match &self.inner {
            Outlet::Plain(_, matching) => matching.is_now(),
            Outlet::Kept(_) => true,
        }
    }

    /// Sends a message if anybody is to have it; returns whether it was sent or kept. `now_ns` is since the epoch.
    ///
    /// # Errors
    /// [`Ros2Error::Zenoh`], as a rule because the session is closed.
    pub fn publish(&mut self, message: &M, now_ns: u64) -> Result<bool, Ros2Error> {
        if !self.is_wanted() {
            return Ok(false);
        }
        self.sequence += 1;
        let attachment = Attachment {
            sequence: self.sequence,
            sent_ns: i64::try_from(now_ns).unwrap_or(i64::MAX),
            gid: self.gid,
        }
        .encode();
        let payload = message.encode();
        let put = match &self.inner {
            Outlet::Plain(inner, _) => inner.put(payload).attachment(attachment).wait(),
            Outlet::Kept(inner) => inner.put(payload).attachment(attachment).wait(),
        };
        put.map_err(|source| Ros2Error::Zenoh {
            doing: "publish",
            key: match &self.inner {
                Outlet::Plain(inner, _) => inner.key_expr().to_string(),
                Outlet::Kept(inner) => inner.key_expr().to_string(),
            },
            source,
        })?;
        Ok(true)
    }

    /// Messages sent or kept so far.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.sequence.unsigned_abs()
    }
}

/// A running subscription; dropping it ends it.
#[derive(Debug)]
pub struct Ros2Subscription {
    _inner: Inlet,
    counts: Arc<Counts>,
    _token: LivelinessToken,
}

#[derive(Debug)]
enum Inlet {
    Plain {
        _inner: zenoh::pubsub::Subscriber<()>,
    },
    Kept {
        _inner: AdvancedSubscriber<()>,
    },
}

impl Ros2Subscription {
    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

fn next_id() -> u32 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

fn declare_token(session: &zenoh::Session, key: String) -> Result<LivelinessToken, Ros2Error> {
    session
        .liveliness()
        .declare_token(key.clone())
        .wait()
        .map_err(|source| Ros2Error::Zenoh {
            doing: "declare the liveliness token",
            key,
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::messages::{JointState, Text};
    use super::*;
    use crate::node::{Node, loopback_pair};

    const LIMIT: Duration = Duration::from_secs(30);

    fn eventually(condition: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !condition() {
            assert!(begun.elapsed() < LIMIT, "nothing came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn text(data: &str) -> Text {
        Text {
            data: data.to_owned(),
        }
    }

    fn pair() -> (Node, Node) {
        let (listener, connector) = loopback_pair("ros2").unwrap();
        let here = Node::open(&listener, "arm", "here").unwrap();
        let there = Node::open(&connector, "arm", "there").unwrap();
        (here, there)
    }

    #[test]
    fn messages_go_from_node_to_node_and_only_to_their_domain() {
        let (here, there) = pair();
        let talker = Ros2Node::declare(here.session(), 7, "/lab", "talker").unwrap();
        let listener = Ros2Node::declare(there.session(), 7, "", "listener").unwrap();
        let elsewhere = Ros2Node::declare(there.session(), 8, "", "listener").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        let subscription = listener
            .subscribe(
                "/lab/joint_states",
                Qos::default(),
                move |message: JointState| {
                    keep.lock().unwrap().push(message);
                },
            )
            .unwrap();
        let other = elsewhere
            .subscribe::<JointState, _>("/lab/joint_states", Qos::default(), |_| ())
            .unwrap();
        let mut publisher = talker
            .publisher::<JointState>("joint_states", Qos::default())
            .unwrap();
        eventually(|| publisher.is_wanted());
        let sent = JointState {
            name: vec!["elbow".into()],
            position: vec![0.5],
            ..JointState::default()
        };
        assert!(publisher.publish(&sent, 5).unwrap());
        eventually(|| subscription.counts().received() == 1);
        assert_eq!(*heard.lock().unwrap(), [sent]);
        assert_eq!(other.counts().received(), 0);
        assert_eq!(publisher.published(), 1);
        // Somebody's bytes on the same key are counted, and the next message is heard.
        let key = Topic::new::<JointState>(7, "/lab/joint_states")
            .unwrap()
            .key();
        here.session().put(key, "nonsense").wait().unwrap();
        eventually(|| subscription.counts().malformed() == 1);
    }

    #[test]
    fn late_subscribers_get_what_was_kept() {
        let (here, there) = pair();
        let talker = Ros2Node::declare(here.session(), 0, "", "talker").unwrap();
        let kept = Qos {
            transient_local: true,
            depth: 2,
            ..Qos::default()
        };
        let mut publisher = talker.publisher::<Text>("/latched", kept).unwrap();
        for data in ["one", "two", "three"] {
            assert!(publisher.publish(&text(data), 1).unwrap());
        }
        let listener = Ros2Node::declare(there.session(), 0, "", "listener").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        let _subscription = listener
            .subscribe("/latched", kept, move |message: Text| {
                keep.lock().unwrap().push(message.data);
            })
            .unwrap();
        eventually(|| heard.lock().unwrap().len() == 2);
        assert_eq!(*heard.lock().unwrap(), ["two", "three"]);
        publisher.publish(&text("four"), 1).unwrap();
        eventually(|| heard.lock().unwrap().len() == 3);
    }

    #[test]
    fn what_ros_does_not_allow_is_refused() {
        let (here, _there) = pair();
        assert!(Ros2Node::declare(here.session(), 0, "", "a b").is_err());
        let node = Ros2Node::declare(here.session(), 0, "", "node").unwrap();
        let wrong = Qos {
            reliable: false,
            transient_local: true,
            depth: 1,
        };
        let error = node.publisher::<Text>("/a", wrong).unwrap_err();
        assert!(error.to_string().contains("reliable"), "{error}");
        assert!(node.publisher::<Text>("a b", Qos::default()).is_err());
    }
}
