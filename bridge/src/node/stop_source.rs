//! By which way an emergency stop came, for those who are told of it.

/// The way by which a stop came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSource {
    /// A sample on `cmd/estop`.
    Sample,
    /// A query of `srv/estop`.
    Query,
    /// A keeper that holds a stop.
    Keeper,
    /// A topic of ROS 2.
    Ros2,
    /// `kinestream stop` on the same machine, past the session.
    Socket,
    /// The runtime's own page.
    Page,
}

impl StopSource {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Sample,
        Self::Query,
        Self::Keeper,
        Self::Ros2,
        Self::Socket,
        Self::Page,
    ];

    /// In words, as in "stopped by ...".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Sample => "a sample on cmd/estop",
            Self::Query => "a query of srv/estop",
            Self::Keeper => "a keeper on cmd/estop, which holds the stop",
            Self::Ros2 => "the stop topic of ROS 2",
            Self::Socket => "kinestream stop on this machine",
            Self::Page => "the page",
        }
    }
}
