//! A fixed pool of pinned threads that share the parts of one job after the other.
//!
//! Jobs take microseconds, so the threads wait for them spinning, and sleep only when none has come
//! for a while. Where that costs more than it gives, because a processor does something else, the pool
//! notices, and goes on without them for a while.

// Lending a closure to threads that outlive it is this file's subject.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::balance::ParallelismTuner;
use crate::processors::{allowed, current, pin};
use crate::{Error, Result};

/// Rounds of waiting after which a thread sleeps; some milliseconds.
const PATIENCE: u32 = 50_000;
/// How long a thread may be waited for until its processor counts as busy: parts of equal size
/// take up to a millisecond, and end within a fraction of that of each other.
const LATE: Duration = Duration::from_micros(500);
/// Rounds of waiting before the time is looked at.
const SHORT: u32 = 256;
/// What a job's parts do: called with the number of the part.
type Job<'a> = dyn Fn(usize) + Sync + 'a;

struct JobSlot {
    /// Counts jobs.
    ticket: AtomicU64,
    job: UnsafeCell<Option<&'static Job<'static>>>,
    helpers: Vec<WorkerState>,
    stop: AtomicBool,
}

#[derive(Default)]
#[repr(align(64))]
struct WorkerState {
    /// The last job that it has done.
    done: AtomicU64,
    /// Whether it looks for jobs rather than sleeping.
    awake: AtomicBool,
    /// The processor that it is to be on, plus one; 0 for any.
    place: AtomicUsize,
}

// SAFETY: `job` is written by the owner of the pool alone, while no helper reads it: helpers read it
// after a new ticket, and the owner waits until all are done with that ticket.
unsafe impl Sync for JobSlot {}

/// The threads, and how they have done.
pub(crate) struct Workers {
    board: Arc<JobSlot>,
    threads: Vec<JoinHandle<()>>,
    /// Processors that the process may use, the last first.
    allowed: Vec<usize>,
    balance: ParallelismTuner,
    begun: Instant,
    /// Whether one of them was waited for long in this evaluation.
    late: bool,
}

impl Workers {
    /// A pool of `threads` threads, the caller's among them: one less is started.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let helpers = threads.saturating_sub(1);
        let board = Arc::new(JobSlot {
            ticket: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            helpers: (0..helpers).map(|_| WorkerState::default()).collect(),
            stop: AtomicBool::new(false),
        });
        let mut pool = Self {
            board,
            threads: Vec::with_capacity(helpers),
            allowed: allowed(),
            balance: ParallelismTuner::new(),
            begun: Instant::now(),
            late: false,
        };
        pool.place();
        for index in 0..helpers {
            let board = Arc::clone(&pool.board);
            let thread = std::thread::Builder::new()
                .name(format!("kernels-{}", index + 1))
                .spawn(move || board.help(index));
            let thread = thread.map_err(|source| Error::System {
                what: "a thread for the kernels",
                source,
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Begins an evaluation: wakes threads that sleep, if it is to be shared.
    pub(crate) fn begin(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.late = false;
        self.begun = Instant::now();
        if self.balance.is_shared() {
            let own = current().map_or(usize::MAX, |cpu| cpu + 1);
            let shared = |helper: &WorkerState| helper.place.load(Ordering::Relaxed) == own;
            if self.board.helpers.iter().any(shared) {
                self.place();
            }
            self.wake();
        }
    }

    /// Ends it: what it took decides how the next are done.
    pub(crate) fn end(&mut self) {
        if !self.threads.is_empty() {
            self.balance.record(self.begun.elapsed());
        }
    }

    /// Gives each thread a processor, none of them the caller's, as far as there are any.
    fn place(&self) {
        let own = current();
        let others = self.allowed.iter().filter(|cpu| Some(**cpu) != own);
        for (helper, cpu) in self.board.helpers.iter().zip(others) {
            helper.place.store(cpu + 1, Ordering::Relaxed);
        }
    }

    /// Whether all threads are there, so that a job may be shared. Until then the caller does jobs
    /// alone.
    pub(crate) fn are_ready(&self) -> bool {
        !self.threads.is_empty()
            && self.balance.is_shared()
            && !self.late
            && (self.board.helpers.iter()).all(|helper| helper.awake.load(Ordering::Relaxed))
    }

    /// Has part 0 of a job done by the caller and one part by each other thread; returns when all
    /// are done.
    pub(crate) fn share(&mut self, job: &Job<'_>) {
        // SAFETY: only the lifetime changes. No thread uses the job after it has reported that it is
        // done, and this function returns, or unwinds, only after all have.
        let lent = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        let ticket = self.board.ticket.load(Ordering::Relaxed) + 1;
        // SAFETY: all helpers are done with the job before this one: nobody reads.
        unsafe { *self.board.job.get() = Some(lent) };
        self.board.ticket.store(ticket, Ordering::SeqCst);
        let waiting = Waiting {
            board: &self.board,
            threads: &self.threads,
            ticket,
        };
        job(0);
        if waiting.wait() > LATE {
            self.late = true;
        }
    }

    fn wake(&self) {
        for (helper, thread) in self.board.helpers.iter().zip(&self.threads) {
            if !helper.awake.load(Ordering::SeqCst) {
                thread.thread().unpark();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.board.stop.store(true, Ordering::SeqCst);
        self.board.ticket.fetch_add(1, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Waits for the helpers, even where the caller's own part panics.
struct Waiting<'a> {
    board: &'a JobSlot,
    threads: &'a [JoinHandle<()>],
    ticket: u64,
}

impl Waiting<'_> {
    /// How long it took, roughly.
    fn wait(&self) -> Duration {
        let mut rounds = 0;
        let mut begun = None;
        for (helper, thread) in self.board.helpers.iter().zip(self.threads) {
            while helper.done.load(Ordering::Acquire) != self.ticket {
                // It may have fallen asleep just before the ticket was written.
                if rounds % 1024 == 1023 && !helper.awake.load(Ordering::SeqCst) {
                    thread.thread().unpark();
                }
                if rounds == SHORT {
                    begun = Some(Instant::now());
                }
                pause(rounds);
                rounds = rounds.saturating_add(1);
            }
        }
        begun.map_or(Duration::ZERO, |begun: Instant| begun.elapsed())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wait();
    }
}

impl JobSlot {
    /// The life of a helper.
    fn help(&self, index: usize) {
        let helper = &self.helpers[index];
        let mut seen = 0;
        let mut rounds = 0;
        let mut pinned = 0;
        helper.awake.store(true, Ordering::SeqCst);
        loop {
            let ticket = self.ticket.load(Ordering::SeqCst);
            if ticket == seen {
                rounds += 1;
                if rounds < PATIENCE {
                    std::hint::spin_loop();
                    continue;
                }
                helper.awake.store(false, Ordering::SeqCst);
                // Either this sees a ticket that was just written, or its writer sees the sleeper.
                if self.ticket.load(Ordering::SeqCst) == seen {
                    std::thread::park();
                }
                helper.awake.store(true, Ordering::SeqCst);
                rounds = 0;
                continue;
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let place = helper.place.load(Ordering::Relaxed);
            if place != pinned {
                pinned = place;
                pin(place - 1);
            }
            // SAFETY: the job was written before the ticket, and is not written again before this
            // helper is done.
            if let Some(job) = unsafe { *self.job.get() } {
                job(index + 1);
            }
            helper.done.store(ticket, Ordering::Release);
            seen = ticket;
            rounds = 0;
        }
    }
}

/// Waits a moment; after a while it leaves the processor to others, who may be those waited for.
fn pause(rounds: u32) {
    if rounds < 4096 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_part_of_every_job_is_done_once() {
        let mut workers = Workers::new(3).unwrap();
        for round in 0..60 {
            let counts = [const { AtomicUsize::new(0) }; 3];
            workers.begin();
            workers.share(&|part| {
                counts[part].fetch_add(1, Ordering::Relaxed);
            });
            let counts = counts.map(AtomicUsize::into_inner);
            assert_eq!(counts, [1; 3], "{round}");
            if round % 30 == 29 {
                // Long enough for them to fall asleep.
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }

    /// An evaluation of one job, in which the other thread sleeps; whether it was shared.
    fn evaluation(workers: &mut Workers) -> bool {
        workers.begin();
        let is_shared = workers.are_ready();
        if is_shared {
            workers.share(&|part| {
                if part == 1 {
                    std::thread::sleep(20 * LATE);
                }
            });
            assert!(workers.late && !workers.are_ready());
        }
        workers.end();
        is_shared
    }

    #[test]
    fn a_late_thread_is_left_out() {
        let mut workers = Workers::new(2).unwrap();
        let shared = (0..500).filter(|_| evaluation(&mut workers)).count();
        // The times in between double.
        assert!(shared < 10, "{shared}");
    }
}
