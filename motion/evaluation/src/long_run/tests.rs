//! A short run of a model that was never trained, with stops between.

use std::path::Path;

use tch::Device;

use super::*;
use kinestream_motion::extractor::testing::untrained;
use kinestream_motion::model::testing::tiny;

const OPTIONS: LongRunOptions = LongRunOptions {
    characters: 3,
    seed: 5,
    diversity: 0.5,
};

fn done(minutes: usize, stop: Option<&Path>) -> LongRun {
    let (mut model, extractor) = (tiny(), untrained(Device::Cpu));
    let mut run = LongRun::new(&model, OPTIONS).unwrap();
    for minute in 0..minutes {
        model = run.minute(model, &extractor, |_| {}).unwrap();
        if let Some(path) = stop.filter(|_| minute == 0) {
            run.save(path, "tiny").unwrap();
            run = LongRun::new(&model, OPTIONS).unwrap();
            run.restore(path, "tiny").unwrap();
        }
    }
    run
}

#[test]
fn a_run_that_was_stopped_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let (whole, stopped) = (done(2, None), done(2, Some(&path)));
    assert!(whole.features == stopped.features && whole.owners == stopped.owners);
    assert_eq!(whole.roots, stopped.roots);
    assert_eq!(whole.wrong, stopped.wrong);
    assert!(whole.state == stopped.state);
    let held_out = Sample::new(
        DMatrix::from_fn(20, 4, |row, column| ((row * 7 + column * 3) % 11) as f64),
        (0..20).collect(),
    );
    let reports = [&whole, &stopped].map(|run| run.report(&held_out, 1).unwrap());
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0].frames, 2 * 3 * 1800);
    assert_eq!(reports[0].fid.len(), 2);
    assert_eq!(reports[0].not_finite.times, 0);
    whole.report(&held_out, 3).unwrap_err();
}

#[test]
fn the_file_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let model = tiny();
    LongRun::new(&model, OPTIONS)
        .unwrap()
        .save(&path, "tiny")
        .unwrap();
    let refused = |options: LongRunOptions, name: &str| {
        let mut run = LongRun::new(&model, options).unwrap();
        run.restore(&path, name).unwrap_err().to_string()
    };
    assert!(refused(OPTIONS, "other").contains("model tiny"));
    let seed = LongRunOptions { seed: 6, ..OPTIONS };
    assert!(refused(seed, "tiny").contains("seed 5"));
    let more = LongRunOptions {
        characters: 4,
        ..OPTIONS
    };
    assert!(refused(more, "tiny").contains("characters 3"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    LongRun::new(&model, OPTIONS)
        .unwrap()
        .restore(&path, "tiny")
        .unwrap_err();
}
