//! The stop and other requests of a page, sent over a zenoh session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use kinestream_bridge::Node;
use kinestream_bridge::node::MotionRequest;
use kinestream_viewer::EmergencyStop;

/// How long a request waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Sends the requests of a page on a thread of its own, so that a slow session holds no page. It ends with its last owner.
pub struct SessionStop {
    pending: Arc<Pending>,
    wake: Sender<()>,
}

/// Requests that wait to be sent; more of one kind are one.
#[derive(Default)]
struct Pending {
    stop: AtomicBool,
    rearm: AtomicBool,
    /// Pause, resume or home: the last one counts.
    motion: Mutex<Option<MotionRequest>>,
    /// Why the last request was not granted; none where it was.
    refusal: Mutex<Option<String>>,
}

impl SessionStop {
    /// Stops and re-arms the robot of `node`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(node: Arc<Node>) -> Result<Self> {
        let pending = Arc::new(Pending::default());
        let (wake, woken) = bounded(1);
        let shared = Arc::clone(&pending);
        std::thread::Builder::new()
            .name("page-stop".into())
            .spawn(move || send_requests(&node, &shared, &woken))
            .context("cannot start the thread of the page's stop")?;
        Ok(Self { pending, wake })
    }

    /// Asks for a pause, for going on or for going home; takes the place of what has not been sent. Returns at once.
    pub fn request(&self, request: MotionRequest) {
        *lock(&self.pending.motion) = Some(request);
        self.wake();
    }

    /// Takes back whatever has not been sent but a stop.
    pub(crate) fn withdraw(&self) {
        self.pending.rearm.store(false, Ordering::SeqCst);
        *lock(&self.pending.motion) = None;
    }

    /// Why the last request was not granted; none where it was.
    pub fn refusal(&self) -> Option<String> {
        lock(&self.pending.refusal).clone()
    }

    fn wake(&self) {
        match self.wake.try_send(()) {
            // Full: the thread is about to look anyway.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the thread of the page's stop has ended");
            }
        }
    }
}

impl EmergencyStop for SessionStop {
    fn stop(&self) {
        self.withdraw();
        self.pending.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn rearm(&self) {
        self.pending.rearm.store(true, Ordering::SeqCst);
        self.wake();
    }
}

fn send_requests(node: &Node, pending: &Pending, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        // One waking may stand for several requests; a stop goes before a re-arming.
        loop {
            if pending.stop.swap(false, Ordering::SeqCst) {
                send_stop(node);
            } else if pending.rearm.swap(false, Ordering::SeqCst) {
                *lock(&pending.refusal) = ask(node, MotionRequest::Rearm);
            } else if let Some(request) = take(&pending.motion) {
                *lock(&pending.refusal) = ask(node, request);
            } else {
                break;
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    lock(shared).take()
}

fn send_stop(node: &Node) {
    if let Err(error) = node.send_stop() {
        tracing::error!("the page's stop was not sent: {error}");
    }
}

/// Asks, and returns why it was not granted.
fn ask(node: &Node, request: MotionRequest) -> Option<String> {
    let name = request.name();
    let refusal = match node.request_motion(request, ANSWER_LIMIT) {
        Ok(Some(_)) => {
            tracing::info!("{name} requested on the page");
            return None;
        }
        Ok(None) => format!("{name} was not answered within {ANSWER_LIMIT:?}"),
        Err(error) => format!("{name} was refused: {error}"),
    };
    tracing::warn!("the page: {refusal}");
    Some(refusal)
}
