//! A policy among robots: observations put together from topics, commands and plans told as messages.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kinestream_bridge::node::{Channel, Publisher, Subscription};
use kinestream_bridge::ros2::messages::{
    Float64MultiArray, Header, JointState, JointTrajectory, PoseStamped, Time, Twist,
};
use kinestream_bridge::ros2::{
    Assembled, Assembly, Layout, Message, Pace, Qos, Ros2Node, Ros2Publisher, Ros2Subscription,
    VectorError, VectorMessage,
};
use kinestream_bridge::wire::{Name, Values};
use kinestream_bridge::{Action, Node, Observation, Plan};
use kinestream_control::{Clock, Monotonic};

use super::config::{ObservationConfig, PartConfig, PublishConfig, Ros2Config, Source};
use super::{Counters, Sizes, camera, complain, lock, period_ns};
use crate::clock::{stamp, wall_ns};

/// Noise level up to which a position of a plan is clean.
const CLEAN: f32 = 1e-6;

/// Subscriptions of both worlds.
pub(super) struct RobotSide {
    theirs: Vec<Ros2Subscription>,
    _ours: Vec<Subscription>,
}

impl RobotSide {
    pub(super) fn start(
        node: &Node,
        ros: &Ros2Node,
        config: &Ros2Config,
        sizes: &Sizes,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let theirs = match &config.observation {
            Some(observation) => {
                listen(node, ros, observation, sizes, counters).context("observation")?
            }
            None => Vec::new(),
        };
        let mut ours = Vec::new();
        for publish in &config.publish {
            let context = || format!("publish {}", publish.topic);
            let outlet = Outlet::open(ros, publish, sizes).with_context(context)?;
            ours.push(tell(node, publish, outlet, Arc::clone(counters)).with_context(context)?);
        }
        Ok(Self {
            theirs,
            _ours: ours,
        })
    }

    pub(super) fn subscriptions(&self) -> &[Ros2Subscription] {
        &self.theirs
    }
}

/// Where observations are put together and sent from.
struct Observer {
    assembly: Mutex<(Assembly, Publisher, u64)>,
    topics: Vec<String>,
    name: Name,
    stream: u32,
    counters: Arc<Counters>,
}

fn listen(
    node: &Node,
    ros: &Ros2Node,
    config: &ObservationConfig,
    sizes: &Sizes,
    counters: &Arc<Counters>,
) -> Result<Vec<Ros2Subscription>> {
    ensure!(
        !config.parts.is_empty(),
        "parts: expected at least one topic, found none"
    );
    ensure!(
        config.max_age_s > 0.0 && config.max_age_s.is_finite(),
        "max_age_s is {}, expected above 0",
        config.max_age_s
    );
    let rate_hz = config.rate_hz.or(sizes.rate_hz).ok_or_else(|| {
        anyhow!("rate_hz: expected observations per second, as the policy was trained, found none")
    })?;
    let mut layouts = Vec::new();
    for part in &config.parts {
        let PartConfig {
            message,
            names,
            fields,
            size,
            ..
        } = part;
        ensure!(
            *message != VectorMessage::JointTrajectory,
            "{}: a JointTrajectory is written and not read; expected sensor_msgs/JointState",
            part.topic
        );
        let layout =
            Layout::new(*message, names, fields, *size).with_context(|| part.topic.clone())?;
        layouts.push(layout);
    }
    let of_parts: Vec<usize> = layouts.iter().map(Layout::size).collect();
    let found: usize = of_parts.iter().sum();
    if let Some(expected) = sizes.observation {
        ensure!(
            found == expected,
            "the parts have {of_parts:?} numbers, {found} in all; the policy observes {expected}"
        );
    }
    let period_ns = period_ns(Some(rate_hz), "rate_hz")?;
    let max_age_ns = (config.max_age_s * 1e9) as u64;
    let assembly = Assembly::new(&of_parts, period_ns, max_age_ns);
    let publisher = node.publisher(Channel::Observation("state"))?;
    let observer = Arc::new(Observer {
        assembly: Mutex::new((assembly, publisher, 0)),
        topics: config.parts.iter().map(|part| part.topic.clone()).collect(),
        name: Name::new("state")?,
        // Another one at every start, so that a runtime that outlives this process begins afresh with it.
        stream: (wall_ns() / 1_000_000_000) as u32,
        counters: Arc::clone(counters),
    });
    let mut subscriptions = Vec::new();
    for (index, (part, layout)) in config.parts.iter().zip(layouts).enumerate() {
        let (topic, qos) = (part.topic.as_str(), part.qos.qos());
        let observer = Arc::clone(&observer);
        let whole = layout.clone();
        subscriptions.push(match layout.message() {
            VectorMessage::JointState => observe::<JointState>(
                ros,
                topic,
                qos,
                observer,
                index,
                |message| message.header.stamp,
                move |message| whole.joint_state(&message),
            ),
            VectorMessage::PoseStamped => observe::<PoseStamped>(
                ros,
                topic,
                qos,
                observer,
                index,
                |message| message.header.stamp,
                move |message| Ok(whole.pose(&message)),
            ),
            VectorMessage::Twist => observe::<Twist>(
                ros,
                topic,
                qos,
                observer,
                index,
                |_| Time::default(),
                move |message| Ok(whole.twist(&message)),
            ),
            VectorMessage::Float64MultiArray => observe::<Float64MultiArray>(
                ros,
                topic,
                qos,
                observer,
                index,
                |_| Time::default(),
                move |message| whole.array(message),
            ),
            VectorMessage::JointTrajectory => bail!("{topic}: not read"),
        }?);
    }
    subscriptions.extend(camera::listen(node, ros, &config.cameras, sizes, counters)?);
    Ok(subscriptions)
}

/// Takes a topic's messages as one part of the observation.
fn observe<M: Message>(
    ros: &Ros2Node,
    topic: &str,
    qos: Qos,
    observer: Arc<Observer>,
    part: usize,
    stamped: impl Fn(&M) -> Time + Send + Sync + 'static,
    read: impl Fn(M) -> Result<Vec<f64>, VectorError> + Send + Sync + 'static,
) -> Result<Ros2Subscription> {
    Ok(ros.subscribe::<M, _>(topic, qos, move |message| {
        let stamped = stamped(&message);
        match read(message) {
            Ok(values) => observer.take(part, stamped, values),
            Err(error) => {
                complain(&observer.counters.refused, &observer.topics[part], &error);
            }
        }
    })?)
}

impl Observer {
    fn take(&self, part: usize, stamped: Time, values: Vec<f64>) {
        let (assembly, publisher, sequence) = &mut *lock(&self.assembly);
        match assembly.take(part, values, Monotonic.now_ns()) {
            Assembled::Waiting => {}
            Assembled::Incomplete { part, age_ns } => {
                let state = match age_ns {
                    None => "nothing has arrived yet; no observation".to_owned(),
                    Some(age) => format!("{:.2} s old; no observation", age as f64 / 1e9),
                };
                complain(&self.counters.incomplete, &self.topics[part], &state);
            }
            Assembled::Whole(values) => {
                *sequence += 1;
                let mut stamp = stamp(*sequence, self.stream);
                let sensed_ns = stamped.nanoseconds();
                if sensed_ns != 0 {
                    stamp.wall_ns = sensed_ns;
                }
                let observation = Observation {
                    stamp,
                    name: self.name,
                    values: Values::F64(values),
                };
                match publisher.publish(&observation) {
                    Ok(_) => {
                        self.counters.observations.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => complain(&self.counters.refused, &self.topics[0], &error),
                }
            }
        }
    }
}

/// A topic that is written.
struct Outlet {
    layout: Layout,
    frame: String,
    pace: Pace,
    publisher: Kind,
}

enum Kind {
    Joints(Ros2Publisher<JointState>),
    Trajectory(Ros2Publisher<JointTrajectory>),
    Array(Ros2Publisher<Float64MultiArray>),
    Pose(Ros2Publisher<PoseStamped>),
    Twist(Ros2Publisher<Twist>),
}

impl Outlet {
    fn open(ros: &Ros2Node, config: &PublishConfig, sizes: &Sizes) -> Result<Self> {
        let PublishConfig {
            topic,
            message,
            from,
            columns,
            names,
            fields,
            ..
        } = config;
        let is_trajectory = *message == VectorMessage::JointTrajectory;
        ensure!(
            *from == Source::Action || is_trajectory,
            "from = \"plan\": expected message = \"trajectory_msgs/JointTrajectory\", found another one"
        );
        let told = if columns.is_empty() {
            sizes.action
        } else {
            Some(columns.len())
        };
        let is_array = *message == VectorMessage::Float64MultiArray;
        ensure!(
            told.is_some() || !is_array,
            "columns: expected which numbers of an action are told, such as [0, 1], found none"
        );
        let size = told.filter(|_| is_array);
        let layout = Layout::new(*message, names, fields, size)?;
        if let (Some(last), Some(action)) = (columns.iter().max(), sizes.action) {
            ensure!(
                *last < action,
                "columns: {last} is none of an action's {action} numbers, counted from 0"
            );
        }
        if let Some(told) = told {
            ensure!(
                layout.size() == told,
                "names and fields ask for {} numbers, {} are told; columns chooses some",
                layout.size(),
                told
            );
        }
        let qos = config.qos.qos();
        Ok(Self {
            frame: config.frame.clone(),
            pace: Pace::new(period_ns(config.rate_hz, "rate_hz")?),
            publisher: match message {
                VectorMessage::JointState => Kind::Joints(ros.publisher(topic, qos)?),
                VectorMessage::JointTrajectory => Kind::Trajectory(ros.publisher(topic, qos)?),
                VectorMessage::Float64MultiArray => Kind::Array(ros.publisher(topic, qos)?),
                VectorMessage::PoseStamped => Kind::Pose(ros.publisher(topic, qos)?),
                VectorMessage::Twist => Kind::Twist(ros.publisher(topic, qos)?),
            },
            layout,
        })
    }

    /// Whether a message is wanted now.
    fn is_due(&mut self) -> bool {
        let wanted = match &self.publisher {
            Kind::Joints(publisher) => publisher.is_wanted(),
            Kind::Trajectory(publisher) => publisher.is_wanted(),
            Kind::Array(publisher) => publisher.is_wanted(),
            Kind::Pose(publisher) => publisher.is_wanted(),
            Kind::Twist(publisher) => publisher.is_wanted(),
        };
        wanted && self.pace.take(Monotonic.now_ns())
    }

    /// Tells a command that counts for `period_ns`.
    fn command(&mut self, values: &[f64], period_ns: u64) -> Result<bool> {
        let now_ns = wall_ns();
        let header = self.header(Time::from_nanoseconds(now_ns));
        let layout = &self.layout;
        Ok(match &mut self.publisher {
            Kind::Joints(publisher) => {
                publisher.publish(&layout.to_joint_state(header, values)?, now_ns)?
            }
            Kind::Trajectory(publisher) => {
                // A stamp of zero means "now" to controllers, whatever their clock says.
                let header = Header {
                    stamp: Time::default(),
                    ..header
                };
                let points = [(period_ns, values)];
                publisher.publish(&layout.to_trajectory(header, points)?, now_ns)?
            }
            Kind::Array(publisher) => publisher.publish(&layout.to_array(values)?, now_ns)?,
            Kind::Pose(publisher) => publisher.publish(&layout.to_pose(header, values)?, now_ns)?,
            Kind::Twist(publisher) => publisher.publish(&layout.to_twist(values)?, now_ns)?,
        })
    }

    /// Tells a plan, as actions `period_ns` apart; the first is due `due_ns` after the epoch.
    fn plan(&mut self, actions: &[Vec<f64>], due_ns: u64, period_ns: u64) -> Result<bool> {
        let header = self.header(Time::from_nanoseconds(due_ns));
        let Kind::Trajectory(publisher) = &mut self.publisher else {
            bail!("only a trajectory tells a plan");
        };
        let points = (0..).zip(actions).map(|(position, action)| {
            let after_ns: u64 = position * period_ns;
            (after_ns, action.as_slice())
        });
        Ok(publisher.publish(&self.layout.to_trajectory(header, points)?, wall_ns())?)
    }

    fn header(&self, stamp: Time) -> Header {
        Header {
            stamp,
            frame_id: self.frame.clone(),
        }
    }
}

/// Tells a topic of every command or plan of the robot.
fn tell(
    node: &Node,
    config: &PublishConfig,
    outlet: Outlet,
    counters: Arc<Counters>,
) -> Result<Subscription> {
    let (outlet, columns) = (Mutex::new(outlet), config.columns.clone());
    let topic = config.topic.clone();
    let count = move |told: Result<bool>| match told {
        Ok(sent) => {
            counters.sent.fetch_add(u64::from(sent), Ordering::Relaxed);
        }
        Err(error) => complain(&counters.refused, &topic, &format!("{error:#}")),
    };
    let period_ns = Gap::default();
    Ok(match config.from {
        Source::Action => node.subscribe::<Action, _>(&node.keys().action(), move |action| {
            let mut outlet = lock(&outlet);
            let period_ns = period_ns.between(action.stamp.monotonic_ns);
            if outlet.is_due() {
                let values = doubles(&action.values.to_vec());
                count(
                    chosen(&values, &columns).and_then(|values| outlet.command(&values, period_ns)),
                );
            }
        })?,
        Source::Plan => node.subscribe::<Plan, _>(&node.keys().plan(), move |plan| {
            let mut outlet = lock(&outlet);
            if !outlet.is_due() {
                return;
            }
            let noise = plan.noise.to_vec();
            let clean = noise.iter().take_while(|noise| **noise <= CLEAN).count();
            let values = doubles(&plan.actions.to_vec());
            let actions: Result<Vec<_>> = values
                .chunks(plan.dims.max(1) as usize)
                .take(clean)
                .map(|action| chosen(action, &columns))
                .collect();
            // From the sender's monotonic clock to the one of everybody.
            let ahead = plan.first_action_ns as i128 - plan.stamp.monotonic_ns as i128;
            let due = (plan.stamp.wall_ns as i128 + ahead).max(0) as u64;
            count(actions.and_then(|actions| outlet.plan(&actions, due, plan.period_ns)));
        })?,
    })
}

/// Time from one command to the next, as their stamps tell it.
#[derive(Default)]
struct Gap(Mutex<u64>);

impl Gap {
    fn between(&self, due_ns: u64) -> u64 {
        let mut last = lock(&self.0);
        let period = due_ns.saturating_sub(*last);
        *last = due_ns;
        // The first has none before it; a hundredth of a second is the rate by default.
        if period == 0 || period > 1_000_000_000 {
            10_000_000
        } else {
            period
        }
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// The columns of an action that are told; all where none are named.
fn chosen(action: &[f64], columns: &[usize]) -> Result<Vec<f64>> {
    if columns.is_empty() {
        return Ok(action.to_vec());
    }
    let value = |&at: &usize| {
        let found = action.len();
        action
            .get(at)
            .copied()
            .ok_or_else(|| anyhow!("columns: {at} is none of an action's {found} numbers"))
    };
    columns.iter().map(value).collect()
}
