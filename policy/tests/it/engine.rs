//! The engine with the shipped policy: what arrives badly changes nothing, and the same inputs give
//! the same bits.
use std::path::Path;

use kinestream_policy::arrivals::Arrival;
use kinestream_policy::dispatch::InferenceRequest;
use kinestream_policy::engine::{ActionChunk, IngestOutcome, TimedObservation};
use kinestream_policy::{Checkpoint, Engine, Error, Policy};
use tch::Device;

const PERIOD: u64 = 100_000_000;

fn engine() -> Engine {
    engine_for(1)
}

fn engine_for(robots: usize) -> Engine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/pusht-state");
    let checkpoint = Checkpoint::load(&folder, Device::Cpu).unwrap();
    Engine::new(Policy::new(checkpoint, Device::Cpu, robots).unwrap()).unwrap()
}

fn observation(at: u64) -> Vec<f32> {
    (0..20)
        .map(|index| 150.0 + 10.0 * index as f32 + 3.0 * (at as f32 + index as f32).sin())
        .collect()
}

fn sensed(sequence: u64, values: &[f32]) -> TimedObservation<'_> {
    TimedObservation {
        stream: 1,
        sequence,
        time_ns: sequence * PERIOD,
        arrived_ns: 7 + sequence * PERIOD,
        values,
        images: &[],
    }
}

fn answer(engine: &mut Engine, sequence: u64) -> ActionChunk {
    let taken = engine.take(0, &sensed(sequence, &observation(sequence)));
    assert_eq!(taken.unwrap(), IngestOutcome::Valid);
    only(engine.answer(&[0]).unwrap())
}

fn only(mut answers: Vec<Option<ActionChunk>>) -> ActionChunk {
    assert_eq!(answers.len(), 1);
    answers.pop().unwrap().unwrap()
}

#[test]
fn the_same_inputs_give_the_same_bits() {
    let play = || {
        let mut engine = engine();
        engine.begin(0, 1, 42).unwrap();
        (1..12)
            .map(|at| answer(&mut engine, at))
            .collect::<Vec<_>>()
    };
    let (first, second) = (play(), play());
    assert_eq!(first, second);
    let found = &first[4];
    assert_eq!(
        (found.chunk, found.observation_sequence, found.stream),
        (5, 5, 1)
    );
    assert_eq!((found.start_ns, found.period_ns), (7 + 5 * PERIOD, PERIOD));
    let evaluations: Vec<u64> = first.iter().map(|answer| answer.evaluations).collect();
    assert_eq!(evaluations, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_arrives_badly_changes_no_plan() {
    let (mut clean, mut disturbed) = (engine(), engine());
    let short = vec![1.0; 19];
    let mut broken = observation(3);
    broken[7] = f32::NAN;
    for at in 1..10 {
        if at > 2 {
            let old = observation(at - 1);
            let repeated = disturbed.take(0, &sensed(at - 1, &old)).unwrap();
            assert_eq!(repeated, IngestOutcome::Old(Arrival::Repeated));
            let late = disturbed.take(0, &sensed(at - 2, &old)).unwrap();
            assert_eq!(late, IngestOutcome::Old(Arrival::OutOfOrder));
        }
        for (values, said) in [(&short, "19 numbers"), (&broken, "number 7 is NaN")] {
            let IngestOutcome::Refused(reason) = disturbed.take(0, &sensed(at, values)).unwrap()
            else {
                panic!("not refused");
            };
            assert!(reason.contains(said), "{reason}");
        }
        assert_eq!(answer(&mut clean, at), answer(&mut disturbed, at));
    }
}

#[test]
fn missing_observations_roll_the_plan_by_the_time_that_passed() {
    let mut engine = engine();
    assert_eq!(answer(&mut engine, 1).evaluations, 1);
    assert_eq!(answer(&mut engine, 4).evaluations, 0);
    // Seven periods since the roll: two chunks are gone, one evaluation for each.
    assert_eq!(answer(&mut engine, 8).evaluations, 2);
}

#[test]
fn an_unknown_stream_begins_afresh() {
    let mut engine = engine();
    let first = answer(&mut engine, 1);
    for at in 2..7 {
        answer(&mut engine, at);
    }
    engine.begin(0, 2, 1).unwrap();
    let values = observation(1);
    let again = TimedObservation {
        stream: 1,
        ..sensed(1, &values)
    };
    engine.take(0, &again).unwrap();
    let found = only(engine.answer(&[0]).unwrap());
    assert_eq!(found.actions, first.actions);
}

#[test]
fn what_was_observed_before_a_reset_is_not_answered_after_it() {
    let mut engine = engine();
    let owed = |engine: &Engine| engine.demand(0, PERIOD).map(|demand| demand.owed);
    assert_eq!(owed(&engine), None);
    let (values, broken) = (observation(1), vec![f32::NAN; 20]);
    engine.take(0, &sensed(1, &values)).unwrap();
    assert_eq!(owed(&engine), Some(1));
    engine.begin(0, 1, 3).unwrap();
    assert_eq!(owed(&engine), None);
    assert!(matches!(
        engine.read(0, 0),
        Err(Error::NoObservation { stream: 0 })
    ));
    // While its answer is made, and by a stream whose reset was lost and whose observation is bad.
    engine.take(0, &sensed(1, &values)).unwrap();
    engine.refine(&[0]).unwrap();
    assert!(engine.has_begun(0));
    let other = TimedObservation {
        stream: 2,
        ..sensed(2, &broken)
    };
    assert!(matches!(
        engine.take(0, &other).unwrap(),
        IngestOutcome::Refused(_)
    ));
    assert!(!engine.has_begun(0));
    assert_eq!(owed(&engine), None);
    // By a stream whose observation is not even taken, for want of its pictures.
    engine.take(0, &sensed(1, &values)).unwrap();
    assert!(!engine.follow(0, 1).unwrap());
    assert_eq!(owed(&engine), Some(1));
    assert!(engine.follow(0, 3).unwrap());
    assert_eq!(owed(&engine), None);
}

#[test]
fn demands_name_the_oldest_observation_and_the_newest() {
    let mut engine = engine();
    for at in 1..=3 {
        let values = observation(at);
        engine.take(0, &sensed(at, &values)).unwrap();
    }
    let expected = InferenceRequest {
        stream: 0,
        since_ns: 7 + PERIOD,
        arrived_ns: 7 + 3 * PERIOD,
        deadline_ns: 9 + 3 * PERIOD,
        owed: 1,
    };
    assert_eq!(engine.demand(0, 2), Some(expected));
    engine.answer(&[0]).unwrap();
    assert_eq!(engine.demand(0, 2), None);
    // The plan goes on: only to be read.
    engine.take(0, &sensed(4, &observation(4))).unwrap();
    assert_eq!(engine.demand(0, 2).map(|demand| demand.owed), Some(0));
}

#[test]
fn robots_in_one_batch_are_answered_as_each_would_be_alone() {
    const ROBOTS: usize = 3;
    let mut together = engine_for(ROBOTS);
    let mut alone: Vec<Engine> = (0..ROBOTS).map(|_| engine()).collect();
    for (seat, engine) in alone.iter_mut().enumerate() {
        together.begin(seat, 1, seat as u64).unwrap();
        engine.begin(0, 1, seat as u64).unwrap();
    }
    for at in 1..10 {
        // They do not all speak every time.
        let speak: Vec<usize> = (0..ROBOTS)
            .filter(|seat| !(at + *seat as u64).is_multiple_of(3))
            .collect();
        let values = |seat: usize| observation(at + 5 * seat as u64);
        for &seat in &speak {
            let taken = together.take(seat, &sensed(at, &values(seat))).unwrap();
            assert_eq!(taken, IngestOutcome::Valid);
        }
        let answers = together.answer(&speak).unwrap();
        for (&seat, found) in speak.iter().zip(answers) {
            alone[seat].take(0, &sensed(at, &values(seat))).unwrap();
            let expected = only(alone[seat].answer(&[0]).unwrap());
            let found = found.unwrap();
            // A batch may round otherwise than a single row.
            let largest = found
                .actions
                .iter()
                .zip(&expected.actions)
                .map(|(one, other)| (one - other).abs())
                .fold(0.0, f32::max);
            assert!(largest < 0.05, "robot {seat}, step {at}: {largest} px");
            assert_eq!(
                ActionChunk {
                    actions: Vec::new(),
                    ..found
                },
                ActionChunk {
                    actions: Vec::new(),
                    ..expected
                }
            );
        }
    }
}

/// An observation at some part of a period, as it arrives.
fn moment(sequence: u64, time_ns: u64, values: &[f32]) -> TimedObservation<'_> {
    TimedObservation {
        time_ns,
        arrived_ns: 7 + time_ns,
        ..sensed(sequence, values)
    }
}

#[test]
fn ten_times_as_many_observations_give_the_same_plans() {
    const TICK: u64 = PERIOD / 10;
    let (mut often, mut seldom) = (engine(), engine());
    let mut newest = None;
    for at in 0..300 {
        let values = observation(at);
        let found = {
            often.take(0, &moment(at, at * TICK, &values)).unwrap();
            only(often.answer(&[0]).unwrap())
        };
        // Actions are counted to the nearest, so the first of them is over after half a period.
        if at == 0 || at % 10 == 5 {
            seldom.take(0, &moment(at, at * TICK, &values)).unwrap();
            let expected = only(seldom.answer(&[0]).unwrap());
            assert_eq!(
                (found.start_ns, found.evaluations),
                (expected.start_ns, expected.evaluations)
            );
            assert_eq!(found.actions, expected.actions, "observation {at}");
            assert_eq!(found.noise, expected.noise);
            newest = Some(found);
            continue;
        }
        // Between two actions the plan goes on, from where it began.
        let newest = newest.as_ref().unwrap();
        assert_eq!(found.start_ns, newest.start_ns);
        assert_eq!(found.actions, newest.actions);
        assert_eq!(found.evaluations, 0);
        assert_eq!(found.arrived_ns, 7 + at * TICK);
    }
}

#[test]
fn a_first_plan_that_comes_late_begins_when_it_is_there() {
    for (late, begins) in [
        (0, 1),
        (PERIOD / 2, 1),
        (PERIOD * 6 / 10, 2),
        (PERIOD * 44 / 10, 6),
    ] {
        let mut engine = engine();
        engine.begin(0, 1, 3).unwrap();
        let arrived_ns = |at: u64| 7 + at * PERIOD;
        let take = |engine: &mut Engine, at: u64| {
            let taken = engine.take(0, &sensed(at, &observation(at))).unwrap();
            assert_eq!(taken, IngestOutcome::Valid);
        };
        take(&mut engine, 1);
        while engine.refine(&[0]).unwrap() > 0 {}
        assert!(engine.is_at_rest(0));
        let first = engine.read(0, arrived_ns(1) + late).unwrap().unwrap();
        assert!(!engine.is_at_rest(0));
        assert_eq!(first.start_ns, arrived_ns(begins), "{late}");
        assert_eq!(first.arrived_ns, arrived_ns(1));
        // What came meanwhile has consumed nothing; from then on every period consumes an action.
        for at in 2..=begins + 3 {
            take(&mut engine, at);
            let next = only(engine.answer(&[0]).unwrap());
            let consumed = at.saturating_sub(begins) as usize;
            assert_eq!(next.start_ns, arrived_ns(at.max(begins)));
            assert_eq!(next.evaluations, 0);
            assert_eq!(next.actions, first.actions[2 * consumed..], "{late}, {at}");
        }
    }
}

#[test]
fn a_plan_does_not_grow_old_where_the_senders_clock_stands_still_or_is_slow() {
    for slowness in [0, 40] {
        let mut engine = engine();
        for at in 1..30 {
            let values = observation(at);
            let standing = TimedObservation {
                time_ns: 5 * PERIOD + (at * PERIOD).checked_div(slowness).unwrap_or(0),
                ..sensed(at, &values)
            };
            assert_eq!(engine.take(0, &standing).unwrap(), IngestOutcome::Valid);
            let found = only(engine.answer(&[0]).unwrap());
            let most = if slowness == 0 { 0 } else { 2 * PERIOD };
            assert!(standing.arrived_ns - found.start_ns <= most, "{at}");
        }
    }
}

#[test]
fn in_lock_step_a_late_first_plan_costs_nothing() {
    let mut prompt = engine();
    let mut late = engine();
    for engine in [&mut prompt, &mut late] {
        engine.take(0, &sensed(1, &observation(1))).unwrap();
        while engine.refine(&[0]).unwrap() > 0 {}
    }
    // The simulator waits for every plan, however long that takes, and then does one step.
    let mut now_ns = 7 + PERIOD + 37 * PERIOD / 10;
    let mut plans = Vec::new();
    for (engine, now_ns) in [(&mut prompt, 0), (&mut late, now_ns)] {
        plans.push(engine.read(0, now_ns).unwrap().unwrap().actions);
    }
    assert_eq!(plans[0], plans[1]);
    for at in 2..8 {
        now_ns += PERIOD / 7;
        let values = observation(at);
        let delayed = TimedObservation {
            arrived_ns: now_ns,
            ..sensed(at, &values)
        };
        late.take(0, &delayed).unwrap();
        let found = only(late.answer(&[0]).unwrap());
        assert_eq!(found.actions, answer(&mut prompt, at).actions, "{at}");
        assert_eq!(found.start_ns, now_ns);
    }
}

#[test]
fn observations_before_the_first_plan_consume_nothing() {
    let (mut waited, mut prompt) = (engine(), engine());
    for at in 1..=9 {
        waited.take(0, &sensed(at, &observation(at))).unwrap();
    }
    assert_eq!(waited.owed(0), 1);
    let first = only(waited.answer(&[0]).unwrap());
    assert_eq!(first.start_ns, 7 + 9 * PERIOD);
    // As many positions as there are when it is answered at once.
    assert_eq!(first.actions.len(), answer(&mut prompt, 1).actions.len());
}

#[test]
fn a_robot_that_was_started_again_begins_anew() {
    let mut engine = engine();
    for at in 100..130 {
        answer(&mut engine, at);
    }
    let values = observation(2);
    let first = engine.take(0, &sensed(1, &observation(1))).unwrap();
    assert_eq!(first, IngestOutcome::Old(Arrival::OutOfOrder));
    assert_eq!(
        engine.take(0, &sensed(2, &values)).unwrap(),
        IngestOutcome::Anew
    );
    let found = only(engine.answer(&[0]).unwrap());
    // As another engine begins a stream of that number.
    let mut other = engine_for(1);
    other.follow(0, 1).unwrap();
    other.take(0, &sensed(2, &values)).unwrap();
    let expected = only(other.answer(&[0]).unwrap());
    assert_eq!(found.actions, expected.actions);
    assert_eq!(found.start_ns, expected.start_ns);
    assert_eq!(answer(&mut engine, 3).observation_sequence, 3);
}
