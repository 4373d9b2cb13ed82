//! `kinestream bench fleet`: throughput against latency of one policy that serves many robots.
//!
//! Every robot observes at the policy's rate, whether it was answered or not, and wants a plan for every Ta
//! of its observations by a deadline. Latencies count from the moment at which an observation was due, so that a program that is
//! late hides nothing. Two orders take turns at every number of robots: by deadlines, as `kinestream run`
//! serves them, and all that wait in one batch.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_control::{Latencies, Percentiles};
use kinestream_diffusion::{Execution, Executor, Precision};
use kinestream_policy::dispatch::{BatchScheduler, InferenceRequest};
use kinestream_policy::engine::TimedObservation;
use kinestream_policy::{Engine, Policy};
use serde::Serialize;

use kinestream_command_line::bench::BenchFleetArguments;
use kinestream_runtime::checkpoint;
use kinestream_terminal::output;
use kinestream_terminal::say;

/// Longest sleep while nobody waits; shorter times are spun away.
const NAP: Duration = Duration::from_micros(200);

#[derive(Debug, Serialize)]
struct FleetReport {
    checkpoint: String,
    device: String,
    threads: usize,
    executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
    /// Observations per second of a robot.
    rate_hz: f64,
    deadline_ms: f64,
    /// Plans with new evaluations per second that each robot asks for.
    plans_per_robot: f64,
    points: Vec<Point>,
}

/// One number of robots, served in one order.
#[derive(Debug, Serialize)]
struct Point {
    robots: usize,
    order: Order,
    /// Plans per second that took evaluations.
    plans_per_second: f64,
    /// From the moment at which an observation was due to its plan.
    latency_ms: Percentiles,
    /// Share of the plans asked for that came by their deadlines.
    in_time: f64,
    /// Streams of an evaluation, on average.
    batch: f64,
}

/// In which order robots that wait are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// The earliest deadline first, in batches as large as they pay and deadlines bear.
    Deadlines,
    /// All that wait, in one batch.
    OneBatch,
}

pub(crate) fn run(arguments: &BenchFleetArguments) -> Result<()> {
    let (device, execution) = super::execution(&arguments.execution)?;
    let Execution {
        precision, threads, ..
    } = execution;
    super::check_seconds(arguments.seconds)?;
    let counts = &arguments.robots;
    ensure!(
        counts.iter().all(|robots| (1..=4096).contains(robots)),
        "--robots is {counts:?}, expected 1 to 4096 each",
    );
    let folder = arguments
        .checkpoint
        .clone()
        .unwrap_or_else(|| checkpoint::SHIPPED.into());
    let policy = |robots| {
        let checkpoint = checkpoint::open(&folder, device)?;
        anyhow::Ok(Policy::executed(checkpoint, device, robots, execution)?)
    };
    let one = policy(1)?;
    ensure!(
        one.cameras().next().is_none(),
        "{}: its policy sees, and bench fleet has nothing to show it",
        folder.display()
    );
    let rate_hz = one.config().task.rate_hz;
    let deadline_ms = arguments.deadline_ms.unwrap_or(1e3 / rate_hz);
    ensure!(
        deadline_ms > 0.0 && deadline_ms <= 60_000.0,
        "--deadline-ms is {deadline_ms}, expected above 0, at most 60000"
    );
    let seconds = arguments.seconds / (2 * counts.len()) as f64;
    let mut points = Vec::new();
    for &robots in counts {
        let mut fleet = Fleet::new(policy(robots)?, deadline_ms)?;
        for order in [Order::Deadlines, Order::OneBatch] {
            points.push(fleet.serve(order, seconds)?);
        }
    }
    let executor = one.executor();
    let report = FleetReport {
        checkpoint: folder.display().to_string(),
        device: arguments.execution.device.clone(),
        threads,
        executor,
        precision: (executor == Executor::Fused).then_some(precision),
        rate_hz,
        deadline_ms,
        plans_per_robot: rate_hz / one.config().plan.action_steps as f64,
        points,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// One policy and the robots that it serves.
struct Fleet {
    engine: Engine,
    dispatcher: BatchScheduler,
    /// What each robot has observed.
    observations: Vec<u64>,
    period: Duration,
    /// From the first observation of one robot to that of the next.
    apart: Duration,
    deadline_ns: u64,
    observation: Vec<f32>,
}

impl Fleet {
    fn new(policy: Policy, deadline_ms: f64) -> Result<Self> {
        let robots = policy.streams();
        let period = Duration::from_secs_f64(1.0 / policy.config().task.rate_hz);
        // Plans take evaluations at every Ta-th observation: those times are spread evenly.
        let between_plans = period * policy.config().plan.action_steps as u32;
        Ok(Self {
            observation: vec![0.0; policy.observation_size()],
            apart: between_plans / robots as u32,
            engine: Engine::new(policy)?,
            dispatcher: BatchScheduler::default(),
            observations: vec![0; robots],
            period,
            deadline_ns: (1e6 * deadline_ms) as u64,
        })
    }

    /// Serves all robots for some seconds, after as long as every one needs for its first plans.
    fn serve(&mut self, order: Order, seconds: f64) -> Result<Point> {
        self.observations.fill(0);
        let robots = self.observations.len();
        let unmeasured = self.apart * robots as u32 * 2;
        let until = unmeasured + Duration::from_secs_f64(seconds);
        let mut tally = Tally::new(unmeasured.as_nanos() as u64);
        let begun = Instant::now();
        let now_ns = || begun.elapsed().as_nanos() as u64;
        for seat in 0..robots {
            self.engine.begin(seat, 1, seat as u64)?;
        }
        let mut demands = Vec::with_capacity(robots);
        while begun.elapsed() < until {
            let next_ns = self.observe(now_ns())?;
            demands.clear();
            for seat in 0..robots {
                match self.engine.demand(seat, self.deadline_ns) {
                    Some(InferenceRequest { owed: 0, .. }) => {
                        std::hint::black_box(self.engine.read(seat, now_ns())?);
                    }
                    demand => demands.extend(demand),
                }
            }
            if demands.is_empty() {
                let left = Duration::from_nanos(next_ns.saturating_sub(now_ns()));
                match left > 2 * NAP {
                    true => std::thread::sleep(left - NAP),
                    false => std::hint::spin_loop(),
                }
                continue;
            }
            let started_ns = now_ns();
            let chosen = match order {
                Order::Deadlines => self.dispatcher.choose(started_ns, &demands).to_vec(),
                Order::OneBatch => demands.iter().map(|demand| demand.stream).collect(),
            };
            self.engine.refine(&chosen)?;
            let ended_ns = now_ns();
            self.dispatcher.took(chosen.len(), ended_ns - started_ns);
            tally.evaluated(started_ns, chosen.len());
            for seat in chosen {
                if self.engine.owed(seat) == 0
                    && let Some(answer) = self.engine.read(seat, now_ns())?
                {
                    tally.answered(answer.arrived_ns, now_ns(), self.deadline_ns);
                }
            }
        }
        let between_plans = self.apart.as_secs_f64() * robots as f64;
        let asked = robots as f64 * seconds / between_plans;
        Ok(tally.point(robots, order, seconds, asked))
    }

    /// Takes all observations that are due, and says when the next one is.
    fn observe(&mut self, now_ns: u64) -> Result<u64> {
        let (period, apart) = (self.period.as_nanos() as u64, self.apart.as_nanos() as u64);
        let mut next_ns = u64::MAX;
        for (seat, observed) in self.observations.iter_mut().enumerate() {
            let mut due_ns = seat as u64 * apart + *observed * period;
            // What comes while an answer is made waits for the next one.
            while due_ns <= now_ns && !self.engine.has_begun(seat) {
                *observed += 1;
                let sensed = TimedObservation {
                    stream: 1,
                    sequence: *observed,
                    time_ns: due_ns,
                    arrived_ns: due_ns,
                    values: &self.observation,
                    images: &[],
                };
                self.engine.take(seat, &sensed)?;
                due_ns += period;
            }
            next_ns = next_ns.min(due_ns);
        }
        Ok(next_ns)
    }
}

/// What became of observations that were due after `from_ns`.
struct Tally {
    from_ns: u64,
    latencies: Latencies,
    late: u64,
    evaluations: u64,
    evaluated: u64,
}

impl Tally {
    fn new(from_ns: u64) -> Self {
        Self {
            from_ns,
            latencies: Latencies::new(),
            late: 0,
            evaluations: 0,
            evaluated: 0,
        }
    }

    fn evaluated(&mut self, now_ns: u64, streams: usize) {
        if now_ns >= self.from_ns {
            self.evaluations += 1;
            self.evaluated += streams as u64;
        }
    }

    fn answered(&mut self, due_ns: u64, now_ns: u64, deadline_ns: u64) {
        if due_ns >= self.from_ns {
            let latency = now_ns.saturating_sub(due_ns);
            self.latencies.record(latency);
            self.late += u64::from(latency > deadline_ns);
        }
    }

    fn point(&self, robots: usize, order: Order, seconds: f64, asked: f64) -> Point {
        let answered = self.latencies.count();
        Point {
            robots,
            order,
            plans_per_second: answered as f64 / seconds,
            latency_ms: self.latencies.percentiles_ms(),
            in_time: ((answered - self.late) as f64 / asked).min(1.0),
            batch: self.evaluated as f64 / self.evaluations.max(1) as f64,
        }
    }
}

fn print(report: &FleetReport) {
    say!(
        "{} on {}, {} threads, {}",
        report.checkpoint,
        report.device,
        report.threads,
        output::executed(report.executor, report.precision)
    );
    say!(
        "each robot observes {} times a second, asks for {:.2} plans a second, within {:.1} ms",
        report.rate_hz,
        report.plans_per_robot,
        report.deadline_ms
    );
    say!("  robots  order       plans/s  p50 ms    p99 ms    max ms    in time %  batch");
    for point in &report.points {
        let order = match point.order {
            Order::Deadlines => "deadlines",
            Order::OneBatch => "one batch",
        };
        let Percentiles { p50, p99, max, .. } = point.latency_ms;
        say!(
            "  {:>6}  {order:<10}  {:>7.0}  {p50:<8.3}  {p99:<8.3}  {max:<8.3}  {:>9.2}  {:.1}",
            point.robots,
            point.plans_per_second,
            100.0 * point.in_time,
            point.batch
        );
    }
}
