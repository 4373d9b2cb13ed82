//! Where the executor's weights come from: named tensors, in memory.

use std::borrow::Cow;

use crate::{Error, Result};

/// A tensor of fp32 numbers, row by row.
#[derive(Debug, Clone)]
pub struct NamedTensor<'a> {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, as many as the product of the sizes.
    pub values: Cow<'a, [f32]>,
}

/// Looks up tensors by name.
pub type Weights<'a> = dyn Fn(&str) -> Option<NamedTensor<'a>> + 'a;

/// The tensor of that name and shape.
pub(crate) fn named<'a>(
    weights: &Weights<'a>,
    name: &str,
    shape: &[usize],
) -> Result<Cow<'a, [f32]>> {
    let Some(tensor) = weights(name) else {
        return Err(Error::MissingTensor {
            name: name.into(),
            expected: shape.into(),
        });
    };
    if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
        return Err(Error::WrongShape {
            name: name.into(),
            found: tensor.shape,
            expected: shape.into(),
        });
    }
    Ok(tensor.values)
}
