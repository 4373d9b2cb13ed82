//! A real runtime and a robot of the test's own over zenoh: watchdog, emergency stop, re-arming, and
//! how it ends. What is asserted are states and their order, never speed.

use std::time::Duration;

use crate::support::child::Running;
use crate::support::json_object;
use crate::support::project::{CONFIG, Project};
use kinestream_bridge::node::{Channel, Inbox, Presence, Publisher};
use kinestream_bridge::wire::{ActionFlags, Name, RunState, Stamp, Values};
use kinestream_bridge::{Action, Node, Observation, SessionOptions, Status};

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
    commands: Vec<(Stamp, [f32; 2])>,
    /// The episode that observations belong to, and where the robot is in it.
    stream: u32,
    at: [f64; 2],
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
            stream: 1,
            at: [330.0, 340.0],
        }
    }

    fn observe(&mut self) {
        self.sequence += 1;
        let keypoints = (0..18).map(|index| 150.0 + 10.0 * f64::from(index));
        let values = keypoints.chain(self.at).collect();
        self.observations
            .publish(&Observation {
                stamp: Stamp {
                    sequence: self.sequence,
                    monotonic_ns: self.sequence * 100_000_000,
                    wall_ns: 0,
                    stream: self.stream,
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
                let values = [action.values[0], action.values[1]];
                self.commands.push((action.stamp, values));
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
        let values = [action.values[0], action.values[1]];
        robot.commands.push((action.stamp, values));
    }
    assert!(robot.is_stopping());
    let inside = |command: &[f32; 2]| command.iter().all(|at| (0.0..=512.0).contains(at));
    assert!(robot.commands.iter().all(|(_, command)| inside(command)));
}

#[test]
fn no_command_leaps_when_a_robot_is_put_elsewhere() {
    let project = Project::trained();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    std::fs::write(project.path(CONFIG), text.replace("[session]", SAFE)).unwrap();
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");
    let mut robot = Robot::connect(&project);
    robot.until(&mut runtime, "commands", true, Robot::is_running);
    let first = robot.commands[0].1;
    // A period at 400 a second, and what an f32 rounds.
    let within = |one: f64, other: f64, periods: f64| (one - other).abs() <= 4.0 * periods + 1e-3;
    let near = |axis: usize| within(f64::from(first[axis]), robot.at[axis], 1.0);
    assert!((0..2).all(near), "{first:?}");
    for (stream, at) in [(2, [60.0, 60.0]), (3, [500.0, 10.0]), (1, [330.0, 340.0])] {
        (robot.stream, robot.at) = (stream, at);
        let last = |robot: &Robot| robot.commands.last().map(|(stamp, _)| stamp.stream);
        let begun = |robot: &Robot| last(robot) == Some(stream);
        robot.until(&mut runtime, "the next motion", true, begun);
        let begins = robot.commands.iter().rev();
        let begins = begins.take_while(|(stamp, _)| stamp.stream == stream);
        let (_, begins) = begins.last().unwrap();
        // It begins where the robot is measured: two periods away at most.
        let there = |axis: usize| (f64::from(begins[axis]) - at[axis]).abs() <= 8.0 + 1e-3;
        assert!((0..2).all(there), "{begins:?} for {at:?}");
    }
    for pair in robot.commands.windows(2) {
        let [(before, one), (after, other)] = [pair[0], pair[1]];
        let periods = (after.monotonic_ns - before.monotonic_ns) as f64 / 1e7;
        let slow = |axis: usize| within(f64::from(one[axis]), f64::from(other[axis]), periods);
        assert!((0..2).all(slow), "{pair:?}");
    }
    runtime.interrupt();
    runtime.finish().succeeds();
}

#[test]
fn a_robot_pauses_goes_home_and_goes_on_as_it_is_asked() {
    let project = Project::trained();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let limits = SAFE.replace("[session]", "[session]\n").replace(
        "[control.watchdog]",
        "[control.start]\nfarthest = 1000\n\n[control.watchdog]",
    );
    let text = text
        .replace("[session]", &limits)
        .replace("[control]\n", "[control]\nhome = [100.0, 420.0]\n");
    std::fs::write(project.path(CONFIG), text).unwrap();
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");
    let mut robot = Robot::connect(&project);
    let ask = |what: &str| {
        let arguments = [what, CONFIG, "--json"];
        json_object(&project.run(&arguments).succeeds().stdout)
    };
    robot.until(&mut runtime, "commands", true, Robot::is_running);

    // A pause holds for longer than a safe stop would take.
    assert_eq!(ask("pause")["rung"], "holding");
    let seen = robot.sequence;
    robot.until(&mut runtime, "three seconds", true, |robot| {
        robot.sequence > seen + 30
    });
    assert_eq!(robot.state, RunState::Holding);
    let rest = robot.commands.len();
    let still = robot.commands[rest - 20..].windows(2);
    assert!(still.clone().all(|pair| pair[0].1 == pair[1].1));

    assert_eq!(ask("home")["reason"], "on the way to control.home");
    let home = [100.0, 420.0];
    robot.until(&mut runtime, "home", true, |robot| {
        robot.commands.last().is_some_and(|(_, at)| *at == home)
    });
    // It stays there until it is asked to go on; a stop is obeyed there too, and home does not lead out of it.
    robot.at = [100.0, 420.0];
    let seen = robot.sequence;
    robot.until(&mut runtime, "three seconds", true, |robot| {
        robot.sequence > seen + 30
    });
    assert_eq!(robot.commands.last().unwrap().1, home);
    assert_eq!(ask("stop")["rung"], "emergency_stop");
    assert_eq!(ask("home")["rung"], "emergency_stop");
    project.run(&["stop", CONFIG, "--rearm"]).succeeds();
    assert_ne!(ask("resume")["rung"], "emergency_stop");
    robot.until(&mut runtime, "going on", true, |robot| {
        robot.is_running() && robot.commands.last().is_some_and(|(_, at)| *at != home)
    });
    runtime.interrupt();
    runtime.finish().succeeds();
}

#[test]
fn a_motion_that_is_refused_says_why_and_begins_once_the_robot_is_there() {
    let project = Project::trained();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let text = text.replace(
        "[session]",
        "[control.start]\nfarthest = 500.0\n\n[session]",
    );
    std::fs::write(project.path(CONFIG), text).unwrap();
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");
    let mut robot = Robot::connect(&project);
    robot.at = [90000.0, 340.0];
    robot.until(&mut runtime, "a second", true, |robot| robot.sequence >= 10);
    runtime.wait_for("no motion begins");
    let said = runtime.wait_for("measured at 90000");
    assert!(said.contains("farthest allowed 500"), "{said}");
    assert!(robot.commands.is_empty(), "{:?}", robot.commands);
    robot.at = [330.0, 340.0];
    robot.until(&mut runtime, "commands", true, Robot::is_running);
    runtime.interrupt();
    runtime.finish().succeeds();
}

#[test]
fn every_way_of_stopping_arrives_under_every_condition() {
    let project = Project::new();
    let conditions =
        "idle,log_blocked,disk_full,descriptors_gone,policy_stuck,router,mutual_tls,flood";
    let arguments = [
        "bench",
        "stop",
        "--runs",
        "1",
        "--json",
        "--conditions",
        conditions,
    ];
    let report = json_object(&project.run(&arguments).succeeds().stdout);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12 * 8);
    for row in rows {
        assert_eq!(row["arrived"], true, "{row}");
        assert!(row["skipped"].is_null(), "{row}");
    }
}

#[test]
fn a_stop_that_nobody_hears_says_so() {
    let project = Project::new();
    for more in [&[][..], &["--rearm"]] {
        let arguments = [&["stop", CONFIG, "--limit", "1.5"], more].concat();
        project.run(&arguments).fails(&[
            "NOT confirmed",
            "test/pusht",
            "is `kinestream run` running",
            CONFIG,
        ]);
    }
}
