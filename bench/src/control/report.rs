//! What `bench control` prints.

use anyhow::Result;
use kinestream_control::{Latencies, Machine, Percentiles, RealtimeStatus, TimingReport};
use serde::Serialize;

use super::inference::InferenceReport;
use super::load::LoadReport;
use super::rivals::Rival;
use super::{Conditions, Measured};
use kinestream_command_line::bench::{BenchControlArguments, BesidePolicy, Load, RivalName};
use kinestream_terminal::output;
use kinestream_terminal::say;

/// All that was found out.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) measured: Measured,
    pub(super) rivals: Vec<Rival>,
    pub(super) loads: LoadReport,
    pub(super) inference: Option<InferenceReport>,
}

/// The same as one JSON object.
#[derive(Debug, Serialize)]
struct Json<'a> {
    /// Asked for; `ticks` and `missed` say what became of it.
    seconds: f64,
    #[serde(flatten)]
    timing: TimingReport,
    /// Wakings later than a whole period. The first after a pause is late, the others it swallows
    /// are `missed`.
    late_by_a_period: u64,
    /// Time that the host took from the loop's processor while it was measured.
    stolen_ms: u64,
    /// Commands that came out of the ring.
    commands: u64,
    #[serde(flatten)]
    granted: &'a RealtimeStatus,
    machine: &'a Machine,
    load: Load,
    loads: &'a LoadReport,
    policy: BesidePolicy,
    inference: Option<&'a InferenceReport>,
    rivals: Vec<RivalReport>,
}

#[derive(Debug, Serialize)]
struct RivalReport {
    name: RivalName,
    /// Why it did not run, if it did not.
    absent: Option<&'static str>,
    periods: u64,
    lateness_us: Percentiles,
    /// Wakings later than a whole period.
    late_by_a_period: u64,
    /// Time that the host took from the processor meanwhile.
    stolen_ms: u64,
    /// The rival's lateness over that of the loop: above 1 the loop is better. Against a rival that
    /// tells whole microseconds, rounded down, the loop's is rounded down as well. None over 0.
    ratio_to_ours: Ratios,
}

#[derive(Debug, Serialize)]
struct Ratios {
    p50: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
}

impl Report {
    /// Prints JSON or a table.
    pub(super) fn print(
        &self,
        arguments: &BenchControlArguments,
        conditions: &Conditions,
    ) -> Result<()> {
        let ours = &self.measured.timing.lateness;
        let period_ns = (1e9 / arguments.rate).round() as u64;
        let rivals = self
            .rivals
            .iter()
            .map(|rival| RivalReport::new(rival, ours, period_ns));
        if arguments.json {
            return output::json(&Json {
                seconds: arguments.seconds,
                timing: self.measured.timing.report(),
                late_by_a_period: ours.count_over(period_ns),
                stolen_ms: self.measured.stolen.as_millis() as u64,
                commands: self.measured.commands,
                granted: &self.measured.granted,
                machine: &self.machine,
                load: arguments.load,
                loads: &self.loads,
                policy: arguments.policy,
                inference: self.inference.as_ref(),
                rivals: rivals.collect(),
            });
        }
        self.print_conditions(arguments, conditions);
        self.print_table(&rivals.collect::<Vec<_>>(), period_ns);
        Ok(())
    }

    fn print_conditions(&self, arguments: &BenchControlArguments, conditions: &Conditions) {
        let machine = &self.machine;
        say!(
            "{} Hz for {} s on cpu {} of {}",
            arguments.rate,
            arguments.seconds,
            conditions.cpu,
            machine.cpus
        );
        let virtual_machine = if machine.virtual_machine {
            ", virtual machine"
        } else {
            ""
        };
        say!(
            "  machine    Linux {} {}, {}{virtual_machine}",
            machine.kernel,
            machine.preemption,
            or_none(&machine.cpu_model)
        );
        say!(
            "             governor {}, idle {}, clock {}, isolated cpus {}",
            or_none(&machine.governors.join(" ")),
            or_none(&machine.idle),
            or_none(&machine.clock_source),
            or_none(&machine.isolated_cpus)
        );
        let granted = RealtimeStatus {
            refused: Vec::new(),
            ..self.measured.granted.clone()
        };
        say!("  in force   {granted}");
        for refused in &self.measured.granted.refused {
            say!("  not given  {refused}");
        }
        if let Some(inference) = &self.inference {
            let cpu = inference
                .cpu
                .map_or_else(|| "not pinned".to_owned(), |cpu| format!("cpu {cpu}"));
            say!(
                "  policy     {} observations, {} evaluations, {} plans, p50 {:.2} ms, {cpu}",
                inference.observations,
                inference.evaluations,
                inference.plans,
                inference.observation_to_action_ms.p50
            );
        }
        let loads = &self.loads;
        if loads.busy_threads > 0 {
            say!("  load       {} busy threads", loads.busy_threads);
        }
        if let Some(folder) = &loads.disk_folder {
            say!(
                "  load       {} MB written and synced in {}",
                loads.disk_megabytes,
                folder.display()
            );
        }
    }

    fn print_table(&self, rivals: &[RivalReport], period_ns: u64) {
        let report = self.measured.timing.report();
        say!(
            "  {:<22} {:>9} {:>9} {:>9} {:>9}",
            "us",
            "p50",
            "p99",
            "p99.9",
            "max"
        );
        let row = |title: &str, found: &Percentiles| {
            let Percentiles {
                p50,
                p99,
                p999,
                max,
            } = found;
            say!("  {title:<22} {p50:>9.1} {p99:>9.1} {p999:>9.1} {max:>9.1}");
        };
        row("lateness", &report.lateness_us);
        row("execution", &report.execution_us);
        for (rival, shown) in self.rivals.iter().zip(rivals) {
            let title = rival.title();
            if let Some(reason) = rival.absent {
                say!("  {title:<22} {reason}");
                continue;
            }
            row(title, &shown.lateness_us);
            let ratio =
                |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2} x"));
            let Ratios {
                p50,
                p99,
                p999,
                max,
            } = &shown.ratio_to_ours;
            say!(
                "  {:<22} {:>9} {:>9} {:>9} {:>9}",
                "  over ours",
                ratio(*p50),
                ratio(*p99),
                ratio(*p999),
                ratio(*max)
            );
        }
        let allocations = report
            .allocations
            .map_or_else(|| "uncounted".to_owned(), |count| count.to_string());
        say!(
            "  missed {} of {} periods; {allocations} allocations; {} commands",
            report.missed,
            report.missed + report.ticks,
            self.measured.commands
        );
        let late = |title: &str, late: u64, stolen_ms: u64| {
            say!("  {title}: {late} wakings later than a period; the host took {stolen_ms} ms");
        };
        let ours = self.measured.timing.lateness.count_over(period_ns);
        late("kinestream", ours, self.measured.stolen.as_millis() as u64);
        for (rival, shown) in self.rivals.iter().zip(rivals) {
            if rival.is_there() {
                late(rival.title(), shown.late_by_a_period, shown.stolen_ms);
            }
        }
    }
}

impl RivalReport {
    fn new(rival: &Rival, ours: &Latencies, period_ns: u64) -> Self {
        Self {
            name: rival.name,
            absent: rival.absent,
            periods: rival.lateness.count(),
            lateness_us: rival.lateness.percentiles_us(),
            late_by_a_period: rival.lateness.count_over(period_ns),
            stolen_ms: rival.stolen.as_millis() as u64,
            ratio_to_ours: Ratios::new(
                &rival.lateness.percentiles_us(),
                &ours.percentiles_us(),
                rival.is_coarse(),
            ),
        }
    }
}

impl Ratios {
    fn new(theirs: &Percentiles, ours: &Percentiles, coarse: bool) -> Self {
        let ratio = |theirs: f64, ours: f64| {
            let (theirs, ours) = if coarse {
                (theirs.floor(), ours.floor())
            } else {
                (theirs, ours)
            };
            (ours > 0.0 && theirs > 0.0).then(|| theirs / ours)
        };
        Self {
            p50: ratio(theirs.p50, ours.p50),
            p99: ratio(theirs.p99, ours.p99),
            p999: ratio(theirs.p999, ours.p999),
            max: ratio(theirs.max, ours.max),
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_like_with_like() {
        let percentiles = |values: [f64; 4]| {
            let [p50, p99, p999, max] = values;
            Percentiles {
                p50,
                p99,
                p999,
                max,
            }
        };
        let theirs = percentiles([4.0, 9.0, 20.0, 50.0]);
        let ours = percentiles([4.9, 8.0, 0.5, 100.9]);
        let coarse = Ratios::new(&theirs, &ours, true);
        assert_eq!(coarse.p50, Some(1.0));
        assert_eq!(coarse.p99, Some(9.0 / 8.0));
        assert_eq!((coarse.p999, coarse.max), (None, Some(0.5)));
        let exact = Ratios::new(&theirs, &ours, false);
        assert_eq!(exact.p999, Some(40.0));
    }
}
