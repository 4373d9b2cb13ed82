//! What a recorder knows of its losses, as a finished file keeps it: a metadata record of texts.

use std::collections::BTreeMap;

use super::gaps::GapCounts;

/// Name of the record.
pub(super) const METADATA: &str = "kinestream.losses";
/// Messages that the recorder had no room for.
const DROPPED: &str = "dropped";
/// Messages that senders have numbered and that never arrived.
const MISSING: &str = "missing";

/// Totals, and a line for every topic that lacks messages.
pub(super) fn to_map(dropped: u64, gaps: &BTreeMap<String, GapCounts>) -> BTreeMap<String, String> {
    let missing: u64 = gaps.values().map(|counts| counts.missing).sum();
    let totals = [(DROPPED, dropped), (MISSING, missing)];
    let totals = totals.map(|(key, count)| (key.to_owned(), count.to_string()));
    let topics = gaps.iter().map(|(topic, counts)| {
        let text = format!("{} in {} gaps", counts.missing, counts.gaps);
        (format!("{MISSING} {topic}"), text)
    });
    totals.into_iter().chain(topics).collect()
}

/// The messages that the recorder dropped, of a metadata record's body; none where it says something else.
pub(super) fn dropped(body: &[u8]) -> Option<u64> {
    let (name, rest) = text(body)?;
    let (map, _) = text(rest)?;
    if name != METADATA.as_bytes() {
        return None;
    }
    let mut entries = map;
    while let Some((key, rest)) = text(entries) {
        let (value, rest) = text(rest)?;
        if key == DROPPED.as_bytes() {
            return std::str::from_utf8(value).ok()?.parse().ok();
        }
        entries = rest;
    }
    None
}

/// Bytes behind their length, and what follows them.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
