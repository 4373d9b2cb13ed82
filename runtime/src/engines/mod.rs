//! Game engines beside a character: VMC and Live Link over UDP, poses and steering over a WebSocket.
//!
//! Nobody waits for an engine: a datagram that finds no room is given up and counted, a slow client of the WebSocket
//! gets the newest pose. The formats are those of `kinestream_bridge::engines`; here are the sockets.

mod udp;
mod websocket;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use kinestream_bridge::engines::live_link::LiveLinkEncoder;
use kinestream_bridge::engines::steering::Steering;
use kinestream_bridge::engines::vmc::VmcEncoder;
use kinestream_bridge::engines::{Ground, Humanoid, HumanoidConfig};
use kinestream_bridge::{Pose, SkeletonInfo};
use serde::Serialize;

use self::udp::Targets;
use self::websocket::{Character, WebSocketServer};
use crate::character::acts::ActionQueue;
use crate::config;

/// Who is to be told, as on the command line. Addresses are HOST:PORT.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Receivers of VMC.
    pub vmc: Vec<String>,
    /// Receivers of Live Link.
    pub live_link: Vec<String>,
    /// Where engines connect to a WebSocket.
    pub websocket: Option<String>,
    /// A file with the token that this wants where other machines reach it; a new token without.
    pub token_file: Option<PathBuf>,
    /// A TOML file with a [`HumanoidConfig`]; the built-in one without.
    pub humanoid: Option<PathBuf>,
}

impl EngineOptions {
    /// Whether anybody is to be told.
    pub fn is_on(&self) -> bool {
        !(self.vmc.is_empty() && self.live_link.is_empty() && self.websocket.is_none())
    }
}

/// What engines got and said, as reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EngineCounts {
    /// Datagrams handed to the system.
    pub vmc_datagrams: u64,
    /// The same of Live Link.
    pub live_link_datagrams: u64,
    /// Datagrams of both that the system refused.
    pub datagrams_refused: u64,
    /// Connections of the WebSocket so far.
    pub websocket_clients: u64,
    /// Poses handed to these, one by one.
    pub websocket_poses: u64,
    /// Messages of these that steer.
    pub steering: u64,
    /// Messages of these that were refused.
    pub steering_refused: u64,
}

/// All engines of one character.
#[derive(Debug, Default)]
pub struct Engines(Option<Open>);

#[derive(Debug)]
struct Open {
    humanoid: Arc<Humanoid>,
    vmc: VmcEncoder,
    vmc_targets: Targets,
    live_link: LiveLinkEncoder,
    live_link_targets: Targets,
    websocket: Option<WebSocketServer>,
}

impl Engines {
    /// Nobody.
    pub fn off() -> Self {
        Self(None)
    }

    /// Resolves addresses and takes the WebSocket's port; its server ends when `stop` is set.
    pub fn open(
        options: &EngineOptions,
        name: &str,
        skeleton: &SkeletonInfo,
        rate_hz: f64,
        acts: &ActionQueue,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        if !options.is_on() {
            return Ok(Self::off());
        }
        let source = match &options.humanoid {
            Some(path) => path.display().to_string(),
            None => "the built-in humanoid".into(),
        };
        let config = match &options.humanoid {
            Some(path) => read(path)?,
            None => HumanoidConfig::default(),
        };
        let humanoid = Humanoid::new(skeleton, &config).with_context(|| source.clone())?;
        let live_link =
            LiveLinkEncoder::new(name, &humanoid, &config.live_link).with_context(|| source)?;
        let humanoid = Arc::new(humanoid);
        let websocket = options.websocket.as_deref().map(|address| {
            let character = Character {
                name: name.to_owned(),
                humanoid: Arc::clone(&humanoid),
                skeleton: skeleton.to_value()?.to_string(),
                rate_hz,
                acts: acts.clone(),
            };
            let token_file = options.token_file.as_deref();
            websocket::serve(address, token_file, character, Arc::clone(stop))
        });
        Ok(Self(Some(Open {
            vmc: VmcEncoder::default(),
            vmc_targets: Targets::open("--vmc", &options.vmc)?,
            live_link,
            live_link_targets: Targets::open("--live-link", &options.live_link)?,
            websocket: websocket.transpose()?,
            humanoid,
        })))
    }

    /// Whether anybody is to be told.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where the WebSocket is, if there is one.
    pub fn websocket(&self) -> Option<String> {
        Some(self.0.as_ref()?.websocket.as_ref()?.url())
    }

    /// Tells everybody a pose: the message, the point that is steered, the character's time, and the clock's.
    pub fn tell(&mut self, told: &Pose, ground: Ground, seconds: f64, now_ns: u64) -> Result<()> {
        let Some(open) = &mut self.0 else {
            return Ok(());
        };
        let pose = open.humanoid.pose(told, ground, seconds)?;
        if !open.vmc_targets.is_empty() {
            for datagram in open.vmc.encode(&open.humanoid, &pose) {
                open.vmc_targets.send(datagram);
            }
        }
        if !open.live_link_targets.is_empty() {
            open.live_link_targets
                .send(open.live_link.encode(&pose, now_ns));
        }
        if let Some(websocket) = &open.websocket {
            websocket.publish(pose, told);
        }
        Ok(())
    }

    /// The newest steering since the last call.
    pub fn take_steering(&self) -> Option<Steering> {
        self.0.as_ref()?.websocket.as_ref()?.take_steering()
    }

    /// What was told and said so far.
    pub fn counts(&self) -> EngineCounts {
        let Some(open) = &self.0 else {
            return EngineCounts::default();
        };
        let (vmc, live_link) = (&open.vmc_targets, &open.live_link_targets);
        let counts = EngineCounts {
            vmc_datagrams: vmc.sent(),
            live_link_datagrams: live_link.sent(),
            datagrams_refused: vmc.refused() + live_link.refused(),
            ..EngineCounts::default()
        };
        match &open.websocket {
            Some(websocket) => websocket.count(counts),
            None => counts,
        }
    }
}

/// Reads a file of `--humanoid`.
fn read(path: &Path) -> Result<HumanoidConfig> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--humanoid: cannot read {}", path.display()))?;
    config::parse_toml(&text, &path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_is_a_humanoid() {
        let text = include_str!("../../../docs/ENGINES.md");
        let example = text.split("```toml\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let config: HumanoidConfig = config::parse_toml(example, "docs/ENGINES.md").unwrap();
        let skeleton = kinestream_motion::character::skeleton();
        let feet = kinestream_motion::foot::Feet::at_rest(&skeleton).unwrap();
        let info = crate::character::live::skeleton_info(&skeleton, &feet);
        let humanoid = Humanoid::new(&info, &config).unwrap();
        assert_eq!(humanoid.bones().len(), 21);
        LiveLinkEncoder::new("hero", &humanoid, &config.live_link).unwrap();
        // The built-in one takes every joint.
        let humanoid = Humanoid::new(&info, &HumanoidConfig::default()).unwrap();
        assert_eq!(humanoid.bones().len(), info.joints.len());
    }

    #[test]
    fn a_file_that_is_no_humanoid_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rig.toml");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", read(&path).unwrap_err())
        };
        let error = refused("scale = 1.0\n[joints]\nHip = \"Hips\"\n");
        assert!(error.contains("rig.toml, line 3"), "{error}");
        assert!(error.contains("HumanBodyBones"), "{error}");
        let error = format!("{:#}", read(&folder.path().join("absent")).unwrap_err());
        assert!(error.contains("--humanoid"), "{error}");
    }
}
