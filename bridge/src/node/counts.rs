//! Counts of what arrived at a subscription.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::log_throttle::LogThrottle;

/// How much of an error tells its kind.
const KIND_CHARACTERS: usize = 48;

/// Payloads that arrived at a subscription.
#[derive(Debug, Default)]
pub struct Counts {
    received: AtomicU64,
    malformed: AtomicU64,
    warnings: LogThrottle,
}

impl Counts {
    /// Payloads that decoded.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Payloads that did not decode and were skipped.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a payload that was skipped, and tells of it at counts of 1, 2, 4, 8, ... of its kind: a hostile sender must
    /// not fill the log.
    pub(super) fn count_malformed(&self, key: &str, error: &str) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
        // Sizes and numbers make no kind of their own.
        let kind: String = error
            .chars()
            .filter(|it| !it.is_ascii_digit())
            .take(KIND_CHARACTERS)
            .collect();
        if let Some(count) = self.warnings.count(&kind) {
            tracing::warn!(key, count, error, "malformed payload skipped");
        }
    }
}
