//! As many open files as this process may have: connections must not use up those that a stop needs.

/// Raises the limit; says so where the system refuses, and goes on.
pub(crate) fn raise() {
    if let Err(error) = kinestream_control::raise_descriptor_limit() {
        tracing::warn!("the limit on open files stays as it is: {error}");
    }
}
