//! Where a robot's observations come in: inboxes on a session, or in this program.

use anyhow::Result;
use kinestream_bridge::node::{Channel, Inbox, InboxSender, Notifier, Publisher, Room};
use kinestream_bridge::wire::{Decode, ImageSlice, ObservationView};
use kinestream_bridge::{Command, Image, Node, Observation};

use super::reception::{Arrived, Reception};
use crate::INBOX_CAPACITY;
use crate::cameras::Cameras;
use crate::recording::topic;

/// Observations that wait: as many as come while a slow policy evaluates.
pub(super) const OBSERVATIONS: Room = Room {
    messages: 1024,
    bytes: 16 << 20,
};
/// Pictures of a camera that wait: as many as belong to these.
const PICTURES: usize = 64;
/// Bytes of them at most, of one camera and of all: a raw picture of a large camera has megabytes.
const PICTURE_BYTES: (usize, usize) = (64 << 20, 128 << 20);

/// What a robot's side of the policy node reads from and writes to.
pub(super) struct Inputs {
    pub(super) observations: Inbox<Arrived>,
    /// With the topics that they are recorded on, in the order of the policy's cameras.
    pub(super) pictures: Vec<(String, Inbox<Image>)>,
    pub(super) resets: Inbox<Command>,
    pub(super) plans: Option<Publisher>,
}

/// Where a program hands its own robot's observations in. Nothing in here waits for the policy.
pub(crate) struct SensorPort {
    reception: Reception,
    observations: InboxSender<Arrived>,
    pictures: Vec<InboxSender<Image>>,
    resets: InboxSender<Command>,
}

impl SensorPort {
    /// Takes an observation, whose numbers are in the order of `task.observation`. The watchdog hears of it at once where it
    /// can be planned from; what is wrong with another is told by the policy thread.
    pub(crate) fn observe(&self, observation: Observation) {
        let bytes = 8 * observation.dims();
        let arrived = self.reception.take_owned(observation);
        self.observations.send(arrived, bytes);
    }

    /// Number of cameras.
    pub(crate) fn cameras(&self) -> usize {
        self.pictures.len()
    }

    /// Takes a picture of a camera, counted from 0 in the order of `task.observation`, before the observation that it belongs
    /// to.
    pub(crate) fn see(&self, camera: usize, picture: Image) {
        let bytes = picture.data.len();
        self.pictures[camera].send(picture, bytes);
    }

    /// Takes a command; resets are what counts.
    pub(crate) fn command(&self, command: Command) {
        self.resets.send(command, 1);
    }
}

impl Inputs {
    pub(super) fn of_session(
        node: &Node,
        cameras: &Cameras,
        reception: Reception,
        lossless: bool,
        bell: &Notifier,
    ) -> Result<Self> {
        let room = picture_room(cameras);
        let pictures = cameras
            .names()
            .map(|name| {
                let key = node.keys().observation(name)?;
                let own = |view: ImageSlice<'_>| Image::from_view(&view);
                let inbox = node.inbox_of::<Image, _, _>(&key, room, None, own)?;
                Ok((topic::of_camera(name), inbox))
            })
            .collect::<Result<Vec<_>>>()?;
        let key = node.keys().observation("state")?;
        let receive = move |view: ObservationView<'_>| reception.take(&view);
        Ok(Self {
            pictures,
            resets: node.inbox(&node.keys().command("reset")?, INBOX_CAPACITY)?,
            observations: node.inbox_of::<Observation, Arrived, _>(
                &key,
                OBSERVATIONS,
                Some(bell),
                receive,
            )?,
            plans: Some(if lossless {
                node.lossless_publisher(Channel::Plan)?
            } else {
                node.publisher(Channel::Plan)?
            }),
        })
    }

    pub(super) fn of_program(
        cameras: &Cameras,
        reception: Reception,
        bell: &Notifier,
    ) -> (Self, SensorPort) {
        let room = picture_room(cameras);
        let (senders, pictures) = cameras
            .names()
            .map(|name| {
                let (sender, inbox) = Inbox::local(room, None);
                (sender, (topic::of_camera(name), inbox))
            })
            .unzip();
        let (observations, observed) = Inbox::local(OBSERVATIONS, Some(bell));
        let (resets, reset) = Inbox::local(Room::of(INBOX_CAPACITY), None);
        let inputs = Self {
            observations: observed,
            pictures,
            resets: reset,
            plans: None,
        };
        let port = SensorPort {
            reception,
            observations,
            pictures: senders,
            resets,
        };
        (inputs, port)
    }
}

/// Room for the pictures of each camera.
fn picture_room(cameras: &Cameras) -> Room {
    let (each, all) = PICTURE_BYTES;
    Room {
        messages: PICTURES,
        bytes: each.min(all / cameras.names().count().max(1)),
    }
}
