//! Browser pages of the demos and of running robots, and the small HTTP server behind them.
//!
//! A viewer shows what it is handed and reports what a person did; it knows neither policy nor
//! physics. It never holds anyone up: [`ViewerHandle::publish`] replaces the latest frame and
//! returns, a slow browser skips frames, and input waits in a bounded queue. The pages are
//! compiled into the program and load nothing from elsewhere, so they work offline and over a
//! forwarded port. What a page consists of is its [`Page`]: [`pusht::PushT`], [`character::Character`] or
//! [`robot::Robot`].
//!
//! | Path                 | Answer                                                                |
//! |----------------------|-----------------------------------------------------------------------|
//! | `/`                  | the page                                                              |
//! | `/healthz`           | `ok`                                                                  |
//! | `/frame.json`        | the latest [`Page::Frame`]; status 503 before the first one           |
//! | `/introduction.json` | the [`Page::Introduction`]; status 503 where there is none            |
//! | `/ws`                | WebSocket, JSON text: introduction and frames out, [`Page::Input`] in |
//! | `/stop`, `/rearm`    | `POST`: emergency stop and its end, where there is an [`EmergencyStop`] |
//!
//! On the WebSocket an introduction is `{"introduction": ...}`, before any frame; frames are bare,
//! `null` before the first one.
//!
//! Whoever reaches the port may watch and take part, unless a [`Token`] is asked for: do so where the
//! address is no loopback one ([`access`]). Pages of other sites are refused by their `Origin`, and where
//! their name was made to point here by the `Host` they ask for ([`hosts`]). Nobody uses the port up
//! ([`listener`]).

pub mod access;
mod assets;
pub mod character;
pub mod hosts;
mod input;
pub mod listener;
pub mod pusht;
pub mod robot;
mod server;
mod shared;
mod stop;

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

pub use access::Token;
pub use assets::Asset;
pub use input::{InputError, PageInput};
pub use stop::EmergencyStop;

/// How many inputs wait for the simulator before the oldest is given up.
///
/// Movements of one kind in a row count once (the newest stays), so a person does not reach this.
pub const INPUT_QUEUE: usize = 64;

/// What a demo's page consists of: its files, what it shows, what a person can do on it.
pub trait Page: Send + Sync + 'static {
    /// What does not change from frame to frame and is told to every page once; `()` if nothing.
    type Introduction: Serialize + Debug + Send + Sync + 'static;
    /// One snapshot of what the page shows.
    type Frame: Serialize + Debug + Send + Sync + 'static;
    /// What a person can do.
    type Input: PageInput;

    /// The page's files; the one at `/` is the page.
    const ASSETS: &'static [Asset];
    /// Least time between two frames to one browser.
    const FRAME_PERIOD: Duration;
    /// Longest message of a page, bytes.
    const MAX_INPUT_BYTES: usize;
}

/// A bound, not yet serving, viewer.
///
/// ```no_run
/// # use kinestream_viewer::{ViewerError, pusht::Viewer};
/// # async fn demo() -> Result<(), ViewerError> {
/// let viewer = Viewer::bind(([127, 0, 0, 1], 8080).into())?;
/// let handle = viewer.handle(); // for the thread that runs the simulator
/// println!("http://{}", viewer.address());
/// viewer.serve(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await
/// # }
/// ```
pub struct Viewer<P: Page> {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Token>,
    emergency_stop: Option<Arc<dyn EmergencyStop>>,
    handle: ViewerHandle<P>,
}

impl<P: Page> Viewer<P> {
    /// Takes the port, so that the address is known and refusals come before anything is started.
    ///
    /// Port 0 lets the system choose one, see [`Viewer::address`]. Connections made before
    /// [`Viewer::serve`] wait for it.
    ///
    /// # Errors
    /// [`ViewerError::PortInUse`], or [`ViewerError::Bind`] for any other refusal of the system.
    pub fn bind(address: SocketAddr) -> Result<Self, ViewerError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ViewerError::PortInUse { address },
            _ => ViewerError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        // The listener is handed to tokio later, which requires this.
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self {
            listener,
            address,
            token: None,
            emergency_stop: None,
            handle: ViewerHandle::new(),
        })
    }

    /// Answers those alone who have the token.
    #[must_use]
    pub fn with_token(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }

    /// Gives the page a stop.
    #[must_use]
    pub fn with_emergency_stop(mut self, stop: Option<Arc<dyn EmergencyStop>>) -> Self {
        self.emergency_stop = stop;
        self
    }

    /// The address in use, with the real port where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for the thread that runs the simulator.
    pub fn handle(&self) -> ViewerHandle<P> {
        self.handle.clone()
    }

    /// Serves until `shutdown` resolves, then closes every page's connection and returns.
    ///
    /// Connections that do not end by themselves are dropped after a second.
    ///
    /// # Errors
    /// [`ViewerError::Serve`] when the listener cannot be used by the runtime.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ViewerError> {
        let address = self.address;
        let (handle, stop) = (self.handle, self.emergency_stop);
        server::serve(self.listener, handle, self.token, stop, shutdown)
            .await
            .map_err(|source| ViewerError::Serve { address, source })
    }
}

impl<P: Page> Debug for Viewer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The simulator's side of a viewer. Clones share one page.
pub struct ViewerHandle<P: Page> {
    shown: Arc<Shown<P>>,
}

struct Shown<P: Page> {
    introduction: watch::Sender<Option<Arc<P::Introduction>>>,
    latest: watch::Sender<Option<Arc<P::Frame>>>,
    inputs: Mutex<VecDeque<P::Input>>,
}

impl<P: Page> Clone for ViewerHandle<P> {
    fn clone(&self) -> Self {
        Self {
            shown: Arc::clone(&self.shown),
        }
    }
}

impl<P: Page> Debug for ViewerHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.inputs().len();
        f.debug_struct("ViewerHandle")
            .field("inputs_waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl<P: Page> ViewerHandle<P> {
    fn new() -> Self {
        Self {
            shown: Arc::new(Shown {
                introduction: watch::Sender::new(None),
                latest: watch::Sender::new(None),
                inputs: Mutex::default(),
            }),
        }
    }

    /// Tells every page, now and when it opens, what does not change from frame to frame.
    ///
    /// To be called before the first frame that needs it.
    pub fn introduce(&self, introduction: P::Introduction) {
        let introduction = Some(Arc::new(introduction));
        self.shown.introduction.send_replace(introduction);
    }

    /// Makes `frame` the latest one. Returns at once, whether or not anybody watches.
    ///
    /// Frames may come at any rate; a browser gets the newest, at most one per
    /// [`Page::FRAME_PERIOD`].
    pub fn publish(&self, frame: P::Frame) {
        self.shown.latest.send_replace(Some(Arc::new(frame)));
    }

    /// The oldest input not taken yet, already checked and clamped; `None` when there is none.
    pub fn try_next_input(&self) -> Option<P::Input> {
        self.inputs().pop_front()
    }

    fn push_input(&self, input: P::Input) {
        let mut inputs = self.inputs();
        if let Some(last) = inputs.back_mut()
            && input.supersedes(last)
        {
            *last = input;
            return;
        }
        if inputs.len() == INPUT_QUEUE {
            inputs.pop_front();
        }
        inputs.push_back(input);
    }

    fn inputs(&self) -> std::sync::MutexGuard<'_, VecDeque<P::Input>> {
        self.shown
            .inputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the viewer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// Another program listens there.
    #[error(
        "viewer: port {} on {} is in use by another program; choose another with --port, or --port 0 for any free one",
        .address.port(),
        .address.ip()
    )]
    PortInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system refused the address for another reason.
    #[error(
        "viewer: cannot listen on {address}: {source}; expected an address of this machine and a port that this user may open (1024 or above), choose one with --port"
    )]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The bound listener failed later.
    #[error("viewer: serving {address} failed: {source}; start the demo again")]
    Serve {
        /// Where it listened.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::pusht::{Input, Viewer, ViewerHandle};
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_remedy() {
        let first = Viewer::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let error = Viewer::bind(first.address()).unwrap_err();
        assert!(matches!(error, ViewerError::PortInUse { .. }));
        let said = error.to_string();
        assert!(
            said.contains(&format!("port {}", first.address().port())),
            "{said}"
        );
        assert!(said.contains("--port"), "{said}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737).
        let error = Viewer::bind(([192, 0, 2, 1], 0).into()).unwrap_err();
        assert!(matches!(error, ViewerError::Bind { .. }), "{error}");
    }

    #[test]
    fn the_input_queue_is_bounded_and_keeps_the_newest() {
        let handle = ViewerHandle::new();
        for seed in 0..INPUT_QUEUE as u32 + 5 {
            handle.push_input(Input::Reset { seed: Some(seed) });
        }
        assert_eq!(
            handle.try_next_input(),
            Some(Input::Reset { seed: Some(5) })
        );
        let rest: Vec<_> = std::iter::from_fn(|| handle.try_next_input()).collect();
        assert_eq!(rest.len(), INPUT_QUEUE - 1);
    }

    #[test]
    fn movements_in_a_row_collapse_into_the_newest() {
        let handle = ViewerHandle::new();
        for x in 0..1000 {
            let x = f64::from(x % 512);
            handle.push_input(Input::DragBlock {
                x,
                y: 0.0,
                angle: 0.0,
            });
        }
        handle.push_input(Input::ReleaseBlock);
        let taken: Vec<_> = std::iter::from_fn(|| handle.try_next_input()).collect();
        assert_eq!(
            taken,
            [
                Input::DragBlock {
                    x: f64::from(999 % 512),
                    y: 0.0,
                    angle: 0.0
                },
                Input::ReleaseBlock
            ]
        );
    }
}
