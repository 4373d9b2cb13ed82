//! The page's files, compiled in.
//!
//! Promises that every file the page asks for is here: nothing is loaded from elsewhere, and
//! there is no build step.

/// One file of the page.
pub(super) struct Asset {
    /// Path it is served at.
    pub(super) path: &'static str,
    /// Its `Content-Type`.
    pub(super) content_type: &'static str,
    /// Its text.
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// All of them.
pub(super) const ASSETS: [Asset; 9] = [
    Asset {
        path: "/",
        content_type: HTML,
        text: include_str!("page/index.html"),
    },
    Asset {
        path: "/viewer.css",
        content_type: CSS,
        text: include_str!("page/viewer.css"),
    },
    Asset {
        path: "/main.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/main.js"),
    },
    Asset {
        path: "/connection.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/connection.js"),
    },
    Asset {
        path: "/motion.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/motion.js"),
    },
    Asset {
        path: "/scene.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/scene.js"),
    },
    Asset {
        path: "/panel.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/panel.js"),
    },
    Asset {
        path: "/health.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/health.js"),
    },
    Asset {
        path: "/hand.js",
        content_type: JAVASCRIPT,
        text: include_str!("page/hand.js"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusht::{AGENT_RADIUS, T_RECTANGLES, TABLE_SIZE};

    #[test]
    fn the_page_draws_the_simulator_s_geometry() {
        let scene = ASSETS
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

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_every_import_is_served() {
        for asset in &ASSETS {
            for scheme in ["http://", "https://"] {
                let foreign = asset
                    .text
                    .match_indices(scheme)
                    // An XML namespace is a name, not an address.
                    .filter(|(at, _)| !asset.text[*at..].starts_with("http://www.w3.org/"))
                    .count();
                assert_eq!(foreign, 0, "{} names an address", asset.path);
            }
            for import in asset
                .text
                .lines()
                .filter(|line| line.starts_with("import "))
            {
                let name = import.split('"').nth(1).unwrap().trim_start_matches('.');
                assert!(
                    ASSETS.iter().any(|other| other.path == name),
                    "{} imports {name}",
                    asset.path
                );
            }
        }
    }
}
