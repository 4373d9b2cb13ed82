//! `kinestream bench stop`: every way of stopping a robot under every condition, from the request to the first command that
//! stops, as the robot receives it.

mod relay;
mod robot;
mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use self::robot::Robot;
use self::scene::{LINE_DELAY, Scene};
use kinestream_command_line::bench::{BenchStopArguments, StopCondition, StopWay};
use kinestream_terminal::{output, say};

/// How long a stop may take to count as arrived at all.
const LIMIT: Duration = Duration::from_secs(5);
/// What may be added to a control period and the line's own delay.
const ALLOWANCE_MS: f64 = 5.0;
/// Nothing may take longer than this on loopback.
const WORST_MS: f64 = 50.0;

#[derive(Debug, Serialize)]
struct Report {
    period_ms: f64,
    runs: usize,
    rows: Vec<Row>,
}

/// One way under one condition.
#[derive(Debug, Serialize)]
struct Row {
    way: StopWay,
    condition: StopCondition,
    /// Stops asked for.
    runs: usize,
    /// Whether all of them led to a command that stops.
    arrived: bool,
    /// Of those that arrived; none without any.
    median_ms: Option<f64>,
    max_ms: Option<f64>,
    /// The line's own part of that: what a stop cannot be faster than.
    line_ms: f64,
    /// Whether the longest is within a period, the line and 5 ms.
    within: bool,
    /// Whether it is within 50 ms and the line.
    within_worst: bool,
    /// Why it could not be measured, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

pub(crate) fn run(arguments: &BenchStopArguments) -> Result<()> {
    ensure!(
        (1..=1000).contains(&arguments.runs),
        "--runs is {}, expected 1 to 1000",
        arguments.runs
    );
    let all = |asked: &[StopWay]| match asked {
        [] => StopWay::value_variants().to_vec(),
        asked => asked.to_vec(),
    };
    let ways = all(&arguments.ways);
    let conditions = match &arguments.conditions[..] {
        [] => StopCondition::value_variants().to_vec(),
        asked => asked.to_vec(),
    };
    let mut rows = Vec::new();
    let bar = output::progress((ways.len() * conditions.len()) as u64, "rows");
    for &condition in &conditions {
        let mut stage = Stage {
            condition,
            running: None,
        };
        for &way in &ways {
            bar.set_message(format!("{} while {}", name(way), name(condition)));
            rows.push(measure(&mut stage, way, arguments.runs));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let report = Report {
        period_ms: scene::PERIOD_MS,
        runs: arguments.runs,
        rows,
    };
    if arguments.json {
        return output::json(&report);
    }
    say!("| way | condition | arrived | median, ms | longest, ms | line, ms |");
    say!("|---|---|---|---|---|---|");
    for row in &report.rows {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        let arrived = match &row.skipped {
            Some(reason) => format!("not measured: {reason}"),
            None => if row.arrived { "all" } else { "NOT ALL" }.to_owned(),
        };
        say!(
            "| {} | {} | {arrived} | {} | {} | {:.0} |",
            name(row.way),
            name(row.condition),
            ms(row.median_ms),
            ms(row.max_ms),
            row.line_ms
        );
    }
    Ok(())
}

fn measure(stage: &mut Stage, way: StopWay, runs: usize) -> Row {
    let condition = stage.condition;
    let line_ms = line_ms(way, condition);
    let mut row = Row {
        way,
        condition,
        runs,
        arrived: false,
        median_ms: None,
        max_ms: None,
        line_ms,
        within: false,
        within_worst: false,
        skipped: None,
    };
    match stage.stops(way, runs) {
        Ok(times) => {
            row.arrived = times.iter().all(Option::is_some);
            let mut times: Vec<f64> = times.into_iter().flatten().collect();
            times.sort_by(f64::total_cmp);
            row.median_ms = times.get(times.len() / 2).copied();
            row.max_ms = times.last().copied();
            let within = |bound: f64| row.max_ms.is_some_and(|ms| row.arrived && ms <= bound);
            row.within = within(scene::PERIOD_MS + line_ms + ALLOWANCE_MS);
            row.within_worst = within(WORST_MS + line_ms);
        }
        Err(error) => row.skipped = Some(format!("{error:#}")),
    }
    row
}

/// How long the line itself takes: a sample goes over it once; a new session of zenoh's has two round trips before that.
fn line_ms(way: StopWay, condition: StopCondition) -> f64 {
    let once = LINE_DELAY.as_secs_f64() * 1e3;
    match (condition, way) {
        (
            StopCondition::SlowLine,
            StopWay::Sample | StopWay::Query | StopWay::Ros2 | StopWay::Page,
        ) => once,
        (StopCondition::SlowLine, StopWay::RemoteCommand) => 5.0 * once,
        // It is asked, and its answer goes back; that it is there is told over the line first.
        (StopCondition::SlowLine, StopWay::Keeper) => 3.0 * once,
        _ => 0.0,
    }
}

/// A runtime under a condition with its robot, started anew whenever a stop ends it.
struct Stage {
    condition: StopCondition,
    running: Option<(Robot, Scene)>,
}

impl Stage {
    /// Milliseconds from each request to the first command that stops; none where that did not come.
    fn stops(&mut self, way: StopWay, runs: usize) -> Result<Vec<Option<f64>>> {
        (0..runs).map(|_| self.stop(way)).collect()
    }

    fn stop(&mut self, way: StopWay) -> Result<Option<f64>> {
        let (robot, scene) = match self.running.take() {
            Some(running) => running,
            None => {
                let scene = Scene::start(self.condition)?;
                let robot = Robot::connect(&scene.robot_session())?;
                robot
                    .wait_until_running(2 * LIMIT)
                    .context("before the first stop")?;
                scene.disturb()?;
                (robot, scene)
            }
        };
        let asked = scene.ask(way, &robot)?;
        let took_ms = robot.first_stop(way, asked, LIMIT);
        scene.undo(way, &robot);
        let goes_on = took_ms.is_some() && !way.ends_the_runtime() && robot.rearm(LIMIT).is_ok();
        if goes_on {
            self.running = Some((robot, scene));
        } else {
            // What the condition keeps from moving again is replaced.
            drop(robot);
            scene.end();
        }
        Ok(took_ms)
    }
}

/// Milliseconds between two moments.
fn ms_between(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().replace('_', " "))
}
