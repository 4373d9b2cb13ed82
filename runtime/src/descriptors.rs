//! As many open files as this process may have: connections must not use up those that a stop needs.

/// Raises the limit; says so where the system refuses, and goes on.
pub fn raise() {
    if let Err(error) = kinestream_control::raise_descriptor_limit() {
        tracing::warn!("the limit on open files stays as it is: {error}");
    }
}

/// Has connections that say nothing take none of them; to be called when everything listens.
pub fn spare() {
    if let Err(error) = kinestream_control::keep_back_silent_connections() {
        tracing::warn!("silent connections take descriptors: {error}");
    }
}
