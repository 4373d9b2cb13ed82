//! What repeats is told at its first, second, fourth, eighth, ... time, by kind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Kinds that are counted apart; whoever invents kinds cannot fill the memory with them.
const MOST_KINDS: usize = 64;

/// Says which of many equal warnings are written, so that whoever causes them cannot fill the log. One kind never hides
/// another.
///
/// ```
/// use kinestream_bridge::LogThrottle;
///
/// let warnings = LogThrottle::default();
/// let told = (0..10).filter_map(|_| warnings.count("too long")).collect::<Vec<_>>();
/// assert_eq!(told, [1, 2, 4, 8]);
/// assert_eq!(warnings.count("no number"), Some(1));
/// ```
#[derive(Debug, Default)]
pub struct LogThrottle {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_kind: HashMap<Box<str>, u64>,
    others: u64,
}

impl LogThrottle {
    /// Counts one more of a kind; its count where that is to be told: 1, 2, 4, 8, ... Kinds beyond the first 64 are
    /// counted together. A kind is best a fixed word: a text with numbers in it is a new kind each time.
    ///
    /// Takes a lock that nobody holds while logging or waiting, so any thread may call it.
    #[must_use = "says whether to tell"]
    pub fn count(&self, kind: &str) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut *counts;
        let is_new = counts.by_kind.len() < MOST_KINDS;
        let count = match counts.by_kind.get_mut(kind) {
            Some(count) => count,
            None if is_new => counts.by_kind.entry(kind.into()).or_default(),
            None => &mut counts.others,
        };
        *count += 1;
        count.is_power_of_two().then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart_and_told_ever_less() {
        let warnings = LogThrottle::default();
        let mut told = 0;
        for number in 0..100_000 {
            told += usize::from(warnings.count("NaN").is_some());
            if number % 100 == 0 {
                told += usize::from(warnings.count("length").is_some());
            }
        }
        assert_eq!(told, 17 + 10);
    }

    #[test]
    fn invented_kinds_share_one_count() {
        let warnings = LogThrottle::default();
        let told = (0..10_000).filter(|kind| warnings.count(&kind.to_string()).is_some());
        assert!(told.count() < MOST_KINDS + 15);
        assert!(warnings.counts.lock().unwrap().by_kind.len() <= MOST_KINDS);
        // Who was there before is still counted alone.
        assert_eq!(warnings.count("0"), Some(2));
    }
}
