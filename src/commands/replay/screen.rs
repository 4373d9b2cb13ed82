//! The page that a recording is shown on: that of Push-T, or that of a character.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, anyhow};
use kinestream_bridge::SkeletonInfo;
use kinestream_bridge::recording::Survey;
use kinestream_viewer::character::{self, Character};
use kinestream_viewer::pusht;

use crate::commands::page::page_options;
use kinestream_command_line::PageArguments;
use kinestream_runtime::page::{FRAME, Meter, Page};
use kinestream_runtime::recording::{Picture, Scene, SimStep, topic};

/// Time between two pictures of a character.
const POSE: Duration = Duration::from_millis(16);

/// A page and what it shows.
pub(super) struct Screen {
    shows: Shows,
    meter: Meter,
}

/// What a person wants of a replay.
pub(super) enum Wanted {
    Pause,
    Resume,
    Again,
}

enum Shows {
    Pusht {
        page: Page,
        picture: Box<Picture>,
    },
    Character {
        page: Page<Character>,
        scene: Box<Scene>,
    },
}

impl Screen {
    /// Opens the page that fits what was recorded.
    pub(super) fn open(
        arguments: &PageArguments,
        survey: &Survey,
        skeleton: Option<SkeletonInfo>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let shows = if survey.topics.contains_key(topic::POSE) {
            let skeleton = skeleton.ok_or_else(|| {
                anyhow!(
                    "the recording has poses but no `{}`, so they cannot be drawn; play it with \
                     --headless, or record again while the character answers",
                    topic::SKELETON
                )
            })?;
            let scene = Box::new(Scene::new(&skeleton)?);
            let page = Page::<Character>::open(&page_options(arguments), stop)?;
            page.handle().introduce(scene.body()?);
            Shows::Character { page, scene }
        } else {
            Shows::Pusht {
                page: Page::open(&page_options(arguments), stop)?,
                picture: Box::new(Picture::new()),
            }
        };
        Ok(Self {
            shows,
            meter: Meter::new(),
        })
    }

    /// What to open in a browser.
    pub(super) fn url(&self) -> String {
        match &self.shows {
            Shows::Pusht { page, .. } => page.url(),
            Shows::Character { page, .. } => page.url(),
        }
    }

    /// Time between two pictures.
    pub(super) fn period(&self) -> Duration {
        match &self.shows {
            Shows::Pusht { .. } => FRAME,
            Shows::Character { .. } => POSE,
        }
    }

    /// Begins again.
    pub(super) fn restart(&mut self) {
        match &mut self.shows {
            Shows::Pusht { picture, .. } => **picture = Picture::new(),
            Shows::Character { scene, .. } => scene.restart(),
        }
        self.meter = Meter::new();
    }

    /// Takes a message of the wire.
    pub(super) fn wire(&mut self, topic: &str, bytes: &[u8]) {
        match &mut self.shows {
            Shows::Pusht { picture, .. } => picture.wire(topic, bytes),
            Shows::Character { scene, .. } => scene.wire(topic, bytes),
        }
    }

    /// Takes a step of the bundled simulator.
    pub(super) fn step(&mut self, step: &SimStep) {
        if let Shows::Pusht { picture, .. } = &mut self.shows {
            picture.step(step);
        }
    }

    /// What a person did. What has happened cannot be changed: the rest of the page does nothing.
    pub(super) fn next_wanted(&self) -> Option<Wanted> {
        match &self.shows {
            Shows::Pusht { page, .. } => loop {
                return Some(match page.handle().try_next_input()? {
                    pusht::Input::Pause => Wanted::Pause,
                    pusht::Input::Resume => Wanted::Resume,
                    pusht::Input::Reset { .. } => Wanted::Again,
                    _ => continue,
                });
            },
            Shows::Character { page, .. } => loop {
                return Some(match page.handle().try_next_input()? {
                    character::Input::Pause => Wanted::Pause,
                    character::Input::Resume => Wanted::Resume,
                    character::Input::Reset { .. } => Wanted::Again,
                    _ => continue,
                });
            },
        }
    }

    /// Gives the page a picture.
    pub(super) fn show(&mut self, paused: bool, fault: Option<String>) {
        match &self.shows {
            Shows::Pusht { page, picture } => {
                let (plans, actions) = picture.counts();
                self.meter.measure(plans, actions);
                let mut frame = picture.frame(self.meter.rates(), fault);
                if paused {
                    frame.state = pusht::RunState::Paused;
                }
                page.handle().publish(frame);
            }
            Shows::Character { page, scene } => {
                let (frames, poses) = scene.counts();
                self.meter.measure(frames, poses);
                let rates = self.meter.rates();
                let mut frame = scene.frame((rates.plans_per_second, rates.commands_per_second));
                if paused {
                    frame.state = character::RunState::Paused;
                }
                page.handle().publish(frame);
            }
        }
    }

    /// Waits for the end of the page.
    pub(super) fn close(self) -> Result<()> {
        match self.shows {
            Shows::Pusht { page, .. } => page.close(),
            Shows::Character { page, .. } => page.close(),
        }
    }
}
