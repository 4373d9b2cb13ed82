//! The wire format: fixed little-endian header, fixed fields of the message's kind, arrays.
//!
//! Promises, for any bytes whatever: decoding never panics; a `View` decode allocates nothing and an owned decode no more
//! than [`MAX_MESSAGE_BYTES`], for an image [`MAX_IMAGE_BYTES`]; what is refused is refused by name ([`DecodeError`]); what encodes also decodes.
//! Each message is one struct, generic over where its arrays live: a `Vec` (owned), a slice (to encode what already lies
//! in memory) or an [`ArrayView`] (decoded in place). The layout stands in docs/WIRE.md.

mod action;
mod array;
mod bits;
mod command;
mod control;
mod error;
mod header;
mod image;
mod message;
mod observation;
mod plan;
mod pose;
mod reader;
mod status;

pub use action::{Action, ActionFlags, ActionSlice, ActionView};
pub use array::{Array, ArrayView, Element, Entry};
pub use command::{Command, Request};
pub use control::{Control, ControlMode, ControlSlice, ControlView, PathPoint};
pub use error::{ContentError, DecodeError};
pub use header::{HEADER_BYTES, Header, Kind, MAGIC, Stamp, VERSION};
pub use image::{Image, ImageEncoding, ImageSlice, MAX_IMAGE_BYTES, MAX_IMAGE_SIDE};
pub use message::Message;
pub use observation::{Name, Observation, ObservationView, Values, ValuesView};
pub use plan::{Plan, PlanSlice, PlanView};
pub use pose::{Contacts, Pose, PoseFlags, PoseSlice, PoseView};
pub use status::{RunState, Status};

/// Most values that one array may hold (an observation's dimensions, or a plan's `horizon * dims`).
pub const MAX_VALUES: usize = 65_536;
/// Most positions that a plan may have.
pub const MAX_HORIZON: usize = 4_096;
/// Most joints that a pose may have.
pub const MAX_JOINTS: usize = 1_024;
/// Most points that the path of a control may have.
pub const MAX_POINTS: usize = 256;
/// Longest message in bytes, but for images: an observation of [`MAX_VALUES`] f64. Longer ones are refused before
/// anything is read.
pub const MAX_MESSAGE_BYTES: usize = HEADER_BYTES + observation::FIXED_BYTES + MAX_VALUES * 8;

/// A message that can be written to the wire.
pub trait Encode {
    /// The kind written into the header.
    const KIND: Kind;

    /// Replaces the contents of `out` by the encoded message. Allocates only where `out` has too little capacity.
    ///
    /// # Errors
    /// [`ContentError`] where a field breaks the format's limits; `out` is then empty.
    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError>;
}

/// A message that can be read from the wire.
pub trait Decode: Sized + 'static {
    /// The kind that the header must name.
    const KIND: Kind;
    /// The message with its arrays left in the received bytes.
    type View<'a>;

    /// Decodes in place, without allocation.
    ///
    /// # Errors
    /// [`DecodeError`] says what was expected and what was found.
    fn view(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError>;

    /// Copies a view into an owned message.
    fn from_view(view: &Self::View<'_>) -> Self;

    /// Decodes into an owned message.
    ///
    /// # Errors
    /// As [`Decode::view`].
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::view(bytes).map(|view| Self::from_view(&view))
    }
}

#[cfg(test)]
mod character_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
