//! Sets of flags: one bit each in a `u32`. Bits without a name pass through, so that later versions may add some.

/// Declares a set of flags: a `u32` with named bits.
macro_rules! bits {
    ($(#[$about:meta])* $name:ident { $($(#[$bit_about:meta])* $bit:ident = $value:expr,)* }) => {
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            $($(#[$bit_about])* pub const $bit: Self = Self($value);)*

            /// Whether all bits of `other` are set.
            #[must_use]
            pub fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Both sets of bits.
            #[must_use]
            pub fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

pub(super) use bits;
