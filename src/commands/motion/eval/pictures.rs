//! Pictures of what a model does on the course: strips of poses, and its trajectory against the path
//! asked for.

use std::path::Path;

use anyhow::{Context, Result};
use kinestream_motion::character::skeleton;
use kinestream_motion::course::course;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::model::MotionModel;
use kinestream_motion::picture::{strip, trajectory};
use kinestream_motion::trajectory::Root;
use kinestream_motion_evaluation::course::{EvaluationOptions, locked, run_course};

/// Legs that strips are drawn of: file name, seconds after the beginning of the leg, frames, frames
/// between two poses.
const STRIPS: [(&str, &str, f64, usize, usize); 5] = [
    ("walk", "walk", 1.5, 44, 4),
    ("turn", "turn 180 at a walk", 0.0, 55, 5),
    ("run", "run", 1.5, 33, 3),
    ("turn-run", "turn 180 at a run", 0.0, 55, 5),
    ("stop", "stop", 0.0, 44, 4),
];

/// Writes all pictures to a folder, which is made where there is none.
pub(super) fn write(folder: &Path, model: MotionModel) -> Result<()> {
    let options = EvaluationOptions {
        runs: 1,
        ..EvaluationOptions::default()
    };
    let (takes, _) = run_course(model, &options)?;
    let take = takes.first().context("no run of the course")?;
    let clip = locked(take)?;
    let course = course()?;
    let save = |name: &str, svg: String| {
        let path = folder.join(format!("{name}.svg"));
        std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, leg, after, frames, stride) in STRIPS {
        let (start, _) = course
            .legs
            .iter()
            .find(|(_, one)| one.name == leg)
            .with_context(|| format!("the course has no leg `{leg}`"))?;
        let first = ((start + after) * FRAME_RATE) as usize;
        let frames = first..first + frames;
        save(
            &format!("motion-{name}"),
            strip(
                &skeleton(),
                &clip.frames[frames.clone()],
                &take.roots[frames],
                stride,
            ),
        )?;
    }
    let asked: Vec<Root> = (1..=take.roots.len())
        .map(|frame| course.path.at(frame as f64 / FRAME_RATE))
        .collect();
    save("motion-path", trajectory(&asked, &take.roots))
}
