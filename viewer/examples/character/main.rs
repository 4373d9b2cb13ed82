//! The page of the motion demo without a motion model: a hand-made walk that follows stick, path,
//! knobs and buttons. To look at the page, to try its input, and for pictures of it.
//!
//!     cargo run -p kinestream-sim --example character
//!     chromium http://127.0.0.1:8742

mod puppet;

use std::time::{Duration, Instant};

use kinestream_viewer::character::{Control, Frame, Input, Latency, Mode, Motion, Rates};
use kinestream_viewer::character::{RunState, Viewer, ViewerHandle};

use puppet::Puppet;

/// Poses per second.
const RATE: f64 = 60.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let viewer = Viewer::bind(([127, 0, 0, 1], 8742).into())?;
    let handle = viewer.handle();
    handle.introduce(puppet::body()?);
    std::thread::spawn(move || walk(&handle));
    println!("http://{}", viewer.address());
    let stopped = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(viewer.serve(stopped).await?)
}

/// What a person has set.
struct Settings {
    velocity: [f64; 2],
    facing: [f64; 2],
    path: Vec<[f64; 2]>,
    path_speed: f64,
    knobs: [f64; 2],
    pace: f64,
    paused: bool,
    seed: u32,
}

fn walk(handle: &ViewerHandle) {
    let mut puppet = Puppet::default();
    let mut settings = Settings {
        velocity: [0.0; 2],
        facing: [0.0; 2],
        path: Vec::new(),
        path_speed: 0.0,
        knobs: [1.0; 2],
        pace: 1.0,
        paused: false,
        seed: 0,
    };
    let (mut time, mut frame, mut clamped) = (0.0, 0, 0);
    let mut taken: Vec<f64> = Vec::new();
    let (mut counted, mut since, mut rate) = (0_u32, Instant::now(), 0.0);
    let mut due = Instant::now();
    loop {
        while let Some(input) = handle.try_next_input() {
            let afresh = matches!(input, Input::Reset { .. });
            settings.take(input);
            if afresh {
                (puppet, time, frame) = (Puppet::default(), 0.0, 0);
            }
        }
        let begun = Instant::now();
        let asked = settings.asked(&puppet);
        if !settings.paused {
            let step = settings.pace / RATE;
            puppet.advance(asked, settings.facing, step);
            (time, frame) = (time + step, frame + 1);
            clamped += u64::from(puppet.limited(asked) != asked);
        }
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        if taken.len() > 600 {
            taken.remove(0);
        }
        counted += 1;
        if since.elapsed() >= Duration::from_secs(1) {
            rate = f64::from(counted) / since.elapsed().as_secs_f64();
            (counted, since) = (0, Instant::now());
        }
        let shown = settings.frame(&puppet, asked);
        handle.publish(Frame {
            motion: Motion {
                clamped,
                ..shown.motion
            },
            time,
            frame,
            rates: Rates {
                generated_per_second: rate,
                published_per_second: rate,
            },
            latency: latency(&taken),
            ..shown
        });
        due += Duration::from_secs_f64(1.0 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

impl Settings {
    fn take(&mut self, input: Input) {
        match input {
            Input::Stick { velocity, facing } => {
                (self.velocity, self.facing) = (velocity, facing);
                self.path.clear();
            }
            Input::Path { points, speed } => {
                (self.path, self.path_speed) = (points, speed);
                (self.velocity, self.facing) = ([0.0; 2], [0.0; 2]);
            }
            Input::Knobs {
                diversity,
                strength,
            } => self.knobs = [diversity, strength],
            Input::Pace { pace } => self.pace = pace,
            // It walks, and knows nothing else.
            Input::Act { .. } => {}
            Input::Pause => self.paused = true,
            Input::Resume => self.paused = false,
            Input::Reset { seed } => {
                self.seed = seed.unwrap_or(self.seed);
                self.path.clear();
                (self.velocity, self.facing) = ([0.0; 2], [0.0; 2]);
            }
        }
    }

    /// The velocity that is asked for now, towards the next point of the path if there is one.
    fn asked(&mut self, puppet: &Puppet) -> [f64; 2] {
        while let Some(next) = self.path.first() {
            let to = [next[0] - puppet.place[0], next[1] - puppet.place[1]];
            let away = to[0].hypot(to[1]);
            let near = if self.path.len() > 1 { 0.35 } else { 0.06 };
            if away > near {
                let slowed = if self.path.len() > 1 {
                    away + 1.0
                } else {
                    1.6 * away
                };
                return to.map(|part| part / away * self.path_speed.min(slowed));
            }
            self.path.remove(0);
        }
        self.velocity
    }

    fn frame(&self, puppet: &Puppet, asked: [f64; 2]) -> Frame {
        let velocity = puppet.limited(asked);
        Frame {
            seed: self.seed,
            points: puppet.points.clone(),
            contacts: puppet.contacts,
            facing: puppet.facing,
            prediction: puppet.prediction(velocity),
            prediction_period: puppet::PREDICTION_PERIOD,
            path: self.path.clone(),
            control: Control {
                mode: if self.path.is_empty() {
                    Mode::Stick
                } else {
                    Mode::Path
                },
                velocity,
                facing: self.facing,
                diversity: self.knobs[0],
                strength: self.knobs[1],
                clamped: velocity != asked,
            },
            motion: Motion {
                speed: puppet.velocity[0].hypot(puppet.velocity[1]),
                heading_error_deg: puppet.heading_error(velocity, self.facing).to_degrees(),
                foot_sliding_cm: puppet.sliding * 100.0,
                ..Motion::default()
            },
            pace: self.pace,
            state: match (self.paused, puppet.stands()) {
                (true, _) => RunState::Paused,
                (false, true) => RunState::Idle,
                (false, false) => RunState::Running,
            },
            nodes: vec!["puppet".into()],
            ..Frame::default()
        }
    }
}

fn latency(taken: &[f64]) -> Latency {
    let mut sorted = taken.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * sorted.len() as f64) as usize;
        sorted
            .get(index.min(sorted.len().saturating_sub(1)))
            .copied()
    };
    Latency {
        last_ms: taken.last().copied().unwrap_or_default(),
        p50_ms: at(0.5).unwrap_or_default(),
        p99_ms: at(0.99).unwrap_or_default(),
    }
}
