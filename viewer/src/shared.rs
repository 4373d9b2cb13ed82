//! What all connections of a viewer share, and which requests are its own page's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, header};
use tokio::sync::{Semaphore, watch};

use super::{EmergencyStop, Page, ViewerHandle};

/// What every connection is given.
pub(super) struct Shared<P: Page> {
    pub(super) handle: ViewerHandle<P>,
    pub(super) emergency_stop: Option<Arc<dyn EmergencyStop>>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) places: Arc<Semaphore>,
    pub(super) refused: Arc<Refused>,
}

/// What was refused by all pages together.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) inputs: AtomicU64,
    pub(super) sites: AtomicU64,
    pub(super) crowd: AtomicU64,
}

/// Counts one more; the count where it is to be told: 1, 2, 4, 8, ...
pub(super) fn count(counter: &AtomicU64) -> Option<u64> {
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    count.is_power_of_two().then_some(count)
}

impl<P: Page> Clone for Shared<P> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            emergency_stop: self.emergency_stop.clone(),
            stopping: self.stopping.clone(),
            places: Arc::clone(&self.places),
            refused: Arc::clone(&self.refused),
        }
    }
}

impl<P: Page> Shared<P> {
    pub(super) fn emergency_stop(&self) -> Option<&dyn EmergencyStop> {
        self.emergency_stop.as_deref()
    }
}

/// Whether a request comes from the viewer's own page, or from no page at all.
///
/// Browsers always send `Origin` with a WebSocket upgrade; programs need not.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let (Some(host), Some((scheme, authority))) = (text(header::HOST), origin.split_once("://"))
    else {
        return false;
    };
    // The scheme's own port may be written on one side and left out on the other.
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    !host.is_empty() && bare(authority).eq_ignore_ascii_case(&bare(host))
}
