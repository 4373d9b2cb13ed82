//! `kinestream doctor`: what this machine has, and what to do about what it lacks.

use std::path::Path;

use anyhow::{Result, bail};
use kinestream_control::{Machine, RealtimeConfig, realtime};
use serde::Serialize;
use tch::Device;

use kinestream_command_line::DoctorArguments;
use kinestream_runtime::checkpoint;
use kinestream_runtime::config::Config;
use kinestream_terminal::output;
use kinestream_terminal::say;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Note,
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    findings: Vec<Finding>,
}

pub(crate) fn run(arguments: &DoctorArguments) -> Result<()> {
    let mut findings = vec![
        processor(),
        memory(),
        libtorch(),
        cuda(),
        shipped(),
        sockets(),
        descriptors(),
        real_time(),
    ];
    if let Some(path) = &arguments.config {
        findings.extend(doors(path));
    }
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .count();
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        findings,
    };
    if arguments.json {
        output::json(&report)?;
    } else {
        say!("kinestream {}", report.version);
        for Finding {
            what,
            verdict,
            found,
        } in &report.findings
        {
            let mark = match verdict {
                Verdict::Ok => "ok    ",
                Verdict::Note => "note  ",
                Verdict::Failed => "FAILED",
            };
            say!("  {mark} {what:<16} {found}");
        }
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", report.findings.len());
    }
    Ok(())
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(key)?
                .split_once(':')
                .map(|(_, value)| value.trim())
        })
    };
    let flags = field("flags").unwrap_or_default();
    let vectors: Vec<&str> = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]
        .into_iter()
        .filter(|wanted| flags.split(' ').any(|flag| flag == *wanted))
        .collect();
    Finding {
        what: "processor",
        verdict: if cores >= 2 {
            Verdict::Ok
        } else {
            Verdict::Note
        },
        found: format!(
            "{cores} cores, {}, {} {}",
            std::env::consts::ARCH,
            field("model name").unwrap_or("unnamed"),
            vectors.join(" ")
        ),
    }
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemAvailable:")?
                .trim()
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .map(|kilobytes: f64| kilobytes / 1e6);
    match available {
        Some(gigabytes) if gigabytes < 1.0 => Finding {
            what: "memory",
            verdict: Verdict::Failed,
            found: format!("{gigabytes:.1} GB free; LibTorch needs about 1 GB: end other programs"),
        },
        Some(gigabytes) => Finding {
            what: "memory",
            verdict: Verdict::Ok,
            found: format!("{gigabytes:.1} GB free"),
        },
        None => Finding {
            what: "memory",
            verdict: Verdict::Note,
            found: "unknown".into(),
        },
    }
}

fn libtorch() -> Finding {
    let one = tch::Tensor::from_slice(&[1.0_f32]);
    let sum = f64::try_from((&one + &one).sum(tch::Kind::Float));
    let threads = tch::get_num_threads();
    match sum {
        Ok(2.0) => Finding {
            what: "LibTorch",
            verdict: Verdict::Ok,
            found: format!("computes, {threads} threads"),
        },
        other => Finding {
            what: "LibTorch",
            verdict: Verdict::Failed,
            found: format!("1 + 1 gave {other:?}; run `cargo xtask setup` again"),
        },
    }
}

fn cuda() -> Finding {
    let count = tch::Cuda::device_count();
    if count > 0 {
        return Finding {
            what: "CUDA",
            verdict: Verdict::Ok,
            found: format!("{count} devices, cuDNN {}", tch::Cuda::cudnn_is_available()),
        };
    }
    Finding {
        what: "CUDA",
        verdict: Verdict::Note,
        found: "no device; the CPU serves. With a GPU: cargo xtask setup --cuda".into(),
    }
}

fn shipped() -> Finding {
    let folder = std::path::Path::new(checkpoint::SHIPPED);
    match checkpoint::open(folder, Device::Cpu) {
        Ok(loaded) => Finding {
            what: "shipped policy",
            verdict: Verdict::Ok,
            found: format!(
                "{}, {} parameters",
                checkpoint::locate(folder).display(),
                loaded.network().parameters()
            ),
        },
        Err(error) => Finding {
            what: "shipped policy",
            verdict: Verdict::Failed,
            found: format!("{error:#}"),
        },
    }
}

fn sockets() -> Finding {
    match std::net::TcpListener::bind(("127.0.0.1", 0)) {
        Ok(_) => Finding {
            what: "loopback",
            verdict: Verdict::Ok,
            found: "127.0.0.1 takes listeners, as viewer and zenoh need".into(),
        },
        Err(error) => Finding {
            what: "loopback",
            verdict: Verdict::Failed,
            found: format!("127.0.0.1 takes no listener: {error}"),
        },
    }
}

/// How many may connect before a stop finds no room.
fn descriptors() -> Finding {
    const ENOUGH: u64 = 1024;
    let what = "descriptors";
    match kinestream_control::raise_descriptor_limit() {
        Ok(limit) if limit.now.is_none_or(|it| it >= ENOUGH) => Finding {
            what,
            verdict: Verdict::Ok,
            found: match limit.now {
                Some(now) => format!("{now} files and sockets at a time"),
                None => "no limit on files and sockets".into(),
            },
        },
        Ok(limit) => Finding {
            what,
            verdict: Verdict::Note,
            found: format!(
                "{} files and sockets at a time; with fewer than {ENOUGH}, connections of others may \
                 leave none for a stop: raise the hard limit (ulimit -Hn)",
                limit.now.unwrap_or_default()
            ),
        },
        Err(error) => Finding {
            what,
            verdict: Verdict::Note,
            found: format!("the limit cannot be raised: {error}"),
        },
    }
}

/// What a configuration leaves open to whoever reaches it.
fn doors(path: &Path) -> Vec<Finding> {
    let finding = |verdict, found| Finding {
        what: "doors",
        verdict,
        found,
    };
    let open = Config::read(path).and_then(|config| Ok(config.session.exposure()?));
    match open {
        Err(error) => vec![finding(Verdict::Failed, format!("{error:#}"))],
        Ok(open) if open.is_empty() => {
            let found = "nobody reaches the session without a certificate or a password";
            vec![finding(Verdict::Ok, found.into())]
        }
        Ok(open) => {
            let notes = open.into_iter();
            notes.map(|it| finding(Verdict::Note, it)).collect()
        }
    }
}

/// Whether the control loop would be given what it asks for by default.
fn real_time() -> Finding {
    let wanted = RealtimeConfig::default();
    let machine = Machine::read();
    let kernel = format!("kernel {} {}", machine.kernel, machine.preemption);
    match &realtime::would_refuse(&wanted)[..] {
        [] => Finding {
            what: "real time",
            verdict: Verdict::Ok,
            found: format!(
                "SCHED_FIFO {} and locked memory are granted; {kernel}",
                wanted.priority
            ),
        },
        refused => Finding {
            what: "real time",
            verdict: Verdict::Note,
            found: format!("not granted: {}; {kernel}", refused.join("; ")),
        },
    }
}
