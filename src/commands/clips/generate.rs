//! `kinestream generate`: motion from labels, as a file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::emdm::{BoundaryPose, Emdm, Guidance, LabelMatcher, Request};
use kinestream_motion::formats::{bvh, gltf};
use kinestream_motion::retarget;
use kinestream_motion_evaluation::course::locked;
use nalgebra::Vector2;
use serde::Serialize;

use kinestream_command_line::GenerateArguments;
use kinestream_runtime::character::clip_recording;
use kinestream_runtime::{checkpoint, device};
use kinestream_terminal::{output, say};

/// What was made.
#[derive(Debug, Serialize)]
struct Report {
    out: PathBuf,
    checkpoint: PathBuf,
    clips: Vec<ClipReport>,
    frames: usize,
    seconds: f64,
    seed: u64,
    steps: usize,
    guidance: f64,
    threads: usize,
    /// Wall-clock time of the denoise steps and of decoding.
    generation_ms: f64,
    ms_per_frame: f64,
}

/// One of the clips that it is made of.
#[derive(Debug, Serialize)]
struct ClipReport {
    action: String,
    seconds: f64,
}

/// A label of the list.
#[derive(Debug, Serialize)]
struct Known<'a> {
    action: &'a str,
    words: &'a [String],
    least_s: f64,
    usual_s: f64,
    most_s: f64,
}

/// How the motion is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Bvh,
    Glb,
    Mcap,
}

pub(crate) fn run(arguments: &GenerateArguments) -> Result<()> {
    let format = arguments.out.as_deref().map(Format::of).transpose()?;
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    let named = arguments.checkpoint.clone();
    let folder = checkpoint::locate(&named.unwrap_or_else(|| checkpoint::SHIPPED_CLIPS.into()));
    ensure!(
        folder.exists(),
        "{}: there is no model of whole clips here; train one with `kinestream train \
         configs/motion-emdm.toml --data MOCAP --out {}`",
        folder.display(),
        folder.display()
    );
    let model = Emdm::load(&folder, device)?;
    if arguments.list {
        return list(&model, arguments.json);
    }
    let (Some(out), Some(format)) = (&arguments.out, format) else {
        bail!("--out is missing: name the file to write, .bvh, .glb or .mcap");
    };
    let guidance = Guidance {
        label: arguments.guidance.unwrap_or(model.config().clips.guidance),
        steps: arguments
            .guided_steps
            .unwrap_or(model.config().clips.guided_steps),
        ..Guidance::default()
    };
    ensure!(
        (0.0..=20.0).contains(&guidance.label),
        "--guidance is {}, expected 0 to 20",
        guidance.label
    );
    let most = model.config().clips.steps();
    let steps = arguments.steps.unwrap_or(most);
    ensure!(
        (1..=most).contains(&steps),
        "--steps is {steps}, expected 1 to {most}"
    );
    let requests = requests(arguments, &model)?;
    // The first evaluation loads kernels: it is not what a clip takes.
    model.generate(&requests[..1], guidance, 1)?;
    let bar = output::progress(requests.len() as u64, "clips");
    let begun = Instant::now();
    let mut take = model.stitched(&requests, guidance, steps, |done| {
        bar.set_position(done as u64);
    })?;
    let generation_ms = begun.elapsed().as_secs_f64() * 1e3;
    bar.finish_and_clear();
    let clip = if arguments.raw {
        take.clip()
    } else {
        locked(&take)?
    };
    take.poses.clone_from(&clip.frames);
    match format {
        Format::Bvh => bvh::write(out, &clip)?,
        Format::Glb => gltf::write(out, &clip)?,
        Format::Mcap => clip_recording::write(out, &take, &folder, arguments.seed)?,
    }
    let frames = clip.frames.len();
    let report = Report {
        out: out.clone(),
        checkpoint: folder,
        clips: requests
            .iter()
            .map(|request| ClipReport {
                action: name(&model, request),
                seconds: request.seconds.unwrap_or_default(),
            })
            .collect(),
        frames,
        seconds: frames as f64 / FRAME_RATE,
        seed: arguments.seed,
        steps,
        guidance: guidance.label,
        threads,
        generation_ms,
        ms_per_frame: generation_ms / frames.max(1) as f64,
    };
    if arguments.json {
        return output::json(&report);
    }
    let parts: Vec<String> = report
        .clips
        .iter()
        .map(|clip| format!("{} ({:.1} s)", clip.action, clip.seconds))
        .collect();
    say!("{}: {}", out.display(), parts.join(", "));
    say!(
        "{frames} frames, {:.2} s, made in {generation_ms:.0} ms ({:.2} ms a frame) with {steps} denoise \
         steps; seed {}",
        report.seconds,
        report.ms_per_frame,
        arguments.seed
    );
    Ok(())
}

fn name(model: &Emdm, request: &Request) -> String {
    let label = request
        .label
        .and_then(|label| model.labels().all().get(label));
    label.map_or_else(String::new, |label| label.name.clone())
}

/// The clips that are asked for; what goes on for longer than one clip is made of several.
fn requests(arguments: &GenerateArguments, model: &Emdm) -> Result<Vec<Request>> {
    let (actions, seconds) = (&arguments.action, &arguments.seconds);
    ensure!(
        seconds.len() <= 1 || seconds.len() == actions.len(),
        "--seconds is given {} times for {} actions; expected once for all or once for each",
        seconds.len(),
        actions.len()
    );
    let longest = model.repertoire().longest();
    let mut requests: Vec<Request> = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        let label = model.labels().label(action)?;
        let asked = seconds.get(number).or(seconds.first()).copied();
        let usual = model.repertoire().spans()[label].usual;
        let wanted = asked.unwrap_or(usual);
        let goes_on = !model.labels().all()[label].whole;
        ensure!(
            wanted <= 3600.0,
            "--seconds is {wanted}, expected an hour at most"
        );
        if wanted > longest + 1e-9 && !goes_on {
            bail!(
                "--seconds is {wanted}: `{}` happens once, within {longest:.2} s at most (usually \
                 {usual:.1} s)",
                model.labels().all()[label].name
            );
        }
        let pieces = (wanted / longest).ceil().max(1.0);
        for _ in 0..pieces as usize {
            let length = model
                .repertoire()
                .length(Some(label), Some(wanted / pieces))?;
            requests.push(Request {
                label: Some(label),
                seconds: Some(length as f64 / FRAME_RATE),
                // Clips of one request differ.
                seed: arguments
                    .seed
                    .wrapping_add(requests.len() as u64 * 0x9e37_79b9),
                ..Request::default()
            });
        }
    }
    if let Some(text) = &arguments.path {
        ensure!(
            requests.len() == 1,
            "--path is for one action of at most {longest:.2} s, found {} clips",
            requests.len()
        );
        requests[0].path = places(text)?;
    }
    if let Some(file) = &arguments.start {
        requests[0].start = Some(pose(model, file, false)?);
    }
    if let (Some(file), Some(last)) = (&arguments.end, requests.last_mut()) {
        last.end = Some(pose(model, file, true)?);
    }
    Ok(requests)
}

/// The first or the last pose of a motion file.
fn pose(model: &Emdm, file: &Path, is_first: bool) -> Result<BoundaryPose> {
    let mut clip = retarget::load(file, &retarget::Options::default())?;
    if is_first {
        clip.frames.truncate(1);
    } else {
        clip = clip.resampled(FRAME_RATE);
    }
    model.pose(&clip).with_context(|| {
        let which = if is_first { "first" } else { "last" };
        format!("{}: its {which} pose cannot be used", file.display())
    })
}

/// `X,Z@SECONDS` one after the other.
fn places(text: &str) -> Result<Vec<(f64, Vector2<f64>)>> {
    let place = |part: &str| -> Option<(f64, Vector2<f64>)> {
        let (place, time) = part.split_once('@')?;
        let (x, z) = place.split_once(',')?;
        let number = |text: &str| text.trim().parse::<f64>().ok();
        Some((number(time)?, Vector2::new(number(x)?, number(z)?)))
    };
    let places: Result<Vec<_>> = text
        .split_whitespace()
        .map(|part| {
            place(part).with_context(|| {
                format!("--path: `{part}` is no place; expected X,Z@SECONDS such as 1.5,4@3")
            })
        })
        .collect();
    let places = places?;
    ensure!(!places.is_empty(), "--path is empty; expected X,Z@SECONDS");
    Ok(places)
}

fn list(model: &Emdm, json: bool) -> Result<()> {
    let known: Vec<Known<'_>> = model
        .labels()
        .all()
        .iter()
        .zip(model.repertoire().spans())
        .map(|(label, span)| Known {
            action: &label.name,
            words: &label.words,
            least_s: span.least,
            usual_s: span.usual,
            most_s: span.most,
        })
        .collect();
    if json {
        return output::json(&serde_json::json!({ "actions": known }));
    }
    for one in known {
        say!(
            "{:18} {:4.1} to {:3.1} s, usually {:3.1}   {}",
            one.action,
            one.least_s,
            one.most_s,
            one.usual_s,
            one.words.join(", ")
        );
    }
    Ok(())
}

impl Format {
    fn of(out: &Path) -> Result<Self> {
        match out.extension().and_then(|extension| extension.to_str()) {
            Some("bvh") => Ok(Self::Bvh),
            Some("glb") => Ok(Self::Glb),
            Some("mcap") => Ok(Self::Mcap),
            _ => bail!(
                "--out {}: expected a name that ends with .bvh, .glb or .mcap",
                out.display()
            ),
        }
    }
}
