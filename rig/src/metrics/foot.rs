//! Foot sliding: how far the feet move over the ground while they are near it.
//!
//! Two measures, over four points (ankle and toe of each foot, in the order of [`crate::foot`]):
//! - **weighted**: the horizontal way from one frame to the next times 2 - 2^(h / H), with h the
//!   height over the point's own height at rest, limited to 0..H, and H = 2.5 cm. So a point counts
//!   in full at its rest height and not at all from H on (H. Zhang, S. Starke, T. Komura, J. Saito,
//!   "Mode-adaptive neural networks for quadruped motion control", 2018). h is the mean of both
//!   frames. The result is in centimetres per point and frame, at the clip's own rate: compare clips
//!   of one rate.
//! - **ratio**: the share of frames in which a point that is near the ground in both of its frames
//!   moves faster over it than a limit (K. Karunratanakul et al., "Guided motion diffusion", 2023:
//!   5 cm and 0.5 m/s, for the toes, at 20 frames per second and smoothed over 5 of them; here at
//!   the given rate, without smoothing, for all four points). Nearness is height alone: contacts
//!   that also ask for a low speed never slide.

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// When a foot is near the ground, and when it slides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlidingConfig {
    /// H of the weight: metres over the height at rest at which sliding no longer counts.
    pub height_scale: f64,
    /// For the ratio: metres over the height at rest below which a point is near the ground.
    pub contact_height: f64,
    /// For the ratio: horizontal speed in m/s above which a point slides.
    pub slide_speed: f64,
}

impl Default for SlidingConfig {
    fn default() -> Self {
        Self {
            height_scale: 0.025,
            contact_height: 0.05,
            slide_speed: 0.5,
        }
    }
}

/// Adds up foot sliding in constant memory. Clips are told apart by [`FootSliding::begin_clip`].
#[derive(Debug, Clone)]
pub struct FootSliding {
    config: SlidingConfig,
    rest_heights: [f64; 4],
    floor: f64,
    frame_rate: f64,
    previous: Option<[Vector3<f64>; 4]>,
    weighted_metres: f64,
    frames: u64,
    sliding_frames: u64,
    near: u64,
    near_sliding: u64,
}

/// What [`FootSliding`] measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sliding {
    /// Mean weighted way of a point from one frame to the next, in centimetres.
    pub weighted_cm_per_frame: f64,
    /// Share of frames in which any point near the ground slides.
    pub ratio: f64,
    /// Of all (point, frame) near the ground, the share that slides; none where no point ever was.
    pub ratio_near_ground: Option<f64>,
    /// Steps from one frame to the next that were measured.
    pub frames: u64,
}

impl FootSliding {
    /// A measure for points with these heights at rest over a floor at a height, at a frame rate.
    ///
    /// # Errors
    /// A limit, the rate or a height that is not finite, or one that must be above 0 and is not.
    pub fn new(
        rest_heights: [f64; 4],
        floor: f64,
        frame_rate: f64,
        config: SlidingConfig,
    ) -> Result<Self> {
        let positive = [
            config.height_scale,
            config.contact_height,
            config.slide_speed,
            frame_rate,
        ];
        if positive
            .iter()
            .any(|value| !(value.is_finite() && *value > 0.0))
            || !rest_heights.iter().all(|height| height.is_finite())
            || !floor.is_finite()
        {
            return Err(Error::Metric {
                metric: "foot sliding",
                reason: format!(
                    "scale, heights, speed and frame rate must be finite and above 0, found {config:?} at \
                     {frame_rate} frames per second over a floor at {floor} m"
                ),
            });
        }
        Ok(Self {
            config,
            rest_heights,
            floor,
            frame_rate,
            previous: None,
            weighted_metres: 0.0,
            frames: 0,
            sliding_frames: 0,
            near: 0,
            near_sliding: 0,
        })
    }

    /// The next frame does not follow the last one.
    pub fn begin_clip(&mut self) {
        self.previous = None;
    }

    /// The four points in the next frame, and their mean weighted way to it in centimetres; none
    /// for the first frame of a clip. A frame that is not finite is left out.
    pub fn push(&mut self, points: &[Vector3<f64>; 4]) -> Option<f64> {
        if !points
            .iter()
            .flat_map(|point| point.iter())
            .all(|value| value.is_finite())
        {
            self.previous = None;
            return None;
        }
        let previous = self.previous.replace(*points)?;
        let (mut slides, mut weighted) = (false, 0.0);
        for ((before, after), rest) in previous.iter().zip(points).zip(self.rest_heights) {
            let way = (after - before).xz().norm();
            let heights = [before, after].map(|point| point.y - self.floor - rest);
            let height = (heights[0] + heights[1]) / 2.0;
            weighted += way * weight(height, self.config.height_scale);
            if heights
                .iter()
                .all(|height| *height < self.config.contact_height)
            {
                self.near += 1;
                if way * self.frame_rate > self.config.slide_speed {
                    self.near_sliding += 1;
                    slides = true;
                }
            }
        }
        self.weighted_metres += weighted;
        self.frames += 1;
        self.sliding_frames += u64::from(slides);
        Some(100.0 * weighted / 4.0)
    }

    /// The figures so far; none before two frames of one clip.
    pub fn sliding(&self) -> Option<Sliding> {
        let frames = self.frames as f64;
        (self.frames > 0).then(|| Sliding {
            weighted_cm_per_frame: 100.0 * self.weighted_metres / (4.0 * frames),
            ratio: self.sliding_frames as f64 / frames,
            ratio_near_ground: (self.near > 0).then(|| self.near_sliding as f64 / self.near as f64),
            frames: self.frames,
        })
    }
}

/// 2 - 2^(h / H) with h limited to 0..H: 1 at the height of rest and below, 0 from H on.
fn weight(height: f64, scale: f64) -> f64 {
    2.0 - (height / scale).clamp(0.0, 1.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: [f64; 4] = [0.08, 0.02, 0.08, 0.02];

    fn measure(frames: impl IntoIterator<Item = [Vector3<f64>; 4]>) -> Sliding {
        let mut sliding = FootSliding::new(REST, 0.0, 30.0, SlidingConfig::default()).unwrap();
        frames.into_iter().for_each(|points| {
            sliding.push(&points);
        });
        sliding.sliding().unwrap()
    }

    /// All four points at a height over rest, moving along X.
    fn moving(height: f64, step: f64) -> impl Iterator<Item = [Vector3<f64>; 4]> {
        (0..31).map(move |frame| {
            REST.map(|rest| Vector3::new(step * f64::from(frame), rest + height, 0.3))
        })
    }

    #[test]
    fn the_weight_falls_from_one_to_zero() {
        assert_eq!(weight(-0.01, 0.025), 1.0);
        assert_eq!(weight(0.0, 0.025), 1.0);
        assert!((weight(0.0125, 0.025) - (2.0 - 2.0_f64.sqrt())).abs() < 1e-15);
        assert_eq!(weight(0.025, 0.025), 0.0);
        assert_eq!(weight(0.5, 0.025), 0.0);
    }

    #[test]
    fn feet_on_the_ground_count_in_full() {
        // 1 cm per frame at 30 frames per second is 0.3 m/s: below the limit of the ratio.
        let slow = measure(moving(0.0, 0.01));
        assert!((slow.weighted_cm_per_frame - 1.0).abs() < 1e-9, "{slow:?}");
        assert_eq!(
            (slow.ratio, slow.ratio_near_ground, slow.frames),
            (0.0, Some(0.0), 30)
        );
        let fast = measure(moving(0.0, 0.02));
        assert!((fast.weighted_cm_per_frame - 2.0).abs() < 1e-9);
        assert_eq!((fast.ratio, fast.ratio_near_ground), (1.0, Some(1.0)));
    }

    #[test]
    fn feet_in_the_air_and_feet_that_stand_do_not_count() {
        let air = measure(moving(0.2, 0.05));
        assert_eq!(
            (air.weighted_cm_per_frame, air.ratio, air.ratio_near_ground),
            (0.0, 0.0, None)
        );
        let standing = measure(moving(0.0, 0.0));
        assert_eq!((standing.weighted_cm_per_frame, standing.ratio), (0.0, 0.0));
    }

    #[test]
    fn one_of_four_points_is_a_quarter_of_the_mean_and_all_of_the_frames() {
        let sliding = measure((0..11).map(|frame| {
            let mut points = REST.map(|rest| Vector3::new(0.0, rest, 0.0));
            points[3].z = 0.02 * f64::from(frame);
            points
        }));
        assert!((sliding.weighted_cm_per_frame - 0.5).abs() < 1e-9);
        assert_eq!(
            (sliding.ratio, sliding.ratio_near_ground),
            (1.0, Some(0.25))
        );
    }

    #[test]
    fn clips_are_told_apart_and_nan_is_left_out() {
        let mut sliding = FootSliding::new(REST, 0.0, 30.0, SlidingConfig::default()).unwrap();
        let at = |x: f64| REST.map(|rest| Vector3::new(x, rest, 0.0));
        sliding.push(&at(0.0));
        assert!(sliding.sliding().is_none());
        sliding.begin_clip();
        sliding.push(&at(5.0));
        sliding.push(&at(f64::NAN));
        sliding.push(&at(9.0));
        assert!(sliding.sliding().is_none());
        sliding.push(&at(9.0));
        let measured = sliding.sliding().unwrap();
        assert_eq!((measured.weighted_cm_per_frame, measured.frames), (0.0, 1));
        assert!(FootSliding::new(REST, 0.0, f64::NAN, SlidingConfig::default()).is_err());
    }
}
