//! What a live character's motion is worth: how near it keeps to its path, how still its feet are,
//! how smooth it is.

use super::{Controller, FrameSource};
use crate::data::FRAME_RATE;
use crate::metrics::tracking::{Errors, turn_between};
use crate::metrics::{FootSliding, Magnitudes, Sliding, SlidingConfig, Smoothness};
use crate::trajectory::Root;
use crate::{GlobalPose, Result};

/// Collects the frames of a character, one after the other.
#[derive(Debug)]
pub struct Measures {
    sliding: FootSliding,
    smoothness: Smoothness,
    /// Frames in which left heel, left toe, right heel, right toe bear.
    contacts: [u64; 4],
    frames: u64,
    asked: Vec<Root>,
    roots: Vec<Root>,
    global: GlobalPose,
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Distance from the path at the same time while it lasts, root mean square, metres; none
    /// without a path.
    pub path_rmse_m: Option<f64>,
    /// Mean absolute error of the heading on the path, degrees; none without a path.
    pub heading_error_deg: Option<f64>,
    /// How far feet slide that are on the ground.
    pub sliding: Option<Sliding>,
    /// Jerk of all joints, m/s³.
    pub jerk: Option<Magnitudes>,
    /// Share of the frames in which left heel, left toe, right heel, right toe bear.
    pub contacts: [f64; 4],
}

impl Measures {
    /// For a character.
    ///
    /// # Errors
    /// Never for feet of the character.
    pub fn new<S: FrameSource>(character: &Controller<S>) -> Result<Self> {
        let (heights, floor) = (
            character.feet().rest_heights(),
            character.options.foot_lock.floor,
        );
        Ok(Self {
            sliding: FootSliding::new(heights, floor, FRAME_RATE, SlidingConfig::default())?,
            smoothness: Smoothness::new(FRAME_RATE)?,
            contacts: [0; 4],
            frames: 0,
            asked: Vec::new(),
            roots: Vec::new(),
            global: GlobalPose::default(),
        })
    }

    /// The next frame does not follow the last one.
    pub fn begin_run(&mut self) {
        self.sliding.begin_clip();
        self.smoothness.begin_clip();
    }

    /// Takes the newest frame of the character, and where its path wants it.
    pub fn push<S: FrameSource>(&mut self, character: &Controller<S>) {
        let frame = &character.frames[1];
        self.global.clone_from(&frame.placed.global);
        let places = character.feet().positions(&self.global);
        self.sliding.push(&places);
        self.smoothness.push(&frame.placed.pose, &self.global);
        let [left, right] = frame.held;
        for (count, bears) in self
            .contacts
            .iter_mut()
            .zip([left.heel, left.toe, right.heel, right.toe])
        {
            *count += u64::from(bears);
        }
        self.frames += 1;
        if let Some(asked) = character.path_root()
            && !character.is_idle()
        {
            self.asked.push(asked);
            self.roots.push(frame.root);
        }
    }

    /// The figures of all frames so far.
    ///
    /// # Errors
    /// Numbers that are not finite, which no frame holds.
    pub fn figures(&self) -> Result<Figures> {
        let (mut path_rmse_m, mut heading_error_deg) = (None, None);
        if !self.asked.is_empty() {
            let pairs = self.roots.iter().zip(&self.asked);
            let ways = pairs
                .clone()
                .map(|(root, asked)| (root.position - asked.position).norm());
            let turns =
                pairs.map(|(root, asked)| turn_between(asked.heading, root.heading).to_degrees());
            path_rmse_m = Some(Errors::of("path error", ways)?.rmse);
            heading_error_deg = Some(Errors::of("heading error", turns)?.mean);
        }
        Ok(Figures {
            path_rmse_m,
            heading_error_deg,
            sliding: self.sliding.sliding(),
            jerk: self.smoothness.jerk(),
            contacts: self
                .contacts
                .map(|count| count as f64 / self.frames.max(1) as f64),
        })
    }
}
