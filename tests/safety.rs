//! A real runtime and a robot of the test's own over zenoh: watchdog, emergency stop, re-arming, and
//! how it ends. What is asserted are states and their order, never speed.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use kinestream_bridge::node::{Channel, Inbox, Presence, Publisher};
use kinestream_bridge::wire::{ActionFlags, Name, RunState, Stamp, Values};
use kinestream_bridge::{Action, Node, Observation, SessionOptions, Status};
use support::child::Running;
use support::json_object;
use support::project::{CONFIG, Project};

const SAFE: &str = r#"[control.limits]
lower = 0
upper = 512
velocity = 400
acceleration = 4000
jerk = 100000

[control.watchdog]
observation_timeout_ms = 1000
plan_timeout_ms = 1000
safe_stop_after_ms = 2500

[session]"#;

/// The robot: sends observations, sees commands and status.
struct Robot {
    _node: Node,
    observations: Publisher,
    actions: Inbox<Action>,
    status: Inbox<Status>,
    presence: Presence,
    sequence: u64,
    state: RunState,
    /// Flags of the newest command.
    flags: Option<ActionFlags>,
    commands: Vec<[f32; 2]>,
}

impl Robot {
    fn connect(project: &Project) -> Self {
        let config = std::fs::read_to_string(project.path(CONFIG)).unwrap();
        let address = config.split('"').find(|text| text.starts_with("tcp/"));
        let options = SessionOptions {
            namespace: "test".into(),
            connect: vec![address.unwrap().to_owned()],
            ..SessionOptions::default()
        };
        let node = Node::open(&options, "pusht", "robot").unwrap();
        Self {
            observations: node.publisher(Channel::Observation("state")).unwrap(),
            actions: node.inbox(&node.keys().action(), 4096).unwrap(),
            status: node.inbox(&node.keys().status(), 64).unwrap(),
            presence: node.presence().unwrap(),
            _node: node,
            sequence: 0,
            state: RunState::Starting,
            flags: None,
            commands: Vec::new(),
        }
    }

    fn observe(&mut self) {
        self.sequence += 1;
        let values = (0..20)
            .map(|index| 150.0 + 10.0 * f64::from(index))
            .collect();
        self.observations
            .publish(&Observation {
                stamp: Stamp {
                    sequence: self.sequence,
                    monotonic_ns: self.sequence * 100_000_000,
                    wall_ns: 0,
                    stream: 1,
                },
                name: Name::new("state").unwrap(),
                values: Values::F64(values),
            })
            .unwrap();
    }

    /// Goes on, with or without observations, until something is true.
    fn until(
        &mut self,
        runtime: &mut Running,
        what: &str,
        observing: bool,
        condition: impl Fn(&Self) -> bool,
    ) {
        runtime.wait_until(what, || {
            if observing {
                self.observe();
            }
            std::thread::sleep(Duration::from_millis(100));
            while let Some(action) = self.actions.try_next() {
                self.flags = Some(action.flags);
                self.commands.push([action.values[0], action.values[1]]);
            }
            while let Some(status) = self.status.try_next() {
                self.state = status.state;
            }
            condition(self)
        });
    }

    fn is_stopping(&self) -> bool {
        self.flags
            .is_some_and(|flags| flags.contains(ActionFlags::STOPPING))
    }

    fn is_running(&self) -> bool {
        self.state == RunState::Running && self.flags.is_some() && !self.is_stopping()
    }
}

#[test]
fn the_ladder_the_emergency_stop_and_the_end() {
    let project = Project::trained();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    std::fs::write(project.path(CONFIG), text.replace("[session]", SAFE)).unwrap();
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");
    let mut robot = Robot::connect(&project);
    let stop = |more: &[&str]| {
        let arguments = [&["stop", CONFIG, "--json"], more].concat();
        json_object(&project.run(&arguments).succeeds().stdout)
    };

    // Armed by observations and plans.
    robot.until(&mut runtime, "commands", true, Robot::is_running);
    assert!(robot.presence.is_alive("control"));

    // Observations stop: held, then stopped for good.
    robot.until(&mut runtime, "holding", false, |robot| {
        robot.state == RunState::Holding
    });
    robot.until(&mut runtime, "a safe stop", false, |robot| {
        robot.state == RunState::Stopped && robot.is_stopping()
    });
    assert!(!robot.presence.is_alive("control"));
    let seen = robot.sequence;
    robot.until(&mut runtime, "ten observations", true, |robot| {
        robot.sequence > seen + 10
    });
    assert_eq!(robot.state, RunState::Stopped);

    // Left by request, with news.
    assert_eq!(stop(&["--rearm"])["rung"], "waiting");
    robot.until(&mut runtime, "re-armed", true, Robot::is_running);

    // An emergency stop, answered; a second one changes nothing; re-armed again.
    assert_eq!(stop(&[])["rung"], "emergency_stop");
    robot.until(&mut runtime, "an emergency stop", true, |robot| {
        robot.state == RunState::Fault && robot.is_stopping()
    });
    assert_eq!(stop(&[])["rung"], "emergency_stop");
    assert_eq!(stop(&["--rearm"])["rung"], "waiting");
    robot.until(&mut runtime, "re-armed", true, Robot::is_running);

    // Ctrl-C: the last words are those of a stop.
    runtime.interrupt();
    let ended = runtime.finish().succeeds();
    assert!(ended.stderr.contains("ended:"), "{}", ended.stderr);
    std::thread::sleep(Duration::from_millis(200));
    while let Some(action) = robot.actions.try_next() {
        robot.flags = Some(action.flags);
        robot.commands.push([action.values[0], action.values[1]]);
    }
    assert!(robot.is_stopping());
    let inside = |command: &[f32; 2]| command.iter().all(|at| (0.0..=512.0).contains(at));
    assert!(robot.commands.iter().all(inside));
}

#[test]
fn a_stop_that_nobody_hears_says_so() {
    let project = Project::new();
    project
        .run(&["stop", CONFIG])
        .fails(&["no runtime answered", "srv/estop", CONFIG]);
    project
        .run(&["stop", CONFIG, "--rearm"])
        .fails(&["no runtime answered", "srv/rearm"]);
}
