//! What the page shows of a character, alive or recorded: its body from its skeleton, its points
//! from its poses.

use anyhow::{Context, Result};
use kinestream_bridge::SkeletonInfo;
use kinestream_motion::{Joint, Pose, Skeleton};
use kinestream_viewer::character::{Body, BodyPoint};
use nalgebra::Vector3;

/// A skeleton as the page draws it: joints, then ends.
#[derive(Debug)]
pub struct SkeletonView {
    skeleton: Skeleton,
    contacts: [usize; 4],
}

impl SkeletonView {
    /// From what a character says of itself.
    pub fn new(info: &SkeletonInfo) -> Result<Self> {
        let joints = info.joints.iter().map(|joint| Joint {
            name: joint.name.clone(),
            parent: joint.parent,
            offset: Vector3::from(joint.offset),
        });
        let ends = info
            .ends
            .iter()
            .map(|end| (end.joint, Vector3::from(end.offset)));
        Ok(Self {
            skeleton: Skeleton::new(joints.collect(), ends.collect())?,
            contacts: info.contacts.unwrap_or_default(),
        })
    }

    /// The joints and their places.
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// Number of rotations that a pose must have.
    pub fn joints(&self) -> usize {
        self.skeleton.len()
    }

    /// What the page is told once.
    pub fn body(&self) -> Result<Body> {
        let joints = self.skeleton.joints().iter().map(|joint| BodyPoint {
            name: Some(joint.name.clone()),
            parent: joint.parent,
        });
        let ends = self.skeleton.ends().iter().map(|(joint, _)| BodyPoint {
            name: None,
            parent: Some(*joint),
        });
        Body::new(joints.chain(ends).collect(), self.contacts)
            .context("the skeleton cannot be shown")
    }

    /// Where a pose puts the body's points. It must have as many rotations as there are joints.
    pub fn points(&self, pose: &Pose) -> Vec<[f64; 3]> {
        let global = self.skeleton.forward(pose);
        let ends =
            self.skeleton.ends().iter().map(|(joint, offset)| {
                global.positions[*joint] + global.rotations[*joint] * offset
            });
        global
            .positions
            .iter()
            .copied()
            .chain(ends)
            .map(|place| [place.x, place.y, place.z])
            .collect()
    }
}
