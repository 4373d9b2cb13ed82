//! The page of the motion demo: a character that a person steers, on a floor with a metre grid.
//!
//! The page draws the newest [`Frame`] as it is: it neither interpolates poses nor guesses ahead.
//! Places are metres in a right-handed world with Y up; angles are radians about Y, 0 facing +Z
//! and a quarter turn facing +X.

mod body;
mod frame;
mod input;

use std::time::Duration;

pub use body::{Body, BodyError, BodyPoint};
pub use frame::{Control, Frame, Latency, Mode, Motion, Rates, RunState};
pub use input::{Input, MAX_KNOB, MAX_PATH_POINTS, MAX_SPEED, MIN_PACE};

use super::Page;
use super::assets::{Asset, CHART, CONNECTION, NODES, RECONNECTING, STYLE, TEXT};

/// The page of the motion demo.
#[derive(Debug, Clone, Copy)]
pub struct Character;

/// The viewer of the motion demo.
pub type Viewer = super::Viewer<Character>;
/// The side of whoever moves the character.
pub type ViewerHandle = super::ViewerHandle<Character>;

impl Page for Character {
    type Introduction = Body;
    type Frame = Frame;
    type Input = Input;

    const ASSETS: &'static [Asset] = &[
        Asset::html("/", include_str!("page/index.html")),
        STYLE,
        Asset::css("/character.css", include_str!("page/character.css")),
        CONNECTION,
        RECONNECTING,
        TEXT,
        CHART,
        NODES,
        Asset::javascript("/main.js", include_str!("page/main.js")),
        Asset::javascript("/vectors.js", include_str!("page/vectors.js")),
        Asset::javascript("/camera.js", include_str!("page/camera.js")),
        Asset::javascript("/pointer.js", include_str!("page/pointer.js")),
        Asset::javascript("/steering.js", include_str!("page/steering.js")),
        Asset::javascript("/body.js", include_str!("page/body.js")),
        Asset::javascript("/mesh.js", include_str!("page/mesh.js")),
        Asset::javascript("/marks.js", include_str!("page/marks.js")),
        Asset::javascript("/shaders.js", include_str!("page/shaders.js")),
        Asset::javascript("/renderer.js", include_str!("page/renderer.js")),
        Asset::javascript("/panel.js", include_str!("page/panel.js")),
    ];
    // Twice the rate of poses: the timer's own granularity must not cost one now and then.
    const FRAME_PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 120);
    // A path of MAX_PATH_POINTS points of about 25 bytes.
    const MAX_INPUT_BYTES: usize = 16 * 1024;
}
