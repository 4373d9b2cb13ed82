//! Fixed-rate command loop: latest-plan hand-off, interpolation, timing
