//! Residual multilayer perceptrons for any number of rows.
//!
//! h = act(A x), then h = h + act(B norm(h)) for every further layer, then C h, with or without the
//! layer normalisation. A row is computed in the same way whatever stands beside it, to the bit. Nothing
//! is allocated after the weights are packed.

// Hands checked slices to the instruction sets.
#![allow(unsafe_code)]

use std::borrow::Cow;

use crate::arena::Arena;
use crate::isa::{Activation, Advance, Functions, Isa, LANES, LayerNorm};
use crate::product::{Packed, Source};
use crate::unet::Observer;
use crate::weights::{Weights, named};
use crate::{Error, Precision, Result};

/// Rows that are taken through the layers together: enough to read weights from memory once for all of
/// them, and few enough that what lies between two layers stays in the nearest caches.
const TOGETHER: usize = 16;

/// A perceptron, and how it is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct PerceptronConfig {
    /// Numbers of an input.
    pub inputs: usize,
    /// Numbers of an output.
    pub outputs: usize,
    /// Width of the layers.
    pub width: usize,
    /// Layers of that width, at least 1; the output layer follows.
    pub layers: usize,
    /// Whether a layer normalisation stands before every layer but the first and the output.
    pub normalised: bool,
    /// The non-linearity.
    pub activation: Activation,
    /// Number format of the weights.
    pub precision: Precision,
    /// Instruction set; [`Isa::detect`] finds the fastest.
    pub isa: Isa,
}

/// A perceptron with packed weights.
#[derive(Debug)]
pub struct Perceptron {
    config: PerceptronConfig,
    functions: Functions,
    arena: Arena,
    input: Packed,
    hidden: Vec<Hidden>,
    output: Packed,
    rows: Rows,
}

/// A layer behind the first.
#[derive(Debug)]
struct Hidden {
    name: String,
    product: Packed,
    /// Scale and shift of the normalisation before it, padded to whole panels.
    norm: Option<[Vec<f32>; 2]>,
}

/// What lies between the layers, [`TOGETHER`] rows of whole panels each.
#[derive(Debug)]
struct Rows {
    state: Vec<f32>,
    /// The state as the next product takes it, where that is another.
    normalised: Vec<f32>,
    sums: Vec<f32>,
}

impl Perceptron {
    /// Packs weights that are called `input`, `1`, `2`, ... and `output`, each with `.weight` and `.bias`,
    /// and with `.norm.weight` and `.norm.bias` where it is normalised.
    ///
    /// # Errors
    /// A size of 0, a tensor that is missing, of another shape or beyond the precision's range, an
    /// instruction set that is not there, or no memory.
    pub fn new(config: &PerceptronConfig, weights: &Weights<'_>) -> Result<Self> {
        config.check()?;
        let functions = config.isa.functions()?;
        let mut arena = Arena::default();
        let mut linear = |name: &str, outputs, inputs| {
            pack(
                &mut arena,
                &functions,
                config.precision,
                weights,
                (name, [outputs, inputs]),
            )
        };
        let width = config.width;
        let input = linear("input", width, config.inputs)?;
        let length = input.panels() * LANES;
        let hidden = (1..config.layers).map(|layer| {
            let name = layer.to_string();
            let vector = |which: &str| -> Result<Vec<f32>> {
                let name = format!("{name}.norm.{which}");
                let mut values = named(weights, &name, &[width])?.into_owned();
                values.resize(length, 0.0);
                Ok(values)
            };
            Ok(Hidden {
                norm: match config.normalised {
                    true => Some([vector("weight")?, vector("bias")?]),
                    false => None,
                },
                product: linear(&name, width, width)?,
                name,
            })
        });
        let hidden = hidden.collect::<Result<Vec<_>>>()?;
        let output = linear("output", config.outputs, width)?;
        let longest = length.max(output.panels() * LANES);
        let rows = Rows {
            state: vec![0.0; TOGETHER * length],
            normalised: match config.normalised {
                true => vec![0.0; TOGETHER * length],
                false => Vec::new(),
            },
            sums: vec![0.0; TOGETHER * longest],
        };
        Ok(Self {
            config: config.clone(),
            functions,
            arena,
            input,
            hidden,
            output,
            rows,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &PerceptronConfig {
        &self.config
    }

    /// Outputs of inputs, both row by row.
    ///
    /// # Panics
    /// No whole rows, or another number of them.
    pub fn evaluate(&mut self, input: &[f32], output: &mut [f32]) {
        self.run(input, output, None);
    }

    /// As [`Self::evaluate`], showing the state after every layer to `observe`, up to 16 rows at a time:
    /// the layer's name, numbers of a row, and the rows.
    pub fn evaluate_observed(
        &mut self,
        input: &[f32],
        output: &mut [f32],
        observe: &mut Observer<'_>,
    ) {
        self.run(input, output, Some(observe));
    }

    /// Bytes of weights that an evaluation reads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.products().map(Packed::bytes).sum()
    }

    /// Multiplications of a row.
    #[must_use]
    pub fn multiplications(&self) -> usize {
        let PerceptronConfig {
            inputs,
            outputs,
            width,
            layers,
            ..
        } = self.config;
        width * (inputs + (layers - 1) * width + outputs)
    }

    fn products(&self) -> impl Iterator<Item = &Packed> {
        let hidden = self.hidden.iter().map(|layer| &layer.product);
        [&self.input, &self.output].into_iter().chain(hidden)
    }

    fn run(&mut self, input: &[f32], output: &mut [f32], mut observe: Option<&mut Observer<'_>>) {
        let (inputs, outputs) = (self.config.inputs, self.config.outputs);
        assert!(input.len().is_multiple_of(inputs), "input");
        assert_eq!(output.len(), input.len() / inputs * outputs, "output");
        let chunks = input.chunks(TOGETHER * inputs);
        for (input, output) in chunks.zip(output.chunks_mut(TOGETHER * outputs)) {
            self.some(input, output, observe.as_deref_mut());
        }
    }

    /// Up to [`TOGETHER`] rows.
    fn some(&mut self, input: &[f32], output: &mut [f32], mut observe: Option<&mut Observer<'_>>) {
        let Self {
            config,
            functions,
            arena,
            hidden,
            rows,
            ..
        } = self;
        let count = input.len() / config.inputs;
        let length = self.input.panels() * LANES;
        let mut show = |name: &str, width: usize, length: usize, values: &[f32]| {
            if let Some(observe) = &mut observe {
                let rows = values[..count * length].chunks_exact(length);
                let seen: Vec<f32> = rows.flat_map(|row| &row[..width]).copied().collect();
                observe(name, width, &seen);
            }
        };
        self.input.apply_rows(
            functions,
            arena,
            (input, config.inputs),
            count,
            &mut rows.sums,
        );
        rows.advance(functions, config, (count, length), (true, hidden.first()));
        show("input", config.width, length, &rows.state);
        for (index, layer) in hidden.iter().enumerate() {
            let state = match layer.norm {
                Some(_) => &rows.normalised,
                None => &rows.state,
            };
            let product = &layer.product;
            product.apply_rows(functions, arena, (state, length), count, &mut rows.sums);
            let next = hidden.get(index + 1);
            rows.advance(functions, config, (count, length), (false, next));
            show(&layer.name, config.width, length, &rows.state);
        }
        let product = &self.output;
        product.apply_rows(
            functions,
            arena,
            (&rows.state, length),
            count,
            &mut rows.sums,
        );
        let padded = product.panels() * LANES;
        show("output", config.outputs, padded, &rows.sums);
        for (row, sums) in output
            .chunks_exact_mut(config.outputs)
            .zip(rows.sums.chunks_exact(padded))
        {
            row.copy_from_slice(&sums[..config.outputs]);
        }
    }
}

impl Rows {
    /// Takes the sums into the state of `count` rows, and normalises it as the next layer wants it.
    fn advance(
        &mut self,
        functions: &Functions,
        config: &PerceptronConfig,
        (count, length): (usize, usize),
        (begins, next): (bool, Option<&Hidden>),
    ) {
        assert!(count * length <= self.state.len().min(self.sums.len()));
        let norm = next.and_then(|layer| layer.norm.as_ref());
        let norm = norm.map(|[gamma, beta]| {
            assert!(count * length <= self.normalised.len());
            assert!(gamma.len() == length && beta.len() == length);
            LayerNorm {
                gamma: gamma.as_ptr(),
                beta: beta.as_ptr(),
                output: self.normalised.as_mut_ptr(),
            }
        });
        let job = Advance {
            sums: self.sums.as_ptr(),
            state: self.state.as_mut_ptr(),
            begins,
            activation: config.activation,
            rows: count,
            length,
            width: config.width,
            norm,
        };
        // SAFETY: all arrays have that many rows of that length, whole vectors; they are this one's own.
        unsafe { functions.advance(&job) }
    }
}

/// Packs a linear layer, with as many outputs of zeros behind as make whole blocks: a product of several
/// panels at a time does not wait for its own sums.
fn pack(
    arena: &mut Arena,
    functions: &Functions,
    precision: Precision,
    weights: &Weights<'_>,
    (name, [outputs, inputs]): (&str, [usize; 2]),
) -> Result<Packed> {
    let path = format!("{name}.weight");
    let weight: Cow<'_, [f32]> = named(weights, &path, &[outputs, inputs])?;
    let mut bias = named(weights, &format!("{name}.bias"), &[outputs])?.into_owned();
    let panels = match outputs.div_ceil(LANES) {
        few @ 1..=2 => few,
        more => more.next_multiple_of(4),
    };
    bias.resize(panels * LANES, 0.0);
    let source = Source {
        name: &path,
        outputs: panels * LANES,
        inputs,
        taps: 1,
        weight: &|output, input, _| match output < outputs {
            true => weight[output * inputs + input],
            false => 0.0,
        },
        bias: Some(&bias),
    };
    // For one position: weights of one byte are then multiplied as numbers, so that rows stay apart.
    Packed::new(arena, functions, precision, 1, &source)
}

impl PerceptronConfig {
    fn check(&self) -> Result<()> {
        for (key, size) in [
            ("inputs", self.inputs),
            ("outputs", self.outputs),
            ("width", self.width),
            ("layers", self.layers),
        ] {
            if size == 0 {
                return Err(Error::Config {
                    key,
                    found: "0".into(),
                    expected: "at least 1".into(),
                });
            }
        }
        Ok(())
    }
}
