//! Small sets and models for tests.

#![allow(
    clippy::unwrap_used,
    reason = "fixtures of tests, here and in motion/evaluation"
)]

use nalgebra::{UnitQuaternion, Vector3};
use tch::{Device, Tensor};

use super::{ClipConfig, Emdm, EmdmConfig, Label, Labels, spans};
use crate::character::{self, Bone, HIPS_HEIGHT};
use crate::data::{FRAME_RATE, MotionSet};
use crate::embedding::{EmbeddingConfig, Statistics};
use crate::{Clip, Pose};

/// Legs that swing at a pace and hips that go along, `frames` of them.
pub fn swinging(frames: usize, pace: f64, speed: f64) -> Clip {
    let skeleton = character::skeleton();
    let poses = (0..frames).map(|frame| {
        let mut rotations = vec![UnitQuaternion::identity(); skeleton.len()];
        let swing = 0.4 * (pace * frame as f64).sin();
        let about = |angle| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
        rotations[Bone::LeftUpLeg.index()] = about(swing);
        rotations[Bone::RightUpLeg.index()] = about(-swing);
        let root = Vector3::new(0.0, HIPS_HEIGHT, speed * frame as f64);
        Pose { root, rotations }
    });
    Clip {
        frames: poses.collect(),
        frame_rate: FRAME_RATE,
        skeleton: skeleton.clone(),
    }
}

/// One clip that goes on and one that shows something which happens once.
pub fn set() -> MotionSet {
    MotionSet::of([
        ("a/walk".to_owned(), swinging(90, 0.2, 0.03)),
        ("a/kick".to_owned(), swinging(40, 0.5, 0.0)),
    ])
    .unwrap()
}

/// Their labels.
pub fn labels() -> Labels {
    let label = |name: &str, whole| Label {
        name: name.into(),
        words: vec![],
        clips: vec![format!("a/{name}")],
        whole,
        mirrored: None,
    };
    Labels::new(vec![label("walk", false), label("kick", true)]).unwrap()
}

/// A model that was never trained; without a latent it is one of plain diffusion.
pub fn model(latent: i64) -> Emdm {
    let set = set();
    let config = EmdmConfig {
        embedding: EmbeddingConfig {
            latent: 4,
            width: 16,
            ..EmbeddingConfig::default()
        },
        clips: ClipConfig {
            patch: 4,
            longest: 40,
            width: 16,
            layers: 2,
            heads: 2,
            refinement: 8,
            latent,
            ..ClipConfig::default()
        },
    };
    let rows = Tensor::from_slice(&set.rows).view([set.len() as i64, -1]);
    let statistics = Statistics::of(&rows, set.layout, 4).unwrap();
    let labels = labels();
    let spans = spans(&set, &labels, 4, 40).unwrap();
    let mut model = Emdm::new(&config, statistics, labels, spans, Device::Cpu, 1).unwrap();
    model.embedding.store_mut().freeze();
    model
}
