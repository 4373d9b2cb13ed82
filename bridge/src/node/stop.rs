//! Emergency stop: who asks for it, and how it is left.
//!
//! Any sample on `cmd/estop` stops, whatever its payload, and so does a query of `srv/estop`, which is answered. Only a
//! query of `srv/rearm` re-arms: a stray sample cannot. When a runtime starts, it asks once on `cmd/estop`, so that a stop
//! that is kept there (by a button's queryable or a storage) is not missed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zenoh::Wait;
use zenoh::query::Queryable;

use super::{Node, NodeError};

/// What an emergency stop calls, from zenoh's threads: neither request may wait.
pub trait StopHandler: Send + Sync + 'static {
    /// Stop.
    fn stop(&self);

    /// Leave the stop.
    fn rearm(&self);

    /// The state that answers a query, once the request was seen or after a moment in any case.
    fn state(&self, request: StopRequest) -> Value;
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// An emergency stop.
    Stop,
    /// The way out of it.
    Rearm,
}

/// Listens for emergency stops as long as it lives.
#[derive(Debug)]
pub struct StopListener {
    _subscriber: zenoh::pubsub::Subscriber<()>,
    _queryables: [Queryable<()>; 2],
}

impl Node {
    /// Listens for emergency stops and asks for one that is kept.
    ///
    /// # Errors
    /// zenoh refused a declaration.
    pub fn listen_for_stops(
        &self,
        handler: Arc<dyn StopHandler>,
    ) -> Result<StopListener, NodeError> {
        let key = self.keys().command("estop")?;
        let failed = |doing: &'static str, key: &str| {
            let key = key.to_owned();
            move |source| NodeError::Zenoh { doing, key, source }
        };
        let on_sample = Arc::clone(&handler);
        let subscriber = self
            .session()
            .declare_subscriber(key.clone())
            .callback(move |_| on_sample.stop())
            .wait()
            .map_err(failed("subscribe to", &key))?;
        let kept = Arc::clone(&handler);
        self.session()
            .get(key.clone())
            .timeout(KEPT_WITHIN)
            .callback(move |reply| {
                if reply.result().is_ok() {
                    kept.stop();
                }
            })
            .wait()
            .map_err(failed("ask", &key))?;
        let queryables = [
            self.act_on_query("estop", StopRequest::Stop, Arc::clone(&handler))?,
            self.act_on_query("rearm", StopRequest::Rearm, handler)?,
        ];
        Ok(StopListener {
            _subscriber: subscriber,
            _queryables: queryables,
        })
    }

    /// Calls a service of the robot's runtime; none if nobody answers within `limit`.
    ///
    /// # Errors
    /// A name that is no key, or a reply that is no JSON.
    pub fn call(&self, name: &str, limit: Duration) -> Result<Option<Value>, NodeError> {
        self.ask_key(self.keys().service(name)?, limit)
    }

    /// Sends a sample on `cmd/estop`, for runtimes that do not answer.
    ///
    /// # Errors
    /// zenoh refused it.
    pub fn send_stop(&self) -> Result<(), NodeError> {
        let key = self.keys().command("estop")?;
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

    fn act_on_query(
        &self,
        name: &str,
        request: StopRequest,
        handler: Arc<dyn StopHandler>,
    ) -> Result<Queryable<()>, NodeError> {
        self.serve_key(self.keys().service(name)?, move |_| {
            match request {
                StopRequest::Stop => handler.stop(),
                StopRequest::Rearm => handler.rearm(),
            }
            handler.state(request)
        })
    }
}

/// How long a runtime that starts listens for stops that are kept.
const KEPT_WITHIN: Duration = Duration::from_secs(5);
