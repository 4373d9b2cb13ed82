//! A policy that moves a robot from within one program: own sensors, own actuators, no network.
//!
//! The threads are those of `kinestream run`: one for the policy, one that forms commands at `control.rate_hz` under limits and
//! watchdog, and one that hands them to the actuator. `examples/embed_policy.rs` is a whole program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kinestream_bridge::wire::{
    ActionFlags, ActionSlice, ImageEncoding, Name, Request, Stamp, Values,
};
use kinestream_bridge::{Command, Image, Observation};
use kinestream_control::{Activity, SafetyReason, SafetyState, TimingReport, latest_plan};
use kinestream_policy::Policy;

use crate::clock::stamp;
use crate::commands::{CommandNode, CommandSink, Wiring};
use crate::control_config::ControlConfig;
use crate::policy::{PolicyNode, PolicyOptions, PolicyStatistics, RobotLink, Seat};
use crate::recording::RecordSink;
use crate::runtime::{LAST_WORDS, POLICY_END_WITHIN, REST_WITHIN};
use crate::signals::{ControlInputs, ControlMetrics};

/// How long an actuator may take with its last command before its thread is left behind.
const ACTUATOR_END_WITHIN: Duration = Duration::from_secs(2);

/// A command on its way to the robot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RobotCommand<'a> {
    /// One setpoint for each number of the action, in its units, within `control.limits`.
    pub values: &'a [f32],
    /// When it was due, in nanoseconds of the monotonic clock.
    pub due_ns: u64,
    /// Whether it leads to rest or rests, because no fresh plan is there or the robot is stopped.
    pub is_holding: bool,
    /// Whether the robot is stopped until somebody re-arms.
    pub is_stopping: bool,
}

/// A picture of a camera.
#[derive(Debug, Clone, Copy)]
pub struct CameraPicture<'a> {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of every pixel, row by row from the top left.
    pub rgb: &'a [u8],
}

impl CameraPicture<'_> {
    fn message(&self, stamp: Stamp, name: Name) -> Result<Image> {
        let bytes = 3 * self.width as usize * self.height as usize;
        anyhow::ensure!(
            self.rgb.len() == bytes,
            "a picture of {} x {} pixels has {} bytes, expected {bytes}",
            self.width,
            self.height,
            self.rgb.len()
        );
        Ok(Image {
            stamp,
            name,
            width: self.width,
            height: self.height,
            encoding: ImageEncoding::Rgb8,
            data: self.rgb.to_vec(),
        })
    }
}

/// How an embedded robot runs.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// Rate, limits, watchdog and the start of a motion; without velocity limits a command leaps as far as the plan does.
    pub control: ControlConfig,
    /// Once it is raised, commands come to rest: [`crate::shutdown::flag`] raises it on Ctrl-C and other signals. The end of the
    /// robot raises it, too: of several robots in one program each needs a flag of its own.
    pub shutdown: Arc<AtomicBool>,
}

/// A robot within this program that a policy moves. Dropping it brings commands to rest and ends its threads.
pub struct EmbeddedRobot {
    /// Until the end.
    threads: Option<(PolicyNode, CommandNode)>,
    signals: Arc<ControlInputs>,
    gauges: Arc<ControlMetrics>,
    stop: Arc<AtomicBool>,
    has_home: bool,
    observation_size: usize,
    name: Name,
    /// Held from stamping to handing over, so that what several threads say keeps its order.
    count: Mutex<Count>,
}

/// What was handed in so far.
#[derive(Debug)]
struct Count {
    /// Number of the episode; a plan of one never moves the robot of another.
    episode: u32,
    sequence: u64,
}

impl Count {
    fn stamp(&mut self) -> Stamp {
        self.sequence += 1;
        stamp(self.sequence, self.episode)
    }
}

/// What became of an embedded robot, at its end.
#[derive(Debug, Clone)]
pub struct EmbeddedReport {
    /// What the policy did.
    pub statistics: PolicyStatistics,
    /// Commands that the actuator got.
    pub commands: u64,
    /// Commands that were left out because the actuator was busy when they were due.
    pub left_out: u64,
    /// How well the control rate was kept.
    pub timing: TimingReport,
}

impl EmbeddedRobot {
    /// Warms the policy up and starts the threads. `actuator` gets commands on a thread of its own, at the control rate or as
    /// fast as it takes them: of those that come while it is busy it gets the newest alone, the others are counted. A panic in
    /// it ends the commands, which [`EmbeddedRobot::has_ended`] and [`EmbeddedRobot::safety_state`] tell.
    ///
    /// # Errors
    /// `control.start.keeper`, which needs a session: stops are asked for with [`EmbeddedRobot::stop`] here.
    /// A value of `options.control` that is out of its range or does not fit the policy, or a thread that cannot be started.
    pub fn start(
        policy: Policy,
        options: EmbeddedOptions,
        actuator: impl FnMut(RobotCommand<'_>) + Send + 'static,
    ) -> Result<Self> {
        let EmbeddedOptions { control, shutdown } = options;
        anyhow::ensure!(
            !control.start.keeper,
            "control.start.keeper is true, but no keeper of stops can be met without a session; leave it out"
        );
        let measured = control.measured_columns(&policy)?;
        for caution in control.cautions(policy.action_size(), measured.is_some()) {
            tracing::warn!("{caution}");
        }
        let (horizon, action_size) = (policy.config().plan.horizon, policy.action_size());
        let observation_size = policy.observation_size();
        let plan = &policy.config().plan;
        let in_time_s = plan.commit_ahead.max(1) as f64 / policy.config().task.rate_hz;
        let (writer, plans) = latest_plan(horizon, action_size);
        // Nobody outside keeps stops of a robot that has no session.
        let signals = Arc::new(ControlInputs::new(shutdown, false));
        let gauges = Arc::new(ControlMetrics::default());
        let stop = Arc::new(AtomicBool::new(false));
        let wiring = Wiring {
            plans,
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            tap: RecordSink::off(),
        };
        let sink = Actuator(actuator);
        // Until all threads run, whatever goes wrong ends those that do.
        let unfinished = EndOnDrop(Arc::clone(&stop));
        let commands = CommandNode::start(sink, &control, action_size, wiring, Arc::clone(&stop))?;
        tracing::info!("control thread: {}", commands.granted());
        let seat = Seat {
            link: RobotLink::Program,
            commands: writer,
            signals: Arc::clone(&signals),
            tap: RecordSink::off(),
            snapshot: Arc::default(),
            deadline_ns: (1e9 * in_time_s) as u64,
            measured,
        };
        let options = PolicyOptions {
            lossless: false,
            cpu: None,
            pictures_apart_ms: None,
            plan_timeout_ms: control.watchdog.plan_timeout_ms,
        };
        let policy = PolicyNode::start(policy, vec![seat], options, Arc::clone(&stop))?;
        std::mem::forget(unfinished);
        Ok(Self {
            threads: Some((policy, commands)),
            signals,
            gauges,
            stop,
            has_home: !control.home.is_empty(),
            observation_size,
            name: Name::new("state")?,
            count: Mutex::new(Count {
                episode: 1,
                sequence: 0,
            }),
        })
    }

    /// Hands in what the robot's sensors say now, in the units of the training data and in the order of `task.observation`,
    /// at any rate. It does not wait for the policy.
    ///
    /// # Errors
    /// Another number of numbers than the policy observes, or pictures that it needs beside them.
    pub fn observe(&self, values: &[f64]) -> Result<()> {
        self.observe_images(values, &[])
    }

    /// As [`EmbeddedRobot::observe`], with one picture for every camera of the policy, in the order of `task.observation`.
    ///
    /// # Errors
    /// Another number of numbers or pictures than the policy observes, or a picture whose bytes do not fit its size.
    pub fn observe_images(&self, values: &[f64], pictures: &[CameraPicture<'_>]) -> Result<()> {
        anyhow::ensure!(
            values.len() == self.observation_size,
            "an observation has {} numbers, the policy expects {}",
            values.len(),
            self.observation_size
        );
        let port = self.port()?;
        anyhow::ensure!(
            pictures.len() == port.cameras(),
            "an observation has {} pictures, the policy expects {}",
            pictures.len(),
            port.cameras()
        );
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = count.stamp();
        for (camera, picture) in pictures.iter().enumerate() {
            port.see(camera, picture.message(stamp, self.name)?);
        }
        port.observe(Observation {
            stamp,
            name: self.name,
            values: Values::F64(values.to_vec()),
        });
        Ok(())
    }

    /// Begins a new episode: the history is empty again, and `seed` decides the policy's noise. Observations that are handed
    /// in from now on belong to it.
    ///
    /// # Errors
    /// The policy thread is gone.
    pub fn reset(&self, seed: u64) -> Result<()> {
        let port = self.port()?;
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.episode += 1;
        port.command(Command {
            stamp: count.stamp(),
            request: Request::Reset { seed },
        });
        Ok(())
    }

    /// Stops the robot: it comes to rest under the limits and stays there. An atomic addition, from any thread.
    pub fn stop(&self) {
        self.signals.latch().stop();
    }

    /// Leaves a stop.
    pub fn rearm(&self) {
        self.signals.latch().rearm();
    }

    /// Comes to rest and stays there until [`EmbeddedRobot::resume`].
    pub fn pause(&self) {
        self.signals.set_activity(Activity::Pause);
    }

    /// Follows the policy's plans again.
    pub fn resume(&self) {
        self.signals.set_activity(Activity::Policy);
    }

    /// Leads the robot to `control.home`, under the limits, until [`EmbeddedRobot::resume`].
    ///
    /// # Errors
    /// There is no `control.home`.
    pub fn home(&self) -> Result<()> {
        anyhow::ensure!(self.has_home, "control.home names no place to go to");
        self.signals.set_activity(Activity::Home);
        Ok(())
    }

    /// What the watchdog makes of things.
    pub fn safety_state(&self) -> SafetyState {
        self.gauges.rung()
    }

    /// Why the robot does not follow the policy, in a sentence; none where it does.
    pub fn reason(&self) -> Option<String> {
        (self.gauges.cause() != SafetyReason::None).then(|| self.gauges.reason())
    }

    /// Whether the policy thread or the actuator's has ended by an error or a panic: the robot comes to rest as far as commands
    /// still reach it, and [`EmbeddedRobot::finish`] says why.
    pub fn has_ended(&self) -> bool {
        self.threads
            .as_ref()
            .is_none_or(|(policy, commands)| policy.has_ended() || commands.has_ended())
    }

    /// What the policy did so far.
    ///
    /// # Errors
    /// The policy thread is gone.
    pub fn statistics(&self) -> Result<PolicyStatistics> {
        Ok(self.policy()?.statistics(0))
    }

    /// Brings commands to rest under their limits, ends the threads, and reports. An error of the policy thread comes back
    /// after that.
    ///
    /// # Errors
    /// The policy thread ended by an error, or stands still in an evaluation; the actuator panicked, or stands still.
    pub fn finish(mut self) -> Result<EmbeddedReport> {
        self.come_to_rest();
        let (policy, commands) = self.threads.take().context("the robot has ended already")?;
        let statistics = policy.statistics(0);
        let ended = policy.join_within(POLICY_END_WITHIN);
        let timing = commands.join_within(ACTUATOR_END_WITHIN);
        ended?;
        let timing = timing.context("the actuator")?;
        Ok(EmbeddedReport {
            statistics,
            commands: self.gauges.published(),
            left_out: self.gauges.dropped(),
            timing,
        })
    }

    fn come_to_rest(&self) {
        self.signals.latch().shut_down();
        let begun = Instant::now();
        while begun.elapsed() < REST_WITHIN && !self.gauges.has_come_to_rest() {
            std::thread::sleep(Duration::from_millis(2));
        }
        // A robot that rested anyway hears that it is stopped, too.
        std::thread::sleep(LAST_WORDS);
        self.stop.store(true, Ordering::SeqCst);
    }

    fn policy(&self) -> Result<&PolicyNode> {
        let threads = self.threads.as_ref();
        Ok(&threads.context("the robot has ended already")?.0)
    }

    fn port(&self) -> Result<&crate::policy::SensorPort> {
        let policy = self.policy()?;
        anyhow::ensure!(
            !policy.has_ended(),
            "the policy thread has ended; finish() says why"
        );
        policy.port(0).context("the robot has no port")
    }
}

impl Drop for EmbeddedRobot {
    fn drop(&mut self) {
        let Some((policy, commands)) = self.threads.take() else {
            return;
        };
        self.come_to_rest();
        let ended = policy.join_within(POLICY_END_WITHIN);
        let joined = commands.join_within(ACTUATOR_END_WITHIN).map(|_| ());
        for error in [ended, joined].into_iter().filter_map(Result::err) {
            tracing::error!("an embedded robot ended: {error:#}");
        }
    }
}

/// Ends threads, once it is dropped.
struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Hands commands to a function.
struct Actuator<F>(F);

impl<F: FnMut(RobotCommand<'_>) + Send + 'static> CommandSink for Actuator<F> {
    fn send(&mut self, command: &ActionSlice<'_>) -> Result<bool> {
        (self.0)(RobotCommand {
            values: command.values,
            due_ns: command.stamp.monotonic_ns,
            is_holding: command.flags.contains(ActionFlags::HOLDING),
            is_stopping: command.flags.contains(ActionFlags::STOPPING),
        });
        Ok(true)
    }

    fn reach(&self) -> (bool, bool) {
        (true, true)
    }

    fn wants_newest_alone(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kinestream_control::StartConfig;
    use tch::Device;

    use super::*;
    use crate::checkpoint;

    /// Largest step of a command at 300 units a second and 100 Hz, with the rounding of single precision.
    const STEP: f32 = 3.001;

    /// Values of a command, whether it stops, and when it was due.
    type Heard = ([f32; 2], bool, u64);

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Heard>>>);

    impl Log {
        fn actuator(&self) -> impl FnMut(RobotCommand<'_>) + Send + 'static {
            let log = self.clone();
            move |command| {
                let values = [command.values[0], command.values[1]];
                log.0
                    .lock()
                    .unwrap()
                    .push((values, command.is_stopping, command.due_ns));
            }
        }

        fn all(&self) -> Vec<Heard> {
            self.0.lock().unwrap().clone()
        }
    }

    fn policy() -> Policy {
        let folder = Path::new(checkpoint::SHIPPED);
        let checkpoint = checkpoint::open(folder, Device::Cpu).unwrap();
        Policy::new(checkpoint, Device::Cpu, 1).unwrap()
    }

    fn options() -> EmbeddedOptions {
        let mut control = ControlConfig::default();
        control.limits.velocity = Some(300.0.into());
        control.start = StartConfig {
            columns: Some(vec![18, 19]),
            ..StartConfig::default()
        };
        // Machines that build meanwhile are slow.
        control.watchdog.observation_timeout_ms = 60_000.0;
        control.watchdog.plan_timeout_ms = 60_000.0;
        EmbeddedOptions {
            control,
            ..EmbeddedOptions::default()
        }
    }

    fn with_actuator(actuator: impl FnMut(RobotCommand<'_>) + Send + 'static) -> EmbeddedRobot {
        EmbeddedRobot::start(policy(), options(), actuator).unwrap()
    }

    fn robot(log: &Log) -> EmbeddedRobot {
        with_actuator(log.actuator())
    }

    fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn commands_begin_where_the_robot_is_keep_to_the_limits_and_end_at_rest() {
        let log = Log::default();
        let robot = robot(&log);
        let mut observation = vec![250.0; 20];
        (observation[18], observation[19]) = (50.0, 450.0);
        assert!(robot.observe(&[1.0]).is_err());
        let picture = CameraPicture {
            width: 1,
            height: 1,
            rgb: &[0; 3],
        };
        assert!(robot.observe_images(&observation, &[picture]).is_err());
        assert!(robot.home().is_err());
        robot.observe(&observation).unwrap();
        wait("fifty commands", || log.all().len() > 50);
        assert_eq!(
            robot.safety_state(),
            SafetyState::Running,
            "{:?}",
            robot.reason()
        );
        robot.reset(7).unwrap();
        (observation[18], observation[19]) = (300.0, 100.0);
        robot.observe(&observation).unwrap();
        wait("a plan of the second episode", || {
            robot.statistics().unwrap().plans > 1
        });
        robot.stop();
        wait("a stop", || {
            robot.safety_state() == SafetyState::EmergencyStop
        });
        let report = robot.finish().unwrap();
        let commands = log.all();
        assert_eq!(report.commands, commands.len() as u64);
        assert_eq!(report.statistics.observations, 2);
        // What an actuator on a busy machine was too slow for is left out: steps are by the time between two commands.
        let first = commands[0].0;
        let from = [50.0, 450.0];
        assert!(
            (0..2).all(|at| (first[at] - from[at]).abs() <= 20.0 * STEP),
            "{first:?}"
        );
        for pair in commands.windows(2) {
            let [(before, _, earlier), (after, _, later)] = [pair[0], pair[1]];
            let periods = ((later - earlier) as f32 / 1e7).round();
            let farthest = periods * STEP;
            assert!(
                (0..2).all(|at| (after[at] - before[at]).abs() <= farthest),
                "{pair:?}"
            );
        }
        assert!(
            commands
                .last()
                .is_some_and(|(_, is_stopping, _)| *is_stopping)
        );
    }

    #[test]
    fn a_robot_that_is_dropped_stops_and_lets_its_actuator_go() {
        let log = Log::default();
        let robot = robot(&log);
        robot.observe(&[250.0; 20]).unwrap();
        wait("a command", || !log.all().is_empty());
        assert!(!robot.has_ended());
        drop(robot);
        assert_eq!(Arc::strong_count(&log.0), 1, "the actuator is still there");
        assert!(
            log.all()
                .last()
                .is_some_and(|(_, is_stopping, _)| *is_stopping)
        );
    }

    #[test]
    fn a_slow_actuator_gets_the_present_and_a_panic_is_told() {
        let log = Log::default();
        let mut write = log.actuator();
        let robot = with_actuator(move |command| {
            std::thread::sleep(Duration::from_millis(50));
            write(command);
        });
        robot.observe(&[250.0; 20]).unwrap();
        wait("twenty commands", || log.all().len() > 20);
        robot.stop();
        wait("a stop", || {
            robot.safety_state() == SafetyState::EmergencyStop
        });
        let before = log.all().len();
        wait("the stop at the actuator", || {
            log.all().last().is_some_and(|(_, it, _)| *it)
        });
        // One command was under way, and the next is the present one.
        assert!(
            log.all().len() <= before + 3,
            "{} {before}",
            log.all().len()
        );
        assert!(robot.finish().unwrap().left_out > 0);

        let robot = with_actuator(|_| panic!("the cable is cut"));
        robot.observe(&[250.0; 20]).unwrap();
        wait("the end", || robot.has_ended());
        wait("a reason", || robot.safety_state() != SafetyState::Running);
        let error = format!("{:#}", robot.finish().unwrap_err());
        assert!(error.contains("actuator"), "{error}");
    }

    #[test]
    fn a_keeper_of_stops_cannot_be_asked_for_without_a_session() {
        let mut options = options();
        options.control.start.keeper = true;
        let error = EmbeddedRobot::start(policy(), options, |_| {})
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("control.start.keeper"),
            "{error}"
        );
    }
}
