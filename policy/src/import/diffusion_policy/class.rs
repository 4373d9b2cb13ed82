//! Which policy a Python class is.

/// What denoises, and how its plans are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Diffusion Policy with a U-Net.
    Unet,
    /// Diffusion Policy with a transformer.
    Transformer,
    /// Streaming Diffusion Policy, which its code calls TEDi.
    Streaming,
}

/// The entry for a class, by the last part of its path.
pub(super) fn known<T: Copy>(target: &str, known: &[(&str, T)]) -> Option<T> {
    let name = target.rsplit('.').next();
    known
        .iter()
        .find_map(|(class, value)| (Some(*class) == name).then_some(*value))
}
