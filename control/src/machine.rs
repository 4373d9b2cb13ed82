//! What decides how promptly a machine wakes a thread: for reports that hold figures.

use std::time::Duration;

use serde::Serialize;

/// Kernel and processors, as far as the system says; all empty on systems other than Linux.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// `PREEMPT_RT`, `PREEMPT_DYNAMIC` and so on; with the model in use in brackets where the system shows it.
    pub preemption: String,
    /// Name of the processor.
    pub cpu_model: String,
    /// Processors that are online.
    pub cpus: usize,
    /// Whether this is a virtual machine.
    pub virtual_machine: bool,
    /// Different frequency governors in use; none where the system has no say in it, as in most virtual machines.
    pub governors: Vec<String>,
    /// What chooses idle states, and what carries them out.
    pub idle: String,
    /// Processors kept free of other work at boot (`isolcpus`), as the kernel writes them.
    pub isolated_cpus: String,
    /// Where the time comes from.
    pub clock_source: String,
}

impl Machine {
    /// Reads `/proc` and `/sys`.
    #[must_use]
    pub fn read() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let cpus = cpus_of(&read("/sys/devices/system/cpu/online"));
        let mut governors: Vec<String> = cpus
            .iter()
            .map(|cpu| read(&format!("{CPU}/cpu{cpu}/cpufreq/scaling_governor")))
            .filter(|governor| !governor.is_empty())
            .collect();
        governors.sort();
        governors.dedup();
        let idle = [
            read(&format!("{CPU}/cpuidle/current_governor")),
            read(&format!("{CPU}/cpuidle/current_driver")),
        ];
        let scheduler = read("/sys/kernel/debug/sched/preempt");
        let realtime = read("/sys/kernel/realtime") == "1";
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            preemption: preemption(&read("/proc/sys/kernel/version"), &scheduler, realtime),
            cpu_model: cpuinfo_field(&cpuinfo, "model name"),
            cpus: cpus.len(),
            virtual_machine: cpuinfo_field(&cpuinfo, "flags")
                .split(' ')
                .any(|flag| flag == "hypervisor"),
            governors,
            idle: idle.join(" ").trim().to_owned(),
            isolated_cpus: read(&format!("{CPU}/isolated")),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        }
    }
}

/// Time that a processor wanted to run and its host ran something else, since boot (proc_stat(5), "steal", which counts
/// in hundredths of a second); none on systems other than Linux. On real hardware it stays 0.
#[must_use]
pub fn stolen(cpu: usize) -> Option<Duration> {
    stolen_in(&read("/proc/stat"), cpu)
}

fn stolen_in(stat: &str, cpu: usize) -> Option<Duration> {
    let name = format!("cpu{cpu}");
    let numbers = stat.lines().find_map(|line| {
        let (found, numbers) = line.split_once(' ')?;
        (found == name).then_some(numbers)
    })?;
    let ticks: u64 = numbers.split_whitespace().nth(7)?.parse().ok()?;
    Some(Duration::from_millis(10 * ticks))
}

const CPU: &str = "/sys/devices/system/cpu";

fn read(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn cpuinfo_field(cpuinfo: &str, name: &str) -> String {
    let value = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}

/// The kernel's build says what it can do, debugfs which of these it does.
fn preemption(version: &str, scheduler: &str, realtime: bool) -> String {
    let built = version
        .split(' ')
        .find(|word| word.starts_with("PREEMPT"))
        .unwrap_or(if realtime { "PREEMPT_RT" } else { "" });
    let chosen = scheduler
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(chosen, _)| chosen);
    match chosen {
        Some(chosen) => format!("{built} ({chosen})"),
        None => built.to_owned(),
    }
}

/// Processors of a list such as `0-3,8`.
fn cpus_of(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(cpus_of("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(cpus_of("0"), [0]);
        assert_eq!(cpus_of(""), Vec::<usize>::new());
    }

    #[test]
    fn stolen_time_is_read_for_one_processor() {
        let stat =
            "cpu  1 2 3 4 5 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 31 0 0\ncpu1 1 2 3 4 5 6 7 49 0 0";
        assert_eq!(stolen_in(stat, 1), Some(Duration::from_millis(490)));
        assert_eq!(stolen_in(stat, 2), None);
    }

    #[test]
    fn preemption_is_named() {
        let version = "#1 SMP PREEMPT_DYNAMIC Mon Jan 5";
        assert_eq!(preemption(version, "", false), "PREEMPT_DYNAMIC");
        let full = preemption(version, "none voluntary (full) lazy", false);
        assert_eq!(full, "PREEMPT_DYNAMIC (full)");
        assert_eq!(preemption("#1 SMP PREEMPT_RT", "", true), "PREEMPT_RT");
        assert_eq!(preemption("#1 SMP", "", true), "PREEMPT_RT");
        assert_eq!(preemption("#1 SMP", "", false), "");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_a_kernel_and_processors() {
        let machine = Machine::read();
        assert!(
            !machine.kernel.is_empty() && machine.cpus > 0,
            "{machine:?}"
        );
    }
}
