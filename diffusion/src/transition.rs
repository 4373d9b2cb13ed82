//! One denoise step of one position.

/// Where one position is and where a step takes it, as training timesteps (-1 is clean).
///
/// `from == to` leaves the position as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Timestep of the position now.
    pub from: i64,
    /// Timestep after the step.
    pub to: i64,
}
