//! A steered character that performs whole clips in between: asked to jump, it jumps out of its walk
//! and walks on.
//!
//! While a clip is being made, one denoise step a frame, the character goes on as it is steered. Then
//! the clip takes over from where the character is by now, and at its end the character takes over
//! from the clip; both seams are inertialised ([`crate::inertial`]). So no frame costs more than one
//! evaluation of either network, and equal seeds and calls give equal motion.

use std::collections::VecDeque;

use tch::Tensor;

use crate::controller::FrameSource;
use crate::crowd::{CharacterBatch, SteeringTarget};
use crate::data::{FRAME_RATE, contacts};
use crate::emdm::{BoundaryPose, Denoising, Emdm, HALF_LIFE, Request, ending};
use crate::features;
use crate::inertial::{self, Inertialization};
use crate::synthesis::Take;
use crate::trajectory::Root;
use crate::{Error, Pose, Result};

/// Frames that are remembered: what a pose to go on from is told by.
const REMEMBERED: usize = 16;
/// Metres within a second that are no way to go.
const STANDS_WITHIN: f64 = 0.25;
/// Frames of a clip's beginning that may leap.
const LOOKED_AT: usize = 3;
/// Seconds of one frame.
const FRAME: f64 = 1.0 / FRAME_RATE;

/// What to perform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActionRequest {
    /// Number of the label.
    pub label: usize,
    /// Seconds; none for as long as it usually lasts.
    pub seconds: Option<f64>,
    /// Seed of everything random in it.
    pub seed: u64,
}

/// What a performer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaybackState {
    /// It is steered.
    Nothing,
    /// It goes on while a clip with this label is being made.
    Preparing(usize),
    /// It performs a clip with this label.
    Acting(usize),
}

/// One steered character, and the model of its clips.
#[derive(Debug)]
pub struct ClipPlayer {
    crowd: CharacterBatch,
    clips: Option<Emdm>,
    /// Denoise steps of a clip; 0 for all.
    steps: usize,
    /// The pose that clips end with where nothing is asked afterwards: that of the beginning.
    standing: Option<BoundaryPose>,
    /// Whether steering asked it to go somewhere at the last frame.
    goes: bool,
    preparing: Option<Box<PendingClip>>,
    acting: Option<ActiveClip>,
    /// The last poses shown, with the newest behind.
    shown: VecDeque<Pose>,
    root: Root,
    contacts: [f64; 4],
    /// What is left of the motion before, and seconds since its seam.
    seam: Option<(Inertialization, f64)>,
    /// Clips refused: not finite.
    refused: u64,
}

/// A clip that is being performed.
#[derive(Debug)]
struct ActiveClip {
    take: Take,
    /// Its frame that comes next.
    next: usize,
    /// Whether one of its frames was shown.
    is_shown: bool,
    label: usize,
}

/// A clip that is being made.
#[derive(Debug)]
struct PendingClip {
    denoising: Denoising,
    request: Request,
    /// Where the character was when it began.
    from: Root,
    label: usize,
}

impl ClipPlayer {
    /// A character that is steered by `crowd`, one of one, and performs clips of a model, if there is
    /// one, in so many denoise steps.
    pub fn new(crowd: CharacterBatch, clips: Option<Emdm>, steps: usize) -> Self {
        let pose = crowd.pose(0);
        let standing = clips
            .as_ref()
            .and_then(|clips| clips.pose(&ending(std::slice::from_ref(&pose))).ok());
        Self {
            root: crowd.root(0),
            contacts: crowd.contacts(0),
            shown: VecDeque::from([pose]),
            standing,
            goes: false,
            crowd,
            clips,
            steps,
            preparing: None,
            acting: None,
            seam: None,
            refused: 0,
        }
    }

    /// The model of the clips.
    pub fn clips(&self) -> Option<&Emdm> {
        self.clips.as_ref()
    }

    /// What it is at.
    pub fn performing(&self) -> PlaybackState {
        match (&self.preparing, &self.acting) {
            (Some(preparation), _) => PlaybackState::Preparing(preparation.label),
            (None, Some(acting)) => PlaybackState::Acting(acting.label),
            (None, None) => PlaybackState::Nothing,
        }
    }

    /// Asks for a clip from now on; it takes the place of one that is being made or performed.
    ///
    /// # Errors
    /// No model of clips, a label or a length that it does not know. The character goes on as before.
    pub fn act(&mut self, act: ActionRequest) -> Result<()> {
        let Some(clips) = &self.clips else {
            return Err(Error::Request {
                key: "action",
                found: "asked for".into(),
                expected: "steering alone: the character has no model of whole clips".into(),
            });
        };
        let poses: Vec<Pose> = self.shown.iter().cloned().collect();
        let request = Request {
            label: Some(act.label),
            seconds: act.seconds,
            seed: act.seed,
            // A pose that the model does not know is none to go on from: the seam makes up for it.
            start: clips.pose(&ending(&poses)).ok(),
            end: self.standing.clone().filter(|_| !self.goes),
            ..Request::default()
        };
        let denoising =
            clips.begin(std::slice::from_ref(&request), clips.guidance(), self.steps)?;
        self.preparing = Some(Box::new(PendingClip {
            denoising,
            from: self.root,
            label: act.label,
            request,
        }));
        Ok(())
    }

    /// Takes one denoise step of the clip that is being made, and begins it after the last.
    fn prepare(&mut self) {
        let (Some(preparation), Some(clips)) = (&mut self.preparing, &self.clips) else {
            return;
        };
        clips.advance(&mut preparation.denoising);
        if !preparation.denoising.is_done() {
            return;
        }
        let Some(done) = self.preparing.take() else {
            return;
        };
        let PendingClip {
            denoising,
            request,
            from,
            label,
        } = *done;
        let Ok(mut takes) = clips.finish(denoising, std::slice::from_ref(&request)) else {
            self.refused += 1;
            return;
        };
        let mut take = takes.remove(0);
        // The clip goes on from where the character was told to be: it has moved on since.
        let told = request.start.as_ref().map(|start| start.root());
        let (told, now) = match told {
            Some(told) => (told, self.root.global(&from.local(&told))),
            None => (Root::default(), self.root),
        };
        moved(&mut take, &told, &now);
        let next = settled(&take.poses);
        if let ([first, second, ..], Some([before, last])) = (&take.poses[next..], self.last_two())
        {
            let seam = Inertialization::between([before, last], [first, second], FRAME, HALF_LIFE);
            self.seam = Some((seam, FRAME));
        }
        self.acting = Some(ActiveClip {
            take,
            next,
            is_shown: false,
            label,
        });
    }

    fn last_two(&self) -> Option<[&Pose; 2]> {
        let last = self.shown.back()?;
        let before = self.shown.iter().rev().nth(1).unwrap_or(last);
        Some([before, last])
    }

    /// The crowd goes on from the poses that were shown last.
    fn hand_back(&mut self) -> Result<()> {
        let poses: Vec<Pose> = self.shown.iter().cloned().collect();
        let mut clip = ending(&poses);
        while clip.frames.len() < 4 {
            clip.frames.insert(0, clip.frames[0].clone());
        }
        let found = features::extract(&clip, &contacts(&clip)?)?;
        let width = found.layout.size();
        let rows = &found.rows[found.rows.len() - 2 * width..];
        let model = self.crowd.model();
        let embedded = tch::no_grad(|| {
            let rows = Tensor::from_slice(rows)
                .view([2, -1])
                .to_device(model.device());
            model.embedding.encode(&rows)
        });
        let state = model.state(&embedded.narrow(0, 0, 1), &embedded.narrow(0, 1, 1));
        let root = found.roots.last().copied().unwrap_or(self.root);
        self.crowd.resume(&state, root)
    }

    fn show(&mut self, mut pose: Pose, root: Root, contacts: [f64; 4]) {
        if let Some((seam, seconds)) = &mut self.seam {
            seam.apply(&mut pose, *seconds);
            *seconds += FRAME;
            if *seconds > seam.seconds() {
                self.seam = None;
            }
        }
        if self.shown.len() == REMEMBERED {
            self.shown.pop_front();
        }
        self.shown.push_back(pose);
        self.root = root;
        self.contacts = contacts;
    }

    /// Shows the next frame of the clip that is performed; whether there is one.
    fn perform(&mut self) -> bool {
        let Some(acting) = &mut self.acting else {
            return false;
        };
        let Some(pose) = acting.take.poses.get(acting.next).cloned() else {
            return false;
        };
        let (root, contacts) = (
            acting.take.roots[acting.next],
            acting.take.contacts[acting.next],
        );
        acting.next += 1;
        acting.is_shown = true;
        self.show(pose, root, contacts);
        true
    }

    /// Shows the next frame of the steered character; after a clip it goes on from there.
    fn follow(&mut self, wish: &SteeringTarget, diversity: f64) -> Result<()> {
        let mut first = None;
        if self.acting.take().is_some() {
            self.hand_back()?;
            first = Some(self.crowd.pose(0));
        }
        FrameSource::advance(&mut self.crowd, wish, diversity)?;
        let pose = self.crowd.pose(0);
        if let (Some(first), Some(last)) = (first, self.last_two()) {
            let seam = Inertialization::at(last, [&first, &pose], FRAME, HALF_LIFE);
            self.seam = Some((seam, FRAME));
        }
        self.show(pose, self.crowd.root(0), self.crowd.contacts(0));
        Ok(())
    }
}

impl FrameSource for ClipPlayer {
    fn restart(self, seed: u64) -> Result<Self> {
        let crowd = FrameSource::restart(self.crowd, seed)?;
        Ok(Self {
            refused: self.refused,
            ..Self::new(crowd, self.clips, self.steps)
        })
    }

    fn advance(&mut self, wish: &SteeringTarget, diversity: f64) -> Result<()> {
        self.goes = wish.ahead.is_some_and(|ahead| {
            let way = ahead[ahead.len() - 1].position - self.root.position;
            way.norm() > STANDS_WITHIN
        });
        if !self.perform() {
            self.follow(wish, diversity)?;
        }
        self.prepare();
        Ok(())
    }

    fn root(&self) -> Root {
        self.root
    }

    fn place(&mut self, root: Root) {
        match &mut self.acting {
            Some(acting) => moved(&mut acting.take, &self.root, &root),
            None => self.crowd.place(0, root),
        }
        self.root = root;
    }

    fn pose(&self) -> Pose {
        self.shown.back().cloned().unwrap_or_default()
    }

    fn contacts(&self) -> [f64; 4] {
        self.contacts
    }

    fn refused(&self) -> u64 {
        self.refused + self.crowd.refused(0)
    }

    fn is_acting(&self) -> bool {
        self.acting.as_ref().is_some_and(|acting| acting.is_shown)
    }

    fn is_at_seam(&self) -> bool {
        self.seam.is_some()
    }

    /// Ends a clip, and the making of one: the character is steered again.
    fn let_go(&mut self) {
        self.preparing = None;
        if let Some(acting) = &mut self.acting {
            acting.next = acting.take.poses.len();
        }
    }
}

/// The frame from which a take is shown: the first one behind leaps, which a model makes where it was
/// to begin in a pose that its label hardly knows.
fn settled(poses: &[Pose]) -> usize {
    let beginning = &poses[..poses.len().min(LOOKED_AT + 1)];
    let mut pairs = beginning.windows(2);
    let leap = pairs.rposition(|pair| inertial::leaps([&pair[0], &pair[1]], FRAME));
    leap.map_or(0, |at| at + 1)
}

/// Moves a take by what leads one root to another.
fn moved(take: &mut Take, from: &Root, to: &Root) {
    let turn = crate::rotation::yaw(to.heading - from.heading);
    for pose in &mut take.poses {
        pose.root = to.globalise(&from.localise(&pose.root));
        if let Some(hips) = pose.rotations.first_mut() {
            *hips = turn * *hips;
        }
    }
    for root in &mut take.roots {
        *root = to.global(&from.local(root));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emdm;
    use crate::model::testing::tiny;

    fn performer(with_clips: bool) -> ClipPlayer {
        let model = tiny();
        let crowd = CharacterBatch::new(model, &start(), &[3]).unwrap();
        let clips = with_clips.then(|| emdm::testing::model(3));
        ClipPlayer::new(crowd, clips, 4)
    }

    fn start() -> Tensor {
        tiny().starts().narrow(0, 0, 1)
    }

    fn act(label: usize, seed: u64) -> ActionRequest {
        ActionRequest {
            label,
            seconds: Some(0.8),
            seed,
        }
    }

    fn advance(performer: &mut ClipPlayer, frames: usize) -> Vec<(Pose, PlaybackState)> {
        (0..frames)
            .map(|_| {
                FrameSource::advance(performer, &SteeringTarget::default(), 1.0).unwrap();
                (performer.pose(), performer.performing())
            })
            .collect()
    }

    #[test]
    fn a_clip_is_made_a_step_a_frame_performed_and_left() {
        let mut performer = performer(true);
        advance(&mut performer, 5);
        performer.act(act(1, 7)).unwrap();
        let shown = advance(&mut performer, 40);
        let found: Vec<PlaybackState> = shown.iter().map(|(_, what)| *what).collect();
        // Four steps, of which the last begins the clip of 24 frames.
        assert_eq!(found[2], PlaybackState::Preparing(1));
        assert_eq!(found[3], PlaybackState::Acting(1));
        assert_eq!(found[27], PlaybackState::Acting(1));
        assert_eq!(found[28], PlaybackState::Nothing);
        assert_eq!(found[39], PlaybackState::Nothing);
    }

    #[test]
    fn equal_seeds_and_calls_give_equal_motion() {
        let run = |seed: u64| {
            let mut performer = performer(true);
            performer.act(act(0, seed)).unwrap();
            let mut shown = advance(&mut performer, 12);
            performer.act(act(1, seed)).unwrap();
            shown.extend(advance(&mut performer, 50));
            shown
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn without_clips_or_with_a_wrong_label_it_goes_on_as_before() {
        let mut plain = performer(false);
        let message = plain.act(act(0, 1)).unwrap_err().to_string();
        assert!(message.contains("no model of whole clips"), "{message}");
        let mut other = performer(true);
        assert!(other.act(act(9, 1)).is_err());
        let long = ActionRequest {
            seconds: Some(60.0),
            ..act(0, 1)
        };
        assert!(other.act(long).is_err());
        assert_eq!(other.performing(), PlaybackState::Nothing);
        assert_eq!(advance(&mut plain, 10), advance(&mut other, 10));
    }

    #[test]
    fn what_is_let_go_ends_at_once() {
        let mut performer = performer(true);
        performer.act(act(1, 7)).unwrap();
        advance(&mut performer, 10);
        assert_eq!(performer.performing(), PlaybackState::Acting(1));
        performer.let_go();
        advance(&mut performer, 1);
        assert_eq!(performer.performing(), PlaybackState::Nothing);
    }

    #[test]
    fn a_take_that_is_moved_begins_elsewhere_and_stays_the_same_motion() {
        let clip = emdm::testing::swinging(10, 0.2, 0.1);
        let mut take = Take {
            roots: vec![Root::default(); clip.frames.len()],
            poses: clip.frames,
            contacts: vec![[0.0; 4]; 10],
        };
        let before = take.poses.clone();
        let to = Root {
            position: nalgebra::Vector2::new(1.0, -2.0),
            heading: 0.7,
        };
        moved(&mut take, &Root::default(), &to);
        assert_eq!(take.roots[3], to);
        let step = |poses: &[Pose]| (poses[9].root - poses[0].root).norm();
        assert!((step(&take.poses) - step(&before)).abs() < 1e-9);
        moved(&mut take, &to, &Root::default());
        assert!((take.poses[5].root - before[5].root).norm() < 1e-9);
    }
}
