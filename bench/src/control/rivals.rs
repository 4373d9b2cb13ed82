//! Other loops at the same rate, for comparison: cyclictest, and two as people write them.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_control::{Latencies, RealtimeConfig, RealtimeStatus, realtime};

use super::{Conditions, Progress};
use kinestream_command_line::bench::RivalName;

/// A loop to compare with, and what it has shown so far.
pub(super) struct Rival {
    pub(super) name: RivalName,
    /// Why it does not run here, if it does not.
    pub(super) absent: Option<&'static str>,
    /// From deadline to waking.
    pub(super) lateness: Latencies,
    /// Time that the host took from its processor meanwhile.
    pub(super) stolen: Duration,
}

/// All that were asked for, each once; those that cannot run here say so.
pub(super) fn find(names: &[RivalName], conditions: &Conditions) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = Vec::new();
    for &name in names {
        if rivals.iter().all(|rival| rival.name != name) {
            rivals.push(Rival {
                name,
                absent: absence(name, conditions),
                lateness: Latencies::new(),
                stolen: Duration::ZERO,
            });
        }
    }
    rivals
}

fn absence(name: RivalName, conditions: &Conditions) -> Option<&'static str> {
    let (program, argument, absent) = match name {
        RivalName::Cyclictest if period_us(conditions) < 1 => {
            return Some("periods below 1 us are too short for it");
        }
        RivalName::Cyclictest => (
            "cyclictest",
            "--help",
            "not found; on Debian: apt-get install rt-tests",
        ),
        RivalName::Python => (
            "python3",
            "--version",
            "not found; on Debian: apt-get install python3",
        ),
        RivalName::Tokio => return None,
    };
    let started = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if started.is_err() {
        return Some(absent);
    }
    let fifo = RealtimeConfig {
        priority: 1,
        ..RealtimeConfig::nothing()
    };
    if name == RivalName::Cyclictest && !realtime::would_refuse(&fifo).is_empty() {
        return Some("does not run without the permission for SCHED_FIFO; see kinestream doctor");
    }
    None
}

impl Rival {
    pub(super) fn is_there(&self) -> bool {
        self.absent.is_none()
    }

    pub(super) fn title(&self) -> &'static str {
        match self.name {
            RivalName::Cyclictest => "cyclictest",
            RivalName::Tokio => "tokio interval",
            RivalName::Python => "python sleep",
        }
    }

    /// Whether it tells whole microseconds only, rounded down.
    pub(super) fn is_coarse(&self) -> bool {
        self.name == RivalName::Cyclictest
    }

    /// Runs for a slice of time, shorter if the user wants an end.
    pub(super) fn slice(
        &mut self,
        conditions: &Conditions,
        granted: &RealtimeStatus,
        slice: Duration,
        progress: &Progress,
    ) -> Result<()> {
        let periods = conditions.periods(slice);
        match self.name {
            RivalName::Cyclictest => {
                let mut command = Command::new("cyclictest");
                command.args(cyclictest_arguments(conditions, granted, periods));
                if let Some(text) = output_of(&mut command, progress)? {
                    Histogram::parse(&text)?.record(&mut self.lateness);
                }
            }
            RivalName::Python => {
                let mut command = Command::new("python3");
                let period_s = 1.0 / conditions.options.rate_hz;
                command
                    .args(["-c", PYTHON])
                    .args([period_s.to_string(), periods.to_string()]);
                if let Some(text) = output_of(&mut command, progress)? {
                    for lateness_ns in parse_nanoseconds(&text)? {
                        self.lateness.record(lateness_ns);
                    }
                }
            }
            RivalName::Tokio => {
                let period = Duration::from_secs_f64(1.0 / conditions.options.rate_hz);
                let running = std::thread::spawn(move || tokio_loop(period, periods));
                // Not to be interrupted; a slice is short.
                progress.wait(|| running.is_finished());
                let Ok(lateness) = running.join() else {
                    bail!("the tokio loop panicked");
                };
                self.lateness.merge(&lateness?);
            }
        }
        Ok(())
    }
}

/// A loop on tokio's timer, in a runtime as `#[tokio::main]` makes it.
fn tokio_loop(period: Duration, periods: u64) -> Result<Latencies> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    let mut lateness = Latencies::new();
    runtime.block_on(async {
        let mut interval = tokio::time::interval(period);
        // The first one is due at once.
        interval.tick().await;
        for _ in 0..periods {
            let due = interval.tick().await;
            lateness.record(due.elapsed().as_nanos() as u64);
        }
    });
    Ok(lateness)
}

/// A loop on `time.sleep` that corrects for its own lateness; prints nanoseconds at the end.
const PYTHON: &str = "\
import sys, time
period, periods = float(sys.argv[1]), int(sys.argv[2])
lateness = []
due = time.monotonic()
for _ in range(periods):
    due += period
    left = due - time.monotonic()
    if left > 0:
        time.sleep(left)
    lateness.append(time.monotonic() - due)
for late in lateness:
    print(max(0, round(late * 1e9)))
";

/// Longest lateness that cyclictest counts one by one, in microseconds.
const LONGEST_US: u64 = 100_000;

fn period_us(conditions: &Conditions) -> u64 {
    (1e6 / conditions.options.rate_hz).round() as u64
}

/// One thread with the settings that the loop was given, so that it starts wherever the loop does;
/// a histogram at the end.
fn cyclictest_arguments(
    conditions: &Conditions,
    granted: &RealtimeStatus,
    periods: u64,
) -> Vec<String> {
    let mut arguments: Vec<String> = ["--quiet", "--threads=1"].map(Into::into).into();
    arguments.push(format!("--affinity={}", conditions.cpu));
    arguments.push(format!("--interval={}", period_us(conditions)));
    arguments.push(format!("--loops={periods}"));
    arguments.push(format!("--histogram={LONGEST_US}"));
    match granted.priority {
        0 => arguments.push("--policy=other".into()),
        priority => {
            arguments.push("--policy=fifo".into());
            arguments.push(format!("--priority={priority}"));
        }
    }
    if granted.memory_locked_bytes > 0 {
        arguments.push("--mlockall".into());
    }
    if granted.idle_latency_us.is_none() {
        arguments.push("--default-system".into());
    }
    arguments
}

/// Runs a program to its end and returns what it printed; none if the user wants an end before.
fn output_of(command: &mut Command, progress: &Progress) -> Result<Option<String>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("{name} has no output");
    };
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let complaint = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let ended = progress.wait(|| !matches!(child.try_wait(), Ok(None)));
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
        return Ok(None);
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {name}"))?;
    let (Ok(text), Ok(complaint)) = (read.join(), complaint.join()) else {
        bail!("a reader of {name} panicked");
    };
    ensure!(
        status.success(),
        "{name} failed ({status}): {}",
        complaint.unwrap_or_default().trim()
    );
    Ok(Some(text.with_context(|| {
        format!("cannot read what {name} printed")
    })?))
}

/// What cyclictest prints with `--histogram`, of one thread.
#[derive(Debug, PartialEq, Eq)]
struct Histogram {
    /// Whole microseconds, and how often.
    counts: Vec<(u64, u64)>,
    /// Cycles later than the histogram reaches.
    beyond: u64,
    max_us: u64,
}

impl Histogram {
    fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(number)
                .with_context(|| format!("cyclictest printed no line `{name}`; 2.4 and later do"))
        };
        let counts = text
            .lines()
            .filter_map(|line| {
                let (us, count) = line.split_once([' ', '\t'])?;
                Some((number(us)?, number(count)?))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Ok(Self {
            counts,
            beyond: field("# Histogram Overflows:")?,
            max_us: field("# Max Latencies:")?,
        })
    }

    fn record(&self, lateness: &mut Latencies) {
        for &(us, count) in &self.counts {
            (0..count).for_each(|_| lateness.record(us * 1000));
        }
        // How much later is known of the latest only.
        (0..self.beyond).for_each(|_| lateness.record(self.max_us * 1000));
    }
}

fn parse_nanoseconds(text: &str) -> Result<Vec<u64>> {
    let number = |line: &str| {
        line.parse()
            .with_context(|| format!("python3 printed `{line}`, expected nanoseconds"))
    };
    text.lines().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
# /dev/cpu_dma_latency set to 0us
# Histogram
000000 000000
000001 000000
000002 000005
000003 000993
000004 000000
# Total: 000000998
# Min Latencies: 00002
# Avg Latencies: 00003
# Max Latencies: 00319
# Histogram Overflows: 00002
# Histogram Overflow at cycle number:
# Thread 0: 00000 00412

";

    #[test]
    fn what_cyclictest_prints_is_understood() {
        let histogram = Histogram::parse(PRINTED).unwrap();
        let expected = Histogram {
            counts: vec![(2, 5), (3, 993)],
            beyond: 2,
            max_us: 319,
        };
        assert_eq!(histogram, expected);
        let mut lateness = Latencies::new();
        histogram.record(&mut lateness);
        let found = lateness.percentiles_us();
        assert_eq!(lateness.count(), 1000);
        assert_eq!((found.p50.round(), found.max), (3.0, 319.0));
        let error = Histogram::parse("Unable to change scheduling policy!").unwrap_err();
        assert!(error.to_string().contains("Overflows"), "{error}");
    }

    #[test]
    fn what_python_prints_is_understood() {
        assert_eq!(parse_nanoseconds("0\n1500\n").unwrap(), [0, 1500]);
        assert_eq!(parse_nanoseconds("").unwrap(), Vec::<u64>::new());
        let error = parse_nanoseconds("1\nTraceback\n").unwrap_err();
        assert!(error.to_string().contains("Traceback"), "{error}");
    }

    #[test]
    fn the_python_loop_prints_one_line_per_period() {
        let done = Command::new("python3")
            .args(["-c", PYTHON, "0.0001", "25"])
            .output();
        // Where there is no Python there is no such rival.
        if let Ok(done) = done {
            let text = String::from_utf8(done.stdout).unwrap();
            assert_eq!(parse_nanoseconds(&text).unwrap().len(), 25);
        }
    }

    #[test]
    fn the_tokio_loop_counts_every_period() {
        let lateness = tokio_loop(Duration::from_millis(1), 20).unwrap();
        assert_eq!(lateness.count(), 20);
    }
}
