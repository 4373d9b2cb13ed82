//! The pages' files, compiled in, and those that all pages share.
//!
//! Promises that every file a page asks for is there: nothing is loaded from elsewhere, and
//! there is no build step.

/// One file of a page.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Path it is served at.
    pub(super) path: &'static str,
    /// Its `Content-Type`.
    pub(super) content_type: &'static str,
    /// Its text.
    pub(super) text: &'static str,
}

impl Asset {
    pub(super) const fn html(path: &'static str, text: &'static str) -> Self {
        Self {
            path,
            content_type: "text/html; charset=utf-8",
            text,
        }
    }

    pub(super) const fn css(path: &'static str, text: &'static str) -> Self {
        Self {
            path,
            content_type: "text/css; charset=utf-8",
            text,
        }
    }

    pub(super) const fn javascript(path: &'static str, text: &'static str) -> Self {
        Self {
            path,
            content_type: "text/javascript; charset=utf-8",
            text,
        }
    }
}

/// Colours, type, header, buttons and lists of numbers.
pub(super) const STYLE: Asset = Asset::css("/style.css", include_str!("common/style.css"));
/// The WebSocket to the program.
pub(super) const CONNECTION: Asset =
    Asset::javascript("/connection.js", include_str!("common/connection.js"));
/// What opens it again, of the JavaScript client.
pub(super) const RECONNECTING: Asset = Asset::javascript(
    "/reconnecting.js",
    include_str!("../../clients/javascript/reconnecting.js"),
);
/// Numbers as text, and where they are written.
pub(super) const TEXT: Asset = Asset::javascript("/text.js", include_str!("common/text.js"));

/// Small pictures beside the large one.
pub(super) const CHART: Asset = Asset::javascript("/chart.js", include_str!("common/chart.js"));
/// Colours as the style sheet has them.
pub(super) const PALETTE: Asset =
    Asset::javascript("/palette.js", include_str!("common/palette.js"));
/// How a runtime fares.
pub(super) const HEALTH: Asset = Asset::javascript("/health.js", include_str!("common/health.js"));
/// The nodes that are alive.
pub(super) const NODES: Asset = Asset::javascript("/nodes.js", include_str!("common/nodes.js"));

#[cfg(test)]
mod tests {
    use super::super::character::Character;
    use super::super::pusht::PushT;
    use super::super::robot::Robot;
    use crate::Page;

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_every_import_is_served() {
        for assets in [PushT::ASSETS, Character::ASSETS, Robot::ASSETS] {
            for asset in assets {
                for scheme in ["http://", "https://"] {
                    let foreign = asset
                        .text
                        .match_indices(scheme)
                        // An XML namespace is a name, not an address.
                        .filter(|(at, _)| !asset.text[*at..].starts_with("http://www.w3.org/"))
                        .count();
                    assert_eq!(foreign, 0, "{} names an address", asset.path);
                }
                let imports = asset
                    .text
                    .lines()
                    .filter(|line| line.starts_with("import "))
                    .map(|line| {
                        line.split('"')
                            .nth(1)
                            .unwrap()
                            .trim_start_matches('.')
                            .to_owned()
                    });
                let links = ["href=\"/", "src=\"/"]
                    .into_iter()
                    .flat_map(|mark| asset.text.split(mark).skip(1))
                    .map(|rest| format!("/{}", rest.split('"').next().unwrap()));
                for name in imports.chain(links) {
                    assert!(
                        assets.iter().any(|other| other.path == name),
                        "{} asks for {name}",
                        asset.path
                    );
                }
            }
        }
    }

    #[test]
    fn no_path_is_served_twice() {
        for assets in [PushT::ASSETS, Character::ASSETS, Robot::ASSETS] {
            let mut paths: Vec<_> = assets.iter().map(|asset| asset.path).collect();
            paths.sort_unstable();
            paths.dedup();
            assert_eq!(paths.len(), assets.len());
        }
    }
}
