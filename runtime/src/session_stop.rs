//! The stop of a page, sent over the page's own zenoh session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use kinestream_bridge::Node;
use kinestream_bridge::node::MotionRequest;
use kinestream_viewer::EmergencyStop;

/// How long a re-arming waits for its answer.
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
        // A stop takes back a re-arming that has not been sent.
        self.pending.rearm.store(false, Ordering::SeqCst);
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
                request_rearming(node);
            } else {
                break;
            }
        }
    }
}

fn send_stop(node: &Node) {
    if let Err(error) = node.send_stop() {
        tracing::error!("the page's stop was not sent: {error}");
    }
}

fn request_rearming(node: &Node) {
    match node.request_motion(MotionRequest::Rearm, ANSWER_LIMIT) {
        Ok(Some(_)) => tracing::info!("re-armed from the page"),
        Ok(None) => {
            tracing::warn!("the page's re-arming was not answered within {ANSWER_LIMIT:?}");
        }
        Err(error) => tracing::warn!("the page's re-arming was refused: {error}"),
    }
}
