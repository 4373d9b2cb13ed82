//! `kinestream ros2`: topics of ROS 2 beside a robot or character that runs elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kinestream_bridge::{Node, SessionOptions};
use serde::Deserialize;

use kinestream_command_line::Ros2Arguments;
use kinestream_runtime::config::parse_toml;
use kinestream_runtime::ros2::config::Ros2Config;
use kinestream_runtime::ros2::{Ros2Bridge, Ros2Counts, Sizes, StopSide};
use kinestream_runtime::shutdown;
use kinestream_terminal::output;

/// Time between two looks at what there is to do.
const GLANCE: Duration = Duration::from_millis(100);

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ros2File {
    /// Name of the robot or character in all keys.
    robot: String,
    session: SessionOptions,
    ros2: Ros2Config,
}

pub(crate) fn run(arguments: &Ros2Arguments) -> Result<()> {
    let path = &arguments.file;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Ros2File {
        robot,
        session,
        ros2,
    } = parse_toml(&text, &path.display().to_string())?;
    let meets = session.multicast == Some(true) || session.config_file.is_some();
    ensure!(
        meets || !(session.listen.is_empty() && session.connect.is_empty()),
        "{}: [session] names no way to meet other nodes; add for example connect = [\"tcp/127.0.0.1:7447\"]",
        path.display()
    );
    let interrupted = shutdown::flag()?;
    let node = Arc::new(Node::open(&session, &robot, "ros2")?);
    let bridge = Ros2Bridge::start(
        &node,
        &ros2,
        &Sizes::default(),
        StopSide::Elsewhere,
        &path.display(),
    )?;
    tracing::info!(
        "topics of ROS 2 beside {}, domain {}; Ctrl-C ends",
        node.keys(),
        ros2.domain
    );
    let begun = Instant::now();
    let limit = arguments.seconds.unwrap_or(f64::INFINITY);
    while !interrupted.load(Ordering::SeqCst) && begun.elapsed().as_secs_f64() < limit {
        std::thread::sleep(GLANCE);
        bridge.tend()?;
    }
    let counts = bridge.counts();
    if arguments.json {
        return output::json(&counts);
    }
    report(&counts);
    Ok(())
}

/// Says what went where.
pub(crate) fn report(counts: &Ros2Counts) {
    tracing::info!(
        "ros2: {} messages in ({} malformed, {} refused), {} observations made, {} incomplete, {} messages out",
        counts.received,
        counts.malformed,
        counts.refused,
        counts.observations,
        counts.incomplete,
        counts.sent
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_files_of_this_command_and_of_run() {
        let text = include_str!("../../configs/ros2-character.toml");
        let file: Ros2File = parse_toml(text, "configs/ros2-character.toml").unwrap();
        assert_eq!(file.ros2.character.unwrap().transforms.unwrap(), "/tf");
        let documented = include_str!("../../docs/ROS2.md");
        let example = documented.split("```toml\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let text = format!("robot = \"arm\"\n{example}");
        let file: Ros2File = parse_toml(&text, "docs/ROS2.md").unwrap();
        assert_eq!(file.ros2.publish.len(), 2);
        assert_eq!(file.ros2.observation.unwrap().parts.len(), 2);
    }
}
