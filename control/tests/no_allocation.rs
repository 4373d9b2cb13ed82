//! The control thread's side uses the heap at start only: proven with a counting allocator, in virtual time.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use kinestream_control::allocations::{CountingAllocator, is_counting};
use kinestream_control::{
    Activity, Clock, Controller, ControllerConfig, HealthInputs, Interpolation, LimitsConfig,
    LoopOptions, MissPolicy, PerJoint, Plan, PlanHeader, PlanWriter, RealtimeConfig, StartConfig,
    TickInputs, Timing, TimingGauge, WatchdogConfig, fixed_rate, latest_plan,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ACTION_SIZE: usize = 7;
const POSITIONS: usize = 16;
/// Ticks at least; the loop goes on until enough plans have arrived.
const TICKS: u64 = 5000;
/// Plans that the control thread takes up at least.
const PLANS: u64 = 200;
const OPTIONS: LoopOptions = LoopOptions {
    rate_hz: 500.0,
    missed: MissPolicy::Skip,
    realtime: RealtimeConfig {
        priority: 0,
        cpu: None,
        lock_memory: false,
        idle_latency_us: None,
        strict: false,
    },
};

/// Moves only when slept on or pushed.
struct VirtualClock(Cell<u64>);

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn sleep_until(&self, deadline_ns: u64) -> u64 {
        self.0.set(self.0.get().max(deadline_ns));
        self.0.get()
    }
}

/// Publishes plans of all lengths, at all distances from one another, until told to stop; takes every tenth back.
fn publish(mut plans: PlanWriter, stop: &AtomicBool) {
    let mut chunk = 0;
    while !stop.load(Ordering::Relaxed) {
        chunk += 1;
        let positions = 1 + chunk as usize % POSITIONS;
        let header = PlanHeader {
            stream: (chunk / 50) as u32,
            chunk,
            observation_sequence: chunk,
            start_ns: chunk * 37_000_000,
            period_ns: 100_000_000,
            action_size: ACTION_SIZE,
            committed: 1 + chunk as usize % positions,
        };
        let actions = (0..positions * ACTION_SIZE).map(|at| (at as f32 * 0.7).sin());
        plans
            .publish(&Plan::new(header, actions.collect()).unwrap())
            .unwrap();
        if chunk.is_multiple_of(10) {
            plans.withdraw();
        }
        std::thread::yield_now();
    }
}

/// Everything on: limits that intervene, an orientation, a ladder with short times.
fn controller(interpolation: Interpolation) -> Controller {
    let config = ControllerConfig {
        interpolation: interpolation.into(),
        orientations: vec![[3, 4, 5, 6].into()],
        limits: LimitsConfig {
            lower: Some(PerJoint::All(-0.9)),
            upper: Some(PerJoint::All(0.99)),
            velocity: Some(PerJoint::All(2.0)),
            acceleration: Some(PerJoint::All(20.0)),
            jerk: Some(PerJoint::All(500.0)),
            angular_velocity: Some(1.0),
        },
        watchdog: WatchdogConfig {
            observation_timeout_ms: 50.0,
            plan_timeout_ms: 400.0,
            safe_stop_after_ms: 20.0,
            ..WatchdogConfig::default()
        },
        start: StartConfig {
            farthest: Some(PerJoint::All(1.9)),
            ..StartConfig::default()
        },
        home: vec![0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0],
    };
    Controller::new(&config, ACTION_SIZE, 2_000_000).unwrap()
}

/// What a period knows: now and then a stop, a request to re-arm, a NaN-free silence.
fn inputs(index: u64, deadline_ns: u64, now_ns: u64) -> TickInputs {
    TickInputs {
        index,
        deadline_ns,
        now_ns,
        facts: HealthInputs {
            observation_ns: now_ns - now_ns % 60_000_000,
            policy_alive: !index.is_multiple_of(911),
            session_alive: !index.is_multiple_of(787),
            stop_requests: index / 700,
            rearm_requests: index / 70,
            activity: match index % 1500 {
                0..200 => Activity::Home,
                200..250 => Activity::Pause,
                _ => Activity::Policy,
            },
            ..HealthInputs::default()
        },
    }
}

/// The whole path of a command, with plans from another thread; also returns how many commands came out of the ring.
fn run_path(interpolation: Interpolation) -> (Timing, u64) {
    let (writer, mut plans) = latest_plan(POSITIONS, ACTION_SIZE);
    let (sender, mut receiver) = rtrb::RingBuffer::<[f64; ACTION_SIZE]>::new(64);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| publish(writer, &stop));
        let received = scope.spawn(|| {
            let mut received = 0;
            // Now and then the ring is full, as behind a slow publisher.
            while !receiver.is_abandoned() {
                std::thread::yield_now();
                while receiver.pop().is_ok() {
                    received += 1;
                }
            }
            received
        });
        let control = scope.spawn(|| {
            let (clock, gauge) = (VirtualClock(Cell::new(0)), TimingGauge::default());
            let mut controller = controller(interpolation);
            let mut sender = sender;
            let timing = fixed_rate::run(&OPTIONS, &clock, &gauge, &stop, |tick| {
                let inputs = inputs(tick.index, tick.deadline_ns, tick.now_ns);
                let output = controller.tick(&inputs, plans.latest());
                let mut values = [0.0; ACTION_SIZE];
                values.copy_from_slice(controller.command());
                if output.publish {
                    let _ = sender.push(values);
                }
                // Some ticks take long enough to miss periods.
                let cost_ns = if tick.index % 97 == 0 {
                    9_000_000
                } else {
                    40_000
                };
                clock.0.set(clock.0.get() + cost_ns);
                std::thread::yield_now();
                if tick.index >= TICKS && plans.received() >= PLANS {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            stop.store(true, Ordering::Relaxed);
            drop(sender);
            timing.unwrap()
        });
        (control.join().unwrap(), received.join().unwrap())
    })
}

#[test]
fn a_tick_uses_no_heap() {
    for interpolation in [
        Interpolation::Hold,
        Interpolation::Linear,
        Interpolation::Cubic,
    ] {
        let (timing, received) = run_path(interpolation);
        assert_eq!(timing.allocations, Some(0), "{interpolation:?}");
        assert!(timing.missed > 0 && timing.lateness.count() == timing.ticks);
        assert!(received > 0);
    }
}

#[test]
fn what_a_tick_allocates_is_seen() {
    assert!(is_counting());
    let (clock, gauge) = (VirtualClock(Cell::new(0)), TimingGauge::default());
    let stop = AtomicBool::new(false);
    let timing = fixed_rate::run(&OPTIONS, &clock, &gauge, &stop, |tick| {
        // One allocation and one release.
        drop(std::hint::black_box(Box::new(tick)));
        if tick.index == 9 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(timing.unwrap().report().allocations, Some(20));
}
