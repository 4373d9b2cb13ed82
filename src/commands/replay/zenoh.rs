//! A recording's topics over zenoh, in place of the nodes that were recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kinestream_bridge::node::{RawPublisher, Service};
use kinestream_bridge::recording::{RecordedMessage, Recording, Survey};
use kinestream_bridge::{Node, SessionOptions, SkeletonInfo, keys};

use kinestream_command_line::ReplayArguments;
use kinestream_runtime::config::{Config, RuntimeConfig};
use kinestream_runtime::recording::{RecordingHeader, topic};

/// The topics of a recording as publishers.
pub(super) struct Zenoh {
    node: Node,
    publishers: BTreeMap<String, RawPublisher>,
    published: u64,
    /// Answers as the recorded character did.
    _skeleton: Option<Service>,
}

impl Zenoh {
    /// Opens a session where `--config` or `--listen` say; none without either.
    pub(super) fn open(
        arguments: &ReplayArguments,
        recording: &Recording,
        survey: &Survey,
        skeleton: Option<&SkeletonInfo>,
    ) -> Result<Option<Self>> {
        let (session, robot) = match (&arguments.config, &arguments.listen) {
            (None, None) => return Ok(None),
            (Some(path), _) => {
                let config = Config::read(path)?;
                config.check_session(path)?;
                let robot = config.runtime.one(arguments.robot.as_deref(), path)?;
                (config.session, robot)
            }
            (None, Some(address)) => {
                let session = SessionOptions {
                    listen: vec![address.clone()],
                    ..SessionOptions::default()
                };
                (session, recorded_name(recording)?)
            }
        };
        let robot = arguments.robot.as_deref().unwrap_or(&robot);
        let node = Node::open(&session, robot, "replay")?;
        let mut publishers = BTreeMap::new();
        for topic in survey.topics.keys().filter(|name| topic::is_on_zenoh(name)) {
            publishers.insert(topic.clone(), node.raw_publisher(topic)?);
        }
        let skeleton = skeleton
            .map(|skeleton| -> Result<Service> {
                let described = skeleton.to_value()?;
                Ok(node.serve(keys::SKELETON, move || described.clone())?)
            })
            .transpose()?;
        Ok(Some(Self {
            node,
            publishers,
            published: 0,
            _skeleton: skeleton,
        }))
    }

    /// Waits until somebody subscribes to every topic.
    pub(super) fn wait(&self, limit: Duration, stop: &AtomicBool) {
        let begun = Instant::now();
        let is_heard = || self.publishers.values().all(RawPublisher::is_matched);
        if !limit.is_zero() {
            tracing::info!("waiting for subscribers of {}", self.node.keys());
        }
        while !is_heard() && begun.elapsed() < limit && !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn publish(&mut self, message: &RecordedMessage) -> Result<()> {
        if let Some(publisher) = self.publishers.get(&*message.topic) {
            self.published += u64::from(publisher.publish(&message.bytes)?);
        }
        Ok(())
    }

    /// Messages sent so far.
    pub(super) fn published(&self) -> u64 {
        self.published
    }
}

/// The name of the robot or character that was recorded.
fn recorded_name(recording: &Recording) -> Result<String> {
    let unknown = || RuntimeConfig::default().robot;
    let Some(first) = recording.messages()?.next() else {
        return Ok(unknown());
    };
    let first = first?;
    if *first.topic != *topic::CONFIG {
        return Ok(unknown());
    }
    Ok(RecordingHeader::decode(&first.bytes)?
        .name()
        .unwrap_or_else(unknown))
}

/// The skeleton of the character that was recorded, if one was.
pub(super) fn recorded_skeleton(
    recording: &Recording,
    survey: &Survey,
) -> Result<Option<SkeletonInfo>> {
    if !survey.topics.contains_key(topic::SKELETON) {
        return Ok(None);
    }
    for message in recording.messages()? {
        let message = message?;
        if *message.topic == *topic::SKELETON {
            let value = serde_json::from_slice(&message.bytes)
                .context("the recorded skeleton is not JSON")?;
            return Ok(Some(SkeletonInfo::from_value(value)?));
        }
    }
    Ok(None)
}
