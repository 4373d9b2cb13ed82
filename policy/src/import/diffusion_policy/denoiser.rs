//! Which denoiser a `cfg` describes. Policies of one vector name its class under `policy.model`; those
//! with cameras keep its sizes under `policy` itself, with other defaults.

use kinestream_diffusion::NetworkConfig;
use kinestream_diffusion::network::architectures::transformer::TransformerNetwork;
use kinestream_diffusion::network::{Activation, TransformerConfig, UNetConfig, UNetKind};

use super::class::{Class, known};
use super::observed::Encoder;
use crate::import::fields::Fields;

/// Groups of the group normalisation of the U-Net's last block, whatever `n_groups` says.
const LAST_GROUPS: i64 = 8;

/// Where the sizes stand.
fn root(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::None => "policy.model",
        _ => "policy",
    }
}

/// The class of the network, where it is named.
fn class(fields: &mut Fields<'_>, encoder: Encoder, expected: &str) {
    let path = "policy.model._target_";
    let target = fields.text(path).unwrap_or_default();
    if encoder == Encoder::None && known(target, &[(expected, ())]).is_none() {
        fields.unexpected(path, expected);
    }
}

/// The U-Net; `local_observation_steps` of them are told to positions of their own.
pub(super) fn unet(
    fields: &mut Fields<'_>,
    kind: Class,
    encoder: Encoder,
    local_observation_steps: Option<usize>,
) -> NetworkConfig {
    class(fields, encoder, "ConditionalUnet1D");
    let at = |key: &str| format!("{}.{key}", root(encoder));
    let path = at("n_groups");
    let groups = fields.optional(&path, "a number", LAST_GROUPS);
    if groups != LAST_GROUPS {
        fields.unexpected(&path, "8, which the last block of the U-Net always has");
    }
    let (kernel, scale) = match encoder {
        Encoder::None => (3, false),
        _ => (5, true),
    };
    let kind = match kind {
        Class::Streaming => UNetKind::StreamingDiffusionPolicy,
        Class::Unet | Class::Transformer => UNetKind::DiffusionPolicy,
    };
    let sizes = UNetConfig {
        channels: fields.optional(&at("down_dims"), "a list of numbers", vec![256, 512, 1024]),
        level_embedding: fields.optional(&at("diffusion_step_embed_dim"), "a number", 256),
        // Not used by these kinds of network.
        observation_embedding: 256,
        kernel_size: fields.optional(&at("kernel_size"), "a number", kernel),
        groups,
        activation: Activation::Mish,
        modulation_scale: fields.optional(&at("cond_predict_scale"), "true or false", scale),
        local_observation_steps: local_observation_steps.map(|steps| steps as i64),
    };
    NetworkConfig::unet(kind, sizes)
}

/// The transformer.
pub(super) fn transformer(
    fields: &mut Fields<'_>,
    encoder: Encoder,
    observation_steps: usize,
) -> NetworkConfig {
    class(fields, encoder, "TransformerForDiffusion");
    let at = |key: &str| format!("{}.{key}", root(encoder));
    let path = at("time_as_cond");
    if !fields.optional(&path, "true or false", true) {
        fields.unexpected(&path, "true: the variant without a memory cannot be run");
    }
    let ([layers, heads, width], causal) = match encoder {
        Encoder::None => ([12, 12, 768], false),
        _ => ([8, 4, 256], true),
    };
    let mut size = |key: &str, default| fields.optional(&at(key), "a number", default);
    let transformer = TransformerConfig {
        observation_steps: observation_steps as i64,
        layers: size("n_layer", layers),
        memory_layers: size("n_cond_layers", 0),
        heads: size("n_head", heads),
        width: size("n_emb", width),
        causal: fields.optional(&at("causal_attn"), "true or false", causal),
    };
    TransformerNetwork { transformer }.into()
}
