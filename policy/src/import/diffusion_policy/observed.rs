//! What a policy observes: one vector, or the cameras and numbers of its `shape_meta`; and how its
//! encoders see the images.
//!
//! Two encoders occur. That of robomimic gives every camera a network of its own and keeps the order
//! of `shape_meta`; `MultiImageObsEncoder` puts the cameras first, by their names, then the numbers.

use kinestream_diffusion::network::vision::{Backbone, BackboneNorm, Pool, VisionConfig};
use serde_json::Value as Json;

use crate::checkpoint::VISION_PREFIX;
use crate::config::ImageSize;
use crate::import::fields::Fields;

/// Mean and standard deviation of the colours of ImageNet, as torchvision has them.
pub(super) const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// Height and width that robomimic's encoder crops to where `crop_shape` is not said.
const DEFAULT_CROP: [usize; 2] = [76, 76];

/// How observations become a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoder {
    /// They are one vector.
    None,
    /// robomimic's encoder of observations, with a ResNet-18, 32 keypoints and a projection to 64.
    Robomimic,
    /// `MultiImageObsEncoder`, with a residual network of torchvision and its mean.
    MultiImage,
}

/// What is observed at a time, in the order of the condition.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) parts: Vec<Part>,
    encoder: Encoder,
    pub(super) vision: Option<VisionConfig>,
    /// Whether normalised colours are normalised once more, as those of ImageNet.
    pub(super) as_imagenet: bool,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name, also in the normaliser.
    pub(super) key: String,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Numbers(usize),
    Image(ImageSize),
}

impl Observed {
    /// What `cfg` says; `order` is that of the keys of `policy.shape_meta.obs`.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        encoder: Encoder,
        order: &[String],
        assumed: &mut Vec<String>,
    ) -> Self {
        if encoder == Encoder::None {
            let size = fields.required("policy.obs_dim", "a number");
            return Self {
                parts: vec![Part {
                    key: "obs".into(),
                    shape: Shape::Numbers(size),
                }],
                encoder,
                vision: None,
                as_imagenet: false,
            };
        }
        let mut parts = parts(fields, order);
        let vision = match encoder {
            Encoder::MultiImage => {
                let is_image = |part: &Part| matches!(part.shape, Shape::Image(_));
                parts.sort_by(|one, other| {
                    (is_image(other), &one.key).cmp(&(is_image(one), &other.key))
                });
                multi_image(fields, assumed)
            }
            _ => robomimic(fields, assumed),
        };
        let as_imagenet = encoder == Encoder::MultiImage
            && fields.optional("policy.obs_encoder.imagenet_norm", "true or false", false);
        let mut observed = Self {
            parts,
            encoder,
            vision: Some(vision),
            as_imagenet,
        };
        if observed.cameras().next().is_none() {
            observed.vision = None;
            fields.problem(
                "`cfg.policy.shape_meta.obs` has no entry of type rgb, expected one at least",
            );
        }
        observed
    }

    /// Numbers of an observation, without its images.
    pub(super) fn numbers(&self) -> usize {
        let sizes = self.parts.iter().map(|part| match part.shape {
            Shape::Numbers(size) => size,
            Shape::Image(_) => 0,
        });
        sizes.sum()
    }

    /// Keys of the images, in the order of the condition.
    pub(super) fn cameras(&self) -> impl Iterator<Item = &str> {
        let images = self.parts.iter();
        images
            .filter(|part| matches!(part.shape, Shape::Image(_)))
            .map(|part| part.key.as_str())
    }

    /// What the file calls a parameter of the image encoders; none for those of the denoiser.
    pub(super) fn name_in_file(&self, name: &str) -> Option<String> {
        let (index, inside) = name.strip_prefix(VISION_PREFIX)?.split_once('.')?;
        let (module, inside) = inside.split_once('.')?;
        // An encoder that all share is called after what it sees.
        let separate = self.vision.as_ref().is_some_and(|vision| vision.separate);
        let key = match separate {
            true => self.cameras().nth(index.parse().ok()?)?,
            false => "rgb",
        };
        Some(match self.encoder {
            Encoder::Robomimic => {
                let inside = match module {
                    "backbone" => format!("0.nets.{inside}"),
                    "pool" => format!("1.{inside}"),
                    _ => format!("3.{inside}"),
                };
                format!("obs_encoder.obs_nets.{key}.nets.{inside}")
            }
            _ => {
                let (layer, inside) = inside.split_once('.')?;
                let layer = match layer.parse::<usize>().ok()? {
                    0 => "conv1".to_owned(),
                    1 => "bn1".to_owned(),
                    stage => format!("layer{}", stage.checked_sub(3)?),
                };
                format!("obs_encoder.key_model_map.{key}.{layer}.{inside}")
            }
        })
    }
}

/// Whether a tensor of the encoders is kept twice, follows from the configuration or counts steps.
pub(super) fn is_derived(name: &str) -> bool {
    let Some(name) = name.strip_prefix("obs_encoder.") else {
        return false;
    };
    let twice = name.strip_prefix("obs_nets.").and_then(|name| {
        let (_, inside) = name.split_once('.')?;
        Some(inside.starts_with("backbone.") || inside.starts_with("pool."))
    });
    let ends = [
        "_dummy_variable",
        ".num_batches_tracked",
        ".pos_x",
        ".pos_y",
    ];
    twice == Some(true) || ends.iter().any(|end| name.ends_with(end))
}

/// Whether a tensor is the temperature of a spatial softmax, which has to be 1.
pub(super) fn is_temperature(name: &str) -> bool {
    name.starts_with("obs_encoder.") && name.ends_with(".temperature")
}

fn parts(fields: &mut Fields<'_>, order: &[String]) -> Vec<Part> {
    if order.is_empty() {
        fields.unexpected("policy.shape_meta.obs", "what is observed, with shapes");
    }
    let mut parts = Vec::new();
    for key in order {
        let path = format!("policy.shape_meta.obs.{key}");
        let kind = fields.named(
            &format!("{path}.type"),
            &[("low_dim", false), ("rgb", true)],
            "low_dim",
        );
        let expected = if kind {
            "[3, height, width]"
        } else {
            "[numbers]"
        };
        let path = format!("{path}.shape");
        let shape: Vec<usize> = fields.required(&path, expected);
        let shape = match (kind, &shape[..]) {
            (true, &[3, height, width]) => Shape::Image(ImageSize { height, width }),
            (false, &[size]) => Shape::Numbers(size),
            (_, []) => continue,
            _ => {
                fields.unexpected(&path, expected);
                continue;
            }
        };
        let key = key.clone();
        parts.push(Part { key, shape });
    }
    parts
}

fn robomimic(fields: &mut Fields<'_>, assumed: &mut Vec<String>) -> VisionConfig {
    let crop = match fields.is_null("policy.crop_shape") {
        true => None,
        false => Some(fields.optional("policy.crop_shape", "height and width", DEFAULT_CROP)),
    };
    let fixed = fields.optional("policy.eval_fixed_crop", "true or false", false);
    if crop.is_some() && !fixed {
        assumed.push(
            "images are cut in the middle; cfg.policy.eval_fixed_crop is false, and robomimic 0.2 then cut \
             them somewhere"
                .into(),
        );
    }
    let grouped = fields.optional("policy.obs_encoder_group_norm", "true or false", false);
    VisionConfig {
        backbone: Backbone::Resnet18,
        width: 64,
        stages: 4,
        norm: norm(grouped),
        resize: None,
        antialias: true,
        crop,
        pool: Pool::SpatialSoftmax { keypoints: 32 },
        projection: Some(64),
        separate: true,
    }
}

fn multi_image(fields: &mut Fields<'_>, assumed: &mut Vec<String>) -> VisionConfig {
    let at = |key: &str| format!("policy.obs_encoder.{key}");
    let sides = "height and width, the same for all images";
    let resize: Option<[usize; 2]> = fields.optional(&at("resize_shape"), sides, None);
    if resize.is_some() {
        assumed
            .push("images are scaled without antialiasing, as torchvision did before 0.17".into());
    }
    let crop: Option<[usize; 2]> = fields.optional(&at("crop_shape"), sides, None);
    // Without it the released code forgets the crop.
    let cuts = fields.optional(&at("random_crop"), "true or false", true);
    let shared = fields.optional(&at("share_rgb_model"), "true or false", false);
    let grouped = fields.optional(&at("use_group_norm"), "true or false", false);
    let backbone = fields.named(
        &at("rgb_model.name"),
        &[
            ("resnet18", Backbone::Resnet18),
            ("resnet34", Backbone::Resnet34),
        ],
        "",
    );
    VisionConfig {
        backbone,
        width: 64,
        stages: 4,
        // A network that all share keeps the normalisation that it came with.
        norm: norm(grouped && !shared),
        resize,
        antialias: false,
        crop: crop.filter(|_| cuts),
        pool: Pool::Average,
        projection: None,
        separate: !shared,
    }
}

fn norm(grouped: bool) -> BackboneNorm {
    match grouped {
        true => BackboneNorm::Group,
        false => BackboneNorm::Batch,
    }
}

/// The numbers per action: `shape_meta` where there are images.
pub(super) fn action(fields: &mut Fields<'_>, encoder: Encoder) -> usize {
    if encoder == Encoder::None {
        return fields.required("policy.action_dim", "a number");
    }
    let path = "policy.shape_meta.action.shape";
    let shape = fields.find(path).and_then(Json::as_array);
    match shape.map(Vec::as_slice) {
        Some([size]) if size.is_u64() => size.as_u64().unwrap_or_default() as usize,
        _ => {
            fields.unexpected(path, "[numbers]");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(encoder: Encoder, policy: Json, order: &[&str]) -> (Observed, Vec<String>) {
        let cfg = json!({ "policy": policy });
        let mut fields = Fields::new(&cfg, "cfg");
        let order: Vec<String> = order.iter().map(|key| (*key).to_owned()).collect();
        let found = Observed::read(&mut fields, encoder, &order, &mut Vec::new());
        (found, fields.finish())
    }

    fn shape_meta() -> Json {
        json!({"obs": {
            "wrist": {"shape": [3, 84, 84], "type": "rgb"},
            "arm": {"shape": [7]},
            "front": {"shape": [3, 96, 96], "type": "rgb"},
        }})
    }

    fn keys(observed: &Observed) -> Vec<&str> {
        observed
            .parts
            .iter()
            .map(|part| part.key.as_str())
            .collect()
    }

    #[test]
    fn robomimic_keeps_the_order_and_has_an_encoder_for_every_camera() {
        let policy =
            json!({"shape_meta": shape_meta(), "obs_encoder_group_norm": true, "crop_shape": null});
        let (found, problems) = observed(Encoder::Robomimic, policy, &["wrist", "arm", "front"]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(keys(&found), ["wrist", "arm", "front"]);
        let vision = found.vision.as_ref().unwrap();
        assert_eq!((vision.crop, vision.norm), (None, BackboneNorm::Group));
        let name = |name| found.name_in_file(name);
        let expected = "obs_encoder.obs_nets.front.nets.0.nets.4.0.conv1.weight";
        assert_eq!(
            name("vision.1.backbone.4.0.conv1.weight").unwrap(),
            expected
        );
        let expected = "obs_encoder.obs_nets.wrist.nets.1.nets.bias";
        assert_eq!(name("vision.0.pool.nets.bias").unwrap(), expected);
        let expected = "obs_encoder.obs_nets.wrist.nets.3.bias";
        assert_eq!(name("vision.0.out.bias").unwrap(), expected);
        assert_eq!(name("final_conv.1.bias"), None);
    }

    #[test]
    fn multi_image_sorts_and_cuts_where_it_crops_at_random_alone() {
        let policy = |random: bool, shared: bool| {
            json!({"shape_meta": shape_meta(), "obs_encoder": {
                "rgb_model": {"name": "resnet34"}, "crop_shape": [76, 76], "random_crop": random,
                "share_rgb_model": shared, "use_group_norm": true, "imagenet_norm": true
            }})
        };
        let order = ["wrist", "arm", "front"];
        let (found, problems) = observed(Encoder::MultiImage, policy(true, false), &order);
        assert!(problems.is_empty() && found.as_imagenet, "{problems:?}");
        assert_eq!(keys(&found), ["front", "wrist", "arm"]);
        let expected = "obs_encoder.key_model_map.wrist.layer3.1.bn2.running_mean";
        let name = "vision.1.backbone.6.1.bn2.running_mean";
        assert_eq!(found.name_in_file(name).unwrap(), expected);
        let vision = found.vision.unwrap();
        assert_eq!(
            (vision.crop, vision.norm),
            (Some([76, 76]), BackboneNorm::Group)
        );
        let (found, _) = observed(Encoder::MultiImage, policy(false, true), &order);
        let expected = "obs_encoder.key_model_map.rgb.conv1.weight";
        assert_eq!(
            found.name_in_file("vision.0.backbone.0.weight").unwrap(),
            expected
        );
        let vision = found.vision.unwrap();
        assert_eq!((vision.crop, vision.norm), (None, BackboneNorm::Batch));
    }

    #[test]
    fn shapes_that_cannot_be_are_named() {
        let policy = json!({
            "shape_meta": {"obs": {
                "depth": {"shape": [1, 84, 84], "type": "rgb"},
                "cloud": {"shape": [3], "type": "points"},
                "table": {"shape": [2, 2]},
            }},
            "crop_shape": "all",
        });
        let (_, problems) = observed(Encoder::Robomimic, policy, &["depth", "cloud", "table"]);
        let all = problems.join("; ");
        for part in [
            "obs.depth.shape` is [1,84,84], expected [3, height, width]",
            "obs.cloud.type` is \"points\", expected low_dim or rgb",
            "obs.table.shape` is [2,2], expected [numbers]",
            "no entry of type rgb",
            "crop_shape` is \"all\", expected height and width",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let (_, problems) = observed(Encoder::MultiImage, json!({}), &[]);
        let all = problems.join("; ");
        assert!(
            all.contains("`cfg.policy.shape_meta.obs` is missing"),
            "{all}"
        );
        assert!(
            all.contains("rgb_model.name` is missing, expected resnet18 or"),
            "{all}"
        );
    }

    #[test]
    fn what_is_kept_twice_is_known() {
        for name in [
            "obs_encoder.obs_nets.image.backbone.nets.0.weight",
            "obs_encoder.obs_nets.image.pool.nets.bias",
            "obs_encoder.obs_nets.image.nets.1.pos_x",
            "obs_encoder._dummy_variable",
            "obs_encoder.key_model_map.rgb.bn1.num_batches_tracked",
        ] {
            assert!(is_derived(name), "{name}");
        }
        assert!(!is_derived(
            "obs_encoder.obs_nets.image.nets.0.nets.0.weight"
        ));
        assert!(!is_derived("model.mask"));
        assert!(is_temperature(
            "obs_encoder.obs_nets.image.nets.1.temperature"
        ));
    }
}
