//! The system calls of [`realtime`](super) on Linux, and what `/proc` says about their effect.

// Scheduling a thread and locking a range are not available otherwise.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, Write};

use rustix::mm::MlockAllFlags;
use rustix::thread::CpuSet;

/// Keeps the calling thread on one processor.
pub(super) fn pin(cpu: usize) -> Result<(), String> {
    let allowed = cpus();
    let remedy = || {
        format!(
            "this process may use {}; choose one of them",
            list(&allowed)
        )
    };
    if cpu >= CpuSet::MAX_CPU {
        return Err(format!("cpu {cpu}: {}", remedy()));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| format!("cpu {cpu} ({error}): {}", remedy()))
}

/// Keeps what the process has mapped and will map from being paged out.
///
/// `ONFAULT` locks pages when they are first touched. Without it every page that LibTorch and CUDA map would be brought in
/// at once, gigabytes of which most are never used. What the loop needs before it first runs is touched instead: its
/// buffers when they are made, the stack, and here the code of this program, of which the rarest path may be the one that
/// stops the robot.
pub(super) fn lock_memory() -> Result<(), String> {
    may_lock_memory()?;
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(flags).map_err(|error| format!("locked memory ({error}): {MEMORY}"))?;
    lock_own_code();
    Ok(())
}

/// Whether memory may be locked without a limit. Under a limit it is not tried at all: a lock on all memory to come would
/// have every allocation beyond the limit fail, in whatever thread.
pub(super) fn may_lock_memory() -> Result<(), String> {
    const CAP_IPC_LOCK: u32 = 14;
    let privileged = status_field("CapEff")
        .and_then(|bits| u64::from_str_radix(&bits, 16).ok())
        .is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = memory_lock_limit(&limits).unwrap_or("unknown");
    if privileged || limit == "unlimited" {
        return Ok(());
    }
    Err(format!(
        "locked memory (the limit is {limit} bytes): {MEMORY}"
    ))
}

/// Bounds the idle states of all processors while the file is open.
pub(super) fn bound_idle_latency(latency_us: u32) -> Result<File, String> {
    const PATH: &str = "/dev/cpu_dma_latency";
    let bound = || {
        let mut file = File::options().write(true).open(PATH)?;
        let bytes = i32::try_from(latency_us).unwrap_or(i32::MAX).to_ne_bytes();
        file.write_all(&bytes)?;
        Ok(file)
    };
    bound().map_err(|error: Error| {
        format!(
            "idle states up to {latency_us} us ({error}): let the user write {PATH}, for example by a udev rule"
        )
    })
}

/// Puts the calling thread under SCHED_FIFO.
pub(super) fn set_fifo(priority: u32) -> Result<(), String> {
    // The kernel's `struct sched_param` is one int on every architecture; the C libraries' are not, and one of them does
    // not make this call at all.
    let parameter: libc::c_int = priority.min(99) as libc::c_int;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: thread 0 is the calling one; the kernel reads one int from the address, which lives until the call returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            policy,
            std::ptr::from_ref(&parameter),
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(format!(
        "SCHED_FIFO priority {priority} ({}): give the user `rtprio {priority}` in /etc/security/limits.conf and log in \
         again, or the program CAP_SYS_NICE (setcap cap_sys_nice+ep)",
        Error::last_os_error()
    ))
}

/// Policy and priority of the calling thread, from the kernel: a C library may answer from what it remembers.
pub(super) fn scheduling() -> (String, u32) {
    std::fs::read_to_string("/proc/thread-self/stat")
        .ok()
        .and_then(|stat| scheduling_of(&stat))
        .unwrap_or_else(|| ("unknown".to_owned(), 0))
}

/// Processors that the calling thread may run on.
pub(super) fn cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Locked address space of the process in bytes.
pub(super) fn locked_bytes() -> u64 {
    let kilobytes = status_field("VmLck").and_then(|text| {
        let number = text.split(' ').next()?;
        number.parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0) * 1024
}

const MEMORY: &str = "give the user `memlock unlimited` in /etc/security/limits.conf and log in again, or the program \
                      CAP_IPC_LOCK";

/// Brings the program's own code and constants into memory, where they stay.
fn lock_own_code() {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in mappings_of(&maps, &program.to_string_lossy()) {
        // SAFETY: locking changes neither contents nor protection, whatever lies at the address; a range that is no longer
        // mapped is refused. What is refused stays locked on first touch, as everything else.
        let _ = unsafe { rustix::mm::mlock(start as *mut _, length) };
    }
}

/// Start and length of what is mapped from a file without being writable, from the text of `/proc/self/maps`.
fn mappings_of(maps: &str, file: &str) -> Vec<(usize, usize)> {
    let mapping = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, protection) = (fields.next()?, fields.next()?);
        // Offset, device and inode stand between.
        let path = line.splitn(6, ' ').nth(5)?.trim_start();
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let wanted = path == file && protection.starts_with("r-") && end > start;
        wanted.then(|| (start, end - start))
    };
    maps.lines().filter_map(mapping).collect()
}

/// Policy and real-time priority from the text of `/proc/PID/stat`: fields 41 and 40, counted from 1 as in proc(5).
fn scheduling_of(stat: &str) -> Option<(String, u32)> {
    // The name in field 2 may hold blanks and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(40 - 3);
    let priority = fields.next()?.parse().ok()?;
    let policy = match fields.next()? {
        "0" => "SCHED_OTHER",
        "1" => "SCHED_FIFO",
        "2" => "SCHED_RR",
        "3" => "SCHED_BATCH",
        "5" => "SCHED_IDLE",
        "6" => "SCHED_DEADLINE",
        "7" => "SCHED_EXT",
        _ => "unknown",
    };
    Some((policy.to_owned(), priority))
}

/// The soft limit from the text of `/proc/self/limits`.
fn memory_lock_limit(limits: &str) -> Option<&str> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?
        .split_ascii_whitespace()
        .next()
}

fn status_field(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    })
}

fn list(cpus: &[usize]) -> String {
    let names: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    match &names[..] {
        [] => "no cpu that it knows of".to_owned(),
        [only] => format!("cpu {only} only"),
        more => format!("cpus {}", more.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheduling_is_read_behind_any_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 1 2 0 0 -51 0 3 0 500 1000 20 18446744073709551615 1 1 0 \
                    0 0 0 0 0 0 0 0 0 17 1 50 1 0 0 0 0 0 0 0 0 0 0 0";
        let expected = ("SCHED_FIFO".to_owned(), 50);
        assert_eq!(scheduling_of(stat), Some(expected));
        assert_eq!(scheduling_of("12 (cut) S 1 2"), None);
    }

    #[test]
    fn mappings_are_those_of_the_file_that_are_not_written() {
        let maps = "\
00001000-00003000 r--p 00000000 fe:00 17                         /usr/bin/a program
00003000-00007000 r-xp 00002000 fe:00 17                         /usr/bin/a program
00007000-00008000 rw-p 00006000 fe:00 17                         /usr/bin/a program
00009000-0000a000 r-xp 00000000 fe:00 18                         /usr/lib/other.so
0000b000-0000c000 rw-p 00000000 00:00 0 
";
        let found = mappings_of(maps, "/usr/bin/a program");
        assert_eq!(found, [(0x1000, 0x2000), (0x3000, 0x4000)]);
    }

    #[test]
    fn limits_are_read() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax locked memory         8388608              8388608              bytes\n";
        assert_eq!(memory_lock_limit(limits), Some("8388608"));
        assert_eq!(memory_lock_limit(""), None);
    }

    #[test]
    fn the_kernel_answers() {
        assert_ne!(scheduling().0, "unknown");
        assert!(!cpus().is_empty());
        assert!(status_field("VmLck").is_some());
    }
}
