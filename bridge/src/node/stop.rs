//! Emergency stop, and what else a person may ask of a running robot: who asks, what acts, and what is answered.
//!
//! A sample on `cmd/estop` stops, whatever its payload, and so does a query of `srv/estop`, which is answered. The stop is
//! signaled on the thread that receives it, before anything else happens. Whatever sets the robot in motion again (`rearm`,
//! `resume`, `home`) is a query of exactly its own key with a payload that says so, `{"rearm": true}`: neither a stray sample
//! nor an explorer's `**` does.
//!
//! A *keeper* is a queryable on `cmd/estop`: a button, a storage, a safety controller. As long as one replies with a sample,
//! the stop is held: it acts when the keeper is met, and no re-arming is accepted. One that replies with an error is there and
//! holds nothing. Keepers are asked once a second and whenever one appears.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use zenoh::Wait;
use zenoh::query::{ConsolidationMode, Querier, QueryTarget, Queryable};
use zenoh::sample::SampleKind;

use super::service::Addressing;
use super::stop_source::StopSource;
use super::{Node, NodeError};
use crate::keys;
use crate::ros2::StopTopic;

/// Time between two looks for keepers of stops and for other runtimes.
const EVERY: Duration = Duration::from_secs(1);
/// How long a keeper may take to answer.
const KEEPER_LIMIT: Duration = Duration::from_millis(900);
/// How long a runtime that starts looks for another of its name.
const TWIN_LIMIT: Duration = Duration::from_millis(1500);
/// Name of the information that says which runtime serves a robot.
const IDENTITY: &str = "runtime";

/// What may be asked of a robot's runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionRequest {
    /// An emergency stop.
    Stop,
    /// The way out of a stop.
    Rearm,
    /// Come to rest and stay there.
    Pause,
    /// Go on after a pause, or from home.
    Resume,
    /// Go to `control.home` and stay there.
    Home,
}

impl MotionRequest {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Stop,
        Self::Rearm,
        Self::Pause,
        Self::Resume,
        Self::Home,
    ];

    /// Its name, the last part of the key `srv/<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => keys::ESTOP,
            Self::Rearm => keys::REARM,
            Self::Pause => keys::PAUSE,
            Self::Resume => keys::RESUME,
            Self::Home => keys::HOME,
        }
    }

    /// Whether it may set the robot in motion, and so has to be meant.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Self::Rearm | Self::Resume | Self::Home)
    }

    /// The payload that says that it is meant: `{"rearm": true}`.
    #[must_use]
    pub fn payload(self) -> Value {
        json!({ self.name(): true })
    }

    /// Whether a payload says that it is meant: the JSON object of [`MotionRequest::payload`], or the bare word.
    fn is_meant(self, payload: &[u8]) -> bool {
        payload == self.name().as_bytes()
            || serde_json::from_slice::<Value>(payload)
                .is_ok_and(|value| value.get(self.name()) == Some(&Value::Bool(true)))
    }
}

/// What requests call.
pub trait RequestHandler: Send + Sync + 'static {
    /// Stop. Called on zenoh's receiving threads: it must signal and do nothing else.
    fn stop(&self, source: StopSource);

    /// Do what was asked for, if that can be done now; otherwise say why not. Never called for a stop. Called on the thread
    /// that answers queries.
    ///
    /// # Errors
    /// Why it cannot be done, and what to do.
    fn request(&self, request: MotionRequest) -> Result<(), String>;

    /// The state that answers a query, once the request was seen or after a moment in any case. Called on the thread that
    /// answers queries.
    fn state(&self, request: MotionRequest) -> Value;

    /// What keepers of stops said last, and whether another runtime of this name is there. Called once a second.
    fn watch(&self, keepers: KeeperState, twin: bool);
}

/// What keepers of stops say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeeperState {
    /// None answers.
    #[default]
    Absent,
    /// At least one is there, and none holds a stop.
    Released,
    /// A stop is held.
    Held,
}

/// Which runtime serves a robot, as `info/runtime` answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeIdentity {
    /// When it started, in nanoseconds since 1970 by its own clock.
    pub started_ns: u64,
    /// Its session's identifier.
    pub session: String,
}

/// Listens for requests as long as it lives.
#[derive(Debug)]
pub struct StopListener {
    _subscribers: Vec<zenoh::pubsub::Subscriber<()>>,
    _queryables: Vec<Queryable<()>>,
    /// Ends the thread that looks for keepers.
    _watch: Watch,
}

/// Dropped, it ends the thread that looks for keepers and other runtimes.
#[derive(Debug)]
struct Watch {
    wake: Sender<()>,
    ended: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = self.wake.send(());
    }
}

/// Passes stops on as long as it lives.
#[derive(Debug)]
pub struct StopForward {
    _inner: zenoh::pubsub::Subscriber<()>,
}

impl Node {
    /// Listens for requests, and for stops on `topics` of ROS 2 too, asks keepers of stops, and answers as `identity`.
    /// `handler` is called at every request.
    ///
    /// # Errors
    /// zenoh refused a declaration, or there is no thread to be had.
    pub fn listen_for_stops(
        &self,
        handler: Arc<dyn RequestHandler>,
        identity: RuntimeIdentity,
        topics: &[StopTopic],
    ) -> Result<StopListener, NodeError> {
        let key = self.keys().command(keys::ESTOP)?;
        let on_sample = Arc::clone(&handler);
        let subscriber = self
            .session()
            .declare_subscriber(key.clone())
            .callback(move |sample| {
                // Who deletes what a storage keeps asks for no stop, and who writes to every key does not mean this one.
                let is_meant = sample.key_expr().as_str().ends_with("/estop");
                if sample.kind() == SampleKind::Put && is_meant {
                    on_sample.stop(StopSource::Sample);
                }
            })
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "subscribe to",
                key,
                source,
            })?;
        let mut subscribers = vec![subscriber];
        for topic in topics {
            let handler = Arc::clone(&handler);
            subscribers.push(self.subscribe_stops(topic, move || handler.stop(StopSource::Ros2))?);
        }
        let keepers = Arc::new(self.keeper_query()?);
        let mut queryables = MotionRequest::ALL
            .into_iter()
            .map(|request| self.serve_motion_request(request, &handler, &keepers))
            .collect::<Result<Vec<_>, _>>()?;
        let own = json!({ "session": identity.session, "started_ns": identity.started_ns });
        let about = self.keys().info(IDENTITY)?;
        queryables.push(self.declare_service(about, Addressing::Any, move |_| Ok(own.clone()))?);
        let watch = self.watch_others(handler, identity, keepers)?;
        Ok(StopListener {
            _subscribers: subscribers,
            _queryables: queryables,
            _watch: watch,
        })
    }

    /// Passes stops of a topic of ROS 2 on to `cmd/estop`, as long as what it returns lives.
    ///
    /// # Errors
    /// zenoh refused the subscription.
    pub fn forward_stops(&self, topic: &StopTopic) -> Result<StopForward, NodeError> {
        let node = self.for_robot(self.keys().clone())?;
        let inner = self.subscribe_stops(topic, move || {
            // It is asked for again as long as it is meant.
            let _ = node.send_stop();
        })?;
        Ok(StopForward { _inner: inner })
    }

    fn subscribe_stops(
        &self,
        topic: &StopTopic,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<zenoh::pubsub::Subscriber<()>, NodeError> {
        let failed = |source| NodeError::Zenoh {
            doing: "subscribe to",
            key: topic.key().to_owned(),
            source,
        };
        topic.listen(self.session(), stop).map_err(failed)
    }

    /// This session as the runtime of its robot, started at `started_ns` since 1970.
    #[must_use]
    pub fn runtime_identity(&self, started_ns: u64) -> RuntimeIdentity {
        RuntimeIdentity {
            started_ns,
            session: self.session().zid().to_string(),
        }
    }

    /// Another runtime that serves this robot, if one answers in time.
    ///
    /// # Errors
    /// zenoh refused to ask.
    pub fn find_runtime(&self) -> Result<Option<RuntimeIdentity>, NodeError> {
        let own = self.session().zid().to_string();
        Ok(self
            .runtimes(TWIN_LIMIT)?
            .into_iter()
            .find(|other| other.session != own))
    }

    /// Asks a robot's runtime for something and returns the state that it answers with; none if nobody answers within
    /// `limit`.
    ///
    /// # Errors
    /// [`NodeError::Reply`] with the runtime's words where it refuses.
    pub fn request_motion(
        &self,
        request: MotionRequest,
        limit: Duration,
    ) -> Result<Option<Value>, NodeError> {
        self.request(request.name(), &request.payload(), limit)
    }

    /// Sends a sample on `cmd/estop`, which stops whoever hears it.
    ///
    /// # Errors
    /// zenoh refused it.
    pub fn send_stop(&self) -> Result<(), NodeError> {
        let key = self.keys().command(keys::ESTOP)?;
        self.session()
            .put(key.clone(), "stop")
            .priority(zenoh::qos::Priority::RealTime)
            .congestion_control(zenoh::qos::CongestionControl::Block)
            .express(true)
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "publish",
                key,
                source,
            })
    }

    fn serve_motion_request(
        &self,
        request: MotionRequest,
        handler: &Arc<dyn RequestHandler>,
        keepers: &Arc<KeeperQuery>,
    ) -> Result<Queryable<()>, NodeError> {
        let (signal, handler) = (Arc::clone(handler), Arc::clone(handler));
        let keepers = Arc::clone(keepers);
        self.declare_action(
            self.keys().service(request.name())?,
            Addressing::Exact,
            move |_| {
                if request == MotionRequest::Stop {
                    signal.stop(StopSource::Query);
                }
            },
            move |payload, ()| {
                if request != MotionRequest::Stop {
                    if request.moves() && !request.is_meant(payload) {
                        return Err(format!(
                            "expected the payload {}, so that nothing moves by accident; kinestream sends it",
                            request.payload()
                        ));
                    }
                    if request.moves() && keepers.ask(|| ()) == KeeperState::Held {
                        return Err(
                            "a keeper on cmd/estop holds the stop; release it there first".to_owned(),
                        );
                    }
                    handler.request(request)?;
                }
                Ok(handler.state(request))
            },
        )
    }

    /// Asks keepers and other runtimes once a second, and at once when a keeper appears.
    fn watch_others(
        &self,
        handler: Arc<dyn RequestHandler>,
        identity: RuntimeIdentity,
        keepers: Arc<KeeperQuery>,
    ) -> Result<Watch, NodeError> {
        let failed = |source| NodeError::Zenoh {
            doing: "watch",
            key: self.keys().prefix().to_owned(),
            source,
        };
        let (wake, woken) = channel::<()>();
        let appeared = wake.clone();
        keepers
            .querier
            .matching_listener()
            .callback(move |status| {
                if status.matching() {
                    let _ = appeared.send(());
                }
            })
            .background()
            .wait()
            .map_err(failed)?;
        let runtimes = self.for_robot(self.keys().clone())?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let watch = move || {
            while !seen.load(Ordering::SeqCst) {
                let state = keepers.ask(|| handler.stop(StopSource::Keeper));
                let others = runtimes.runtimes(KEEPER_LIMIT).unwrap_or_default();
                // The one that was there first goes on.
                let twin = others
                    .iter()
                    .any(|other| other.session != identity.session && (other < &identity));
                handler.watch(state, twin);
                let _ = woken.recv_timeout(EVERY);
            }
        };
        std::thread::Builder::new()
            .name("stop-keepers".to_owned())
            .spawn(watch)
            .map_err(|error| failed(Box::new(error).into()))?;
        Ok(Watch { wake, ended })
    }

    fn keeper_query(&self) -> Result<KeeperQuery, NodeError> {
        let key = self.keys().command(keys::ESTOP)?;
        let querier = self
            .session()
            .declare_querier(key.clone())
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(KEEPER_LIMIT)
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "declare the querier of",
                key,
                source,
            })?;
        Ok(KeeperQuery { querier })
    }

    /// All runtimes of this robot that answer within `limit`.
    fn runtimes(&self, limit: Duration) -> Result<Vec<RuntimeIdentity>, NodeError> {
        let key = self.keys().info(IDENTITY)?;
        let replies = self
            .session()
            .get(key.clone())
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(limit)
            .wait()
            .map_err(|source| NodeError::Zenoh {
                doing: "ask",
                key,
                source,
            })?;
        let identity = |bytes: &[u8]| {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            Some(RuntimeIdentity {
                started_ns: value.get("started_ns")?.as_u64()?,
                session: value.get("session")?.as_str()?.to_owned(),
            })
        };
        Ok(replies
            .into_iter()
            .filter_map(|reply| identity(&reply.result().ok()?.payload().to_bytes()))
            .collect())
    }
}

/// A question to all keepers of stops.
struct KeeperQuery {
    querier: Querier<'static>,
}

impl KeeperQuery {
    /// What they say now; calls `on_held` as soon as one holds a stop. Waits for their answers for a second at most.
    fn ask(&self, on_held: impl Fn()) -> KeeperState {
        let (mut held, mut there) = (false, false);
        let replies = self.querier.get().wait();
        for reply in replies.into_iter().flatten() {
            match reply.result() {
                Ok(_) => {
                    on_held();
                    held = true;
                }
                // zenoh tells an expired limit as an error reply too.
                Err(error) if error.payload().to_bytes().as_ref() == b"Timeout" => {}
                Err(_) => there = true,
            }
        }
        if held {
            KeeperState::Held
        } else if there {
            KeeperState::Released
        } else {
            KeeperState::Absent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_has_to_be_meant() {
        for request in MotionRequest::ALL {
            let payload = request.payload().to_string();
            assert!(request.is_meant(payload.as_bytes()), "{payload}");
            assert!(request.is_meant(request.name().as_bytes()));
            for other in [
                "",
                "{}",
                "true",
                "{\"rearm\": false}",
                "{\"rearm\": 1}",
                "x",
                "null",
            ] {
                assert!(!request.is_meant(other.as_bytes()), "{other}");
            }
        }
        assert!(MotionRequest::Rearm.moves() && !MotionRequest::Pause.moves());
    }
}
