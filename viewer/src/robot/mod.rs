//! The page of `kinestream run`: how a robot's runtime is, its plan, its commands beside their limits, and its cameras.
//!
//! It shows any robot, by the numbers of its observation and action. A person may stop and re-arm
//! ([`EmergencyStop`](super::EmergencyStop)), pause, resume and lead the robot home ([`Input`]).

mod frame;
mod input;

use std::time::Duration;

pub use frame::{
    Command, Frame, Introduction, Picture, Plan, RobotFrame, RobotIntroduction, SafetyFrame,
};
pub use input::{Input, Request};

use super::Page;
use super::assets::{Asset, CHART, CONNECTION, HEALTH, NODES, PALETTE, RECONNECTING, STYLE, TEXT};

/// The page of a running robot.
#[derive(Debug, Clone, Copy)]
pub struct Robot;

/// The viewer of running robots.
pub type Viewer = super::Viewer<Robot>;
/// The runtime's side of it.
pub type ViewerHandle = super::ViewerHandle<Robot>;

impl Page for Robot {
    type Introduction = Introduction;
    type Frame = Frame;
    type Input = Input;

    const ASSETS: &'static [Asset] = &[
        Asset::html("/", include_str!("page/index.html")),
        STYLE,
        Asset::css("/robot.css", include_str!("page/robot.css")),
        CONNECTION,
        RECONNECTING,
        TEXT,
        CHART,
        PALETTE,
        NODES,
        HEALTH,
        Asset::javascript("/main.js", include_str!("page/main.js")),
        Asset::javascript("/actions.js", include_str!("page/actions.js")),
        Asset::javascript("/cameras.js", include_str!("page/cameras.js")),
        Asset::javascript("/safety.js", include_str!("page/safety.js")),
    ];
    // As often as frames are made.
    const FRAME_PERIOD: Duration = Duration::from_millis(90);
    // A robot's name of 256 bytes, escaped, and the request.
    const MAX_INPUT_BYTES: usize = 2048;
}
