//! The page of the Push-T demo: table, T, goal, agent, and the plan with its noise.

mod frame;
mod input;

use std::time::Duration;

pub use frame::{Frame, Latency, Plan, Rates, RunState};
pub use input::{Input, MAX_PUSH_SPEED};

use super::Page;
use super::assets::{Asset, CHART, CONNECTION, HEALTH, NODES, PALETTE, RECONNECTING, STYLE, TEXT};

/// The page of the Push-T demo.
#[derive(Debug, Clone, Copy)]
pub struct PushT;

/// The viewer of the Push-T demo.
pub type Viewer = super::Viewer<PushT>;
/// The simulator's side of it.
pub type ViewerHandle = super::ViewerHandle<PushT>;

impl Page for PushT {
    type Introduction = ();
    type Frame = Frame;
    type Input = Input;

    const ASSETS: &'static [Asset] = &[
        Asset::html("/", include_str!("page/index.html")),
        STYLE,
        Asset::css("/viewer.css", include_str!("page/viewer.css")),
        CONNECTION,
        RECONNECTING,
        TEXT,
        CHART,
        PALETTE,
        NODES,
        HEALTH,
        Asset::javascript("/main.js", include_str!("page/main.js")),
        Asset::javascript("/motion.js", include_str!("page/motion.js")),
        Asset::javascript("/scene.js", include_str!("page/scene.js")),
        Asset::javascript("/panel.js", include_str!("page/panel.js")),
        Asset::javascript("/hand.js", include_str!("page/hand.js")),
    ];
    // The page plays frames back slightly late and smoothly: 30 a second are enough.
    const FRAME_PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);
    // Real ones stay under 120.
    const MAX_INPUT_BYTES: usize = 1024;
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinestream_sim::pusht::{AGENT_RADIUS, T_RECTANGLES, TABLE_SIZE};

    #[test]
    fn the_page_draws_the_simulator_s_geometry() {
        let scene = PushT::ASSETS
            .iter()
            .find(|asset| asset.path == "/scene.js")
            .unwrap()
            .text;
        let outline = scene
            .lines()
            .find_map(|line| line.strip_prefix("const OUTLINE = "))
            .unwrap()
            .trim_end_matches(';');
        let outline: Vec<[f64; 2]> = serde_json::from_str(outline).unwrap();
        for corner in T_RECTANGLES.as_flattened() {
            assert!(outline.contains(corner), "{corner:?} in {outline:?}");
        }
        assert_eq!(outline.len(), T_RECTANGLES.as_flattened().len());
        for constant in [
            format!("SIDE = {TABLE_SIZE};"),
            format!("AGENT_RADIUS = {AGENT_RADIUS};"),
        ] {
            assert!(scene.contains(&constant), "{constant}");
        }
    }
}
