//! `kinestream bench bridge`: one-way latency of actions, plans and poses over loopback, beside bare zenoh with the same
//! bytes in the same run.
//!
//! A publisher session listens on a free port; every subscriber is a session of its own, connected by TCP. Messages of
//! kinestream and bare puts take turns, half a period apart. The time of a message begins before it is encoded and ends
//! when its callback has it decoded; that of a bare put begins before the put and ends in its callback.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_bridge::node::{Channel, Publisher, SessionOptions, Subscription, loopback_pair};
use kinestream_bridge::wire::{ActionFlags, Contacts, Decode, Encode, PoseFlags};
use kinestream_bridge::{Action, Node, Plan, Pose, Stamp};
use kinestream_control::clock::wake_promptly;
use kinestream_control::{Clock, Latencies, Monotonic, Percentiles};
use serde::Serialize;
use zenoh::Wait;
use zenoh::qos::{CongestionControl, Priority};

use kinestream_command_line::bench::{BenchBridgeArguments, Bridged};
use kinestream_runtime::clock::stamp;
use kinestream_terminal::{output, say};

/// Where the header has its sequence number.
const SEQUENCE_AT: usize = 8;
/// Messages of each kind before the first that counts.
const WARM_UP: u64 = 20;
/// How long subscribers may take to be there, and the last messages to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
const LAST: Duration = Duration::from_millis(300);
/// Samples that a share of a thousand needs to mean something.
const ENOUGH: u64 = 1000;

#[derive(Debug, Serialize)]
struct Report {
    seconds: f64,
    cores: usize,
    messages: Vec<Row>,
}

/// One message at one rate to so many subscribers.
#[derive(Debug, Serialize)]
struct Row {
    kind: Bridged,
    bytes: usize,
    rate_hz: f64,
    subscribers: usize,
    sent: u64,
    /// Share of all subscribers' messages that arrived.
    delivered: f64,
    latency_us: Percentiles,
    /// The same bytes put by bare zenoh.
    raw_delivered: f64,
    raw_latency_us: Percentiles,
    /// kinestream's latency over that of bare zenoh.
    ratio_p50: f64,
    ratio_p99: f64,
    /// None with fewer than a thousand samples.
    ratio_p999: Option<f64>,
}

pub(crate) fn run(arguments: &BenchBridgeArguments) -> Result<()> {
    let BenchBridgeArguments {
        rates,
        subscribers,
        messages,
        seconds,
        ..
    } = arguments;
    ensure!(
        *seconds > 0.0 && seconds.is_finite(),
        "--seconds is {seconds}, expected above 0"
    );
    for rate in rates {
        ensure!(
            *rate > 0.0 && *rate <= 10_000.0,
            "--rate: {rate} is not between 0 and 10000"
        );
    }
    for count in subscribers {
        ensure!(
            (1..=1000).contains(count),
            "--subscribers: {count} is not between 1 and 1000"
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let line = output::status_line();
    wake_promptly();
    let mut rows = Vec::new();
    for &subscribers in subscribers {
        line.set_message(format!("{subscribers} subscribers: connecting"));
        let network = Network::open(subscribers)?;
        for &message in messages {
            for &rate_hz in rates {
                line.set_message(format!("{}: {rate_hz} Hz to {subscribers}", message.name()));
                rows.push(match message {
                    Bridged::Action => {
                        network.measure(message, rate_hz, *seconds, &mut action())?
                    }
                    Bridged::Plan => network.measure(message, rate_hz, *seconds, &mut plan())?,
                    Bridged::Pose => network.measure(message, rate_hz, *seconds, &mut pose())?,
                });
            }
        }
    }
    line.finish_and_clear();
    let report = Report {
        seconds: *seconds,
        cores,
        messages: rows,
    };
    if arguments.json {
        return output::json(&report);
    }
    report.print();
    Ok(())
}

/// A message that can be numbered.
trait Numbered: Encode + Decode {
    const CHANNEL: Channel<'static>;
    fn stamp(&mut self) -> &mut Stamp;
    fn sequence(view: &Self::View<'_>) -> u64;
}

macro_rules! numbered {
    ($($type:ty, $channel:ident);*) => {
        $(
            impl Numbered for $type {
                const CHANNEL: Channel<'static> = Channel::$channel;

                fn stamp(&mut self) -> &mut Stamp {
                    &mut self.stamp
                }

                fn sequence(view: &Self::View<'_>) -> u64 {
                    view.stamp.sequence
                }
            }
        )*
    };
}

numbered!(Action, Action; Plan, Plan; Pose, Pose);

/// Seven joints.
fn action() -> Action {
    Action {
        stamp: Stamp::default(),
        chunk: 1,
        position: 0.5,
        noise: 0.0,
        flags: ActionFlags(0),
        values: vec![0.5; 7],
    }
}

/// Sixteen positions of seven joints.
fn plan() -> Plan {
    Plan {
        stamp: Stamp::default(),
        chunk: 1,
        observation_sequence: 1,
        first_action_ns: 1,
        period_ns: 100_000_000,
        dims: 7,
        committed: 4,
        levels: 16,
        noise: (0..16).map(|position| position as f32 / 16.0).collect(),
        level: (0..16).collect(),
        actions: vec![0.5; 16 * 7],
    }
}

/// A skeleton of 22 joints.
fn pose() -> Pose {
    Pose {
        stamp: Stamp::default(),
        frame: 1,
        frame_ns: 1,
        period_ns: 16_666_666,
        contacts: Contacts(0),
        flags: PoseFlags(0),
        phase: 0.5,
        root_position: [0.0, 0.9, 0.0],
        root_velocity: [0.0; 3],
        yaw_rate: 0.0,
        rotations: vec![[0.0, 0.0, 0.0, 1.0]; 22],
    }
}

/// A publisher and its subscribers, each with a session of its own.
struct Network {
    publisher: Node,
    subscribers: Vec<Node>,
}

/// When the messages of one side were sent, by sequence.
struct Sent(Vec<AtomicU64>);

impl Sent {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self((0..=count).map(|_| AtomicU64::new(0)).collect()))
    }

    fn mark(&self, sequence: u64) {
        if let Some(place) = self.0.get(sequence as usize) {
            place.store(Monotonic.now_ns(), Ordering::Release);
        }
    }
}

/// What one subscriber saw of one side.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u64>>>);

impl Seen {
    fn record(&self, sent: &Sent, sequence: u64) {
        let now_ns = Monotonic.now_ns();
        if sequence <= WARM_UP {
            return;
        }
        if let Some(place) = sent.0.get(sequence as usize) {
            let took = now_ns.saturating_sub(place.load(Ordering::Acquire));
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(took);
        }
    }
}

impl Network {
    fn open(subscribers: usize) -> Result<Self> {
        let (listener, connector): (SessionOptions, SessionOptions) = loopback_pair("bench")?;
        let publisher = Node::open(&listener, "robot", "publisher")?;
        let connected = (0..subscribers)
            .map(|number| Node::open(&connector, "robot", &format!("subscriber{number}")));
        Ok(Self {
            subscribers: connected.collect::<Result<_, _>>()?,
            publisher,
        })
    }

    fn measure<M: Numbered>(
        &self,
        name: Bridged,
        rate_hz: f64,
        seconds: f64,
        message: &mut M,
    ) -> Result<Row> {
        let count = WARM_UP + (seconds * rate_hz).ceil() as u64;
        let (sent, bare_sent) = (Sent::new(count), Sent::new(count));
        let mut ours = self.publisher.publisher(M::CHANNEL)?;
        let key = ours.key().to_owned();
        let bare_key = format!("{key}/bare");
        let bare = self
            .publisher
            .session()
            .declare_publisher(bare_key.clone())
            .priority(if name == Bridged::Plan {
                Priority::InteractiveHigh
            } else {
                Priority::RealTime
            })
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .wait()
            .map_err(|error| anyhow::anyhow!("cannot declare {bare_key}: {error}"))?;

        let mut seen: Vec<(Seen, Seen)> = Vec::new();
        let mut subscriptions: Vec<Subscription> = Vec::new();
        let mut bare_subscriptions = Vec::new();
        for node in &self.subscribers {
            let (here, bare_here) = (Seen::default(), Seen::default());
            seen.push((here.clone(), bare_here.clone()));
            let times = Arc::clone(&sent);
            subscriptions.push(node.subscribe::<M, _>(&key, move |view| {
                here.record(&times, M::sequence(&view));
            })?);
            let times = Arc::clone(&bare_sent);
            let subscription = node
                .session()
                .declare_subscriber(bare_key.clone())
                .callback(move |sample| {
                    let bytes = sample.payload().to_bytes();
                    if let Some(number) = bytes
                        .get(SEQUENCE_AT..SEQUENCE_AT + 8)
                        .and_then(|number| number.try_into().ok())
                    {
                        bare_here.record(&times, u64::from_le_bytes(number));
                    }
                })
                .wait()
                .map_err(|error| anyhow::anyhow!("cannot subscribe to {bare_key}: {error}"))?;
            bare_subscriptions.push(subscription);
        }
        self.wait_for_all(&mut ours, message, &subscriptions)?;

        let mut buffer = Vec::new();
        let half_ns = (5e8 / rate_hz) as u64;
        let begin_ns = Monotonic.now_ns() + half_ns;
        for sequence in 1..=count {
            let due_ns = begin_ns + 2 * (sequence - 1) * half_ns;
            Monotonic.sleep_until(due_ns);
            *message.stamp() = stamp(sequence, 0);
            sent.mark(sequence);
            ours.publish(message)?;

            message.encode_into(&mut buffer)?;
            Monotonic.sleep_until(due_ns + half_ns);
            bare_sent.mark(sequence);
            bare.put(buffer.as_slice())
                .wait()
                .map_err(|error| anyhow::anyhow!("cannot put {bare_key}: {error}"))?;
        }
        std::thread::sleep(LAST);
        drop((subscriptions, bare_subscriptions));
        let counted = count - WARM_UP;
        let subscribers = self.subscribers.len();
        let all_of = |of: fn(&(Seen, Seen)) -> &Seen| {
            let mut all = Latencies::new();
            for seen in &seen {
                let took = of(seen).0.lock().unwrap_or_else(PoisonError::into_inner);
                took.iter().for_each(|took| all.record(*took));
            }
            all
        };
        let (ours, raw) = (all_of(|seen| &seen.0), all_of(|seen| &seen.1));
        ensure!(
            ours.count() > 0 && raw.count() > 0,
            "nothing arrived at {rate_hz} Hz with {subscribers} subscribers; try a lower rate"
        );
        let share = |all: &Latencies| all.count() as f64 / (counted * subscribers as u64) as f64;
        let (latency_us, raw_latency_us) = (ours.percentiles_us(), raw.percentiles_us());
        Ok(Row {
            kind: name,
            bytes: buffer.len(),
            rate_hz,
            subscribers,
            sent: counted,
            delivered: share(&ours),
            raw_delivered: share(&raw),
            ratio_p50: latency_us.p50 / raw_latency_us.p50,
            ratio_p99: latency_us.p99 / raw_latency_us.p99,
            ratio_p999: (ours.count().min(raw.count()) >= ENOUGH)
                .then(|| latency_us.p999 / raw_latency_us.p999),
            latency_us,
            raw_latency_us,
        })
    }

    /// Sends until every subscriber hears.
    fn wait_for_all<M: Numbered>(
        &self,
        publisher: &mut Publisher,
        message: &mut M,
        subscriptions: &[Subscription],
    ) -> Result<()> {
        let begun = Instant::now();
        // Without a number, so that it is not counted.
        *message.stamp() = stamp(0, 0);
        loop {
            publisher.publish(message)?;
            std::thread::sleep(Duration::from_millis(20));
            let hears = |subscription: &Subscription| subscription.counts().received() > 0;
            let missing = subscriptions.iter().filter(|one| !hears(one)).count();
            if missing == 0 {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{missing} of {} subscribers hear nothing",
                self.subscribers.len()
            );
        }
    }
}

impl Report {
    fn print(&self) {
        say!(
            "one-way latency over loopback, microseconds; {} cores",
            self.cores
        );
        say!(
            "{:8}{:>7}{:>9}{:>6}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>11}",
            "message",
            "bytes",
            "rate Hz",
            "subs",
            "p50",
            "p99",
            "p99.9",
            "bare p50",
            "x p50",
            "x p99",
            "delivered"
        );
        for row in &self.messages {
            say!(
                "{:8}{:>7}{:>9}{:>6}{:>10.0}{:>10.0}{:>10.0}{:>10.0}{:>8.2}{:>8.2}{:>10.1}%",
                row.kind.name(),
                row.bytes,
                row.rate_hz,
                row.subscribers,
                row.latency_us.p50,
                row.latency_us.p99,
                row.latency_us.p999,
                row.raw_latency_us.p50,
                row.ratio_p50,
                row.ratio_p99,
                100.0 * row.delivered
            );
        }
    }
}
