//! Where requests to perform something come in: from zenoh, the page and engines, on any thread.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use kinestream_bridge::ActRequest;
use kinestream_motion::emdm::ActionLibrary;
use kinestream_motion::performer::ActionRequest;
use serde_json::{Value, json};

/// Requests that wait for the character.
pub type Requests = Receiver<ActionRequest>;

/// Requests that wait for the next pose; a sixtieth of a second holds few.
const WAITING: usize = 16;

/// Takes requests and says what comes of them; its clones share one queue.
#[derive(Debug, Clone)]
pub struct ActionQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    repertoire: Option<ActionLibrary>,
    sender: Sender<ActionRequest>,
    counts: Mutex<ActCounts>,
}

/// What was asked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ActCounts {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were refused.
    pub refused: u64,
}

/// A request that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The label.
    pub action: String,
    /// How long it lasts, in seconds.
    pub seconds: f64,
}

impl ActionQueue {
    /// For what a character can perform; none for nothing. Requests come out at the receiver.
    pub fn new(repertoire: Option<ActionLibrary>) -> (Self, Requests) {
        let (sender, receiver) = bounded(WAITING);
        let shared = Shared {
            repertoire,
            sender,
            counts: Mutex::default(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Names of all actions.
    pub fn names(&self) -> Vec<String> {
        let repertoire = self.0.repertoire.iter();
        repertoire
            .flat_map(|one| one.labels().names().map(str::to_owned))
            .collect()
    }

    /// The name of an action by its number.
    pub fn name(&self, label: usize) -> Option<&str> {
        self.0.repertoire.as_ref()?.labels().names().nth(label)
    }

    /// What can be asked for, as `info/actions` tells it.
    pub fn described(&self) -> Value {
        let actions: Vec<Value> = self
            .0
            .repertoire
            .iter()
            .flat_map(|one| one.labels().all().iter().zip(one.spans()))
            .map(|(label, span)| {
                json!({
                    "action": label.name,
                    "words": label.words,
                    "usual_s": span.usual,
                    "most_s": span.most,
                })
            })
            .collect();
        json!({ "actions": actions })
    }

    /// Takes a request.
    ///
    /// # Errors
    /// What cannot be performed, with what could.
    pub fn ask(&self, request: &ActRequest) -> Result<Accepted, String> {
        let taken = self.take(request);
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match &taken {
            Ok(_) => counts.accepted += 1,
            Err(_) => counts.refused += 1,
        }
        taken
    }

    fn take(&self, request: &ActRequest) -> Result<Accepted, String> {
        let Some(repertoire) = &self.0.repertoire else {
            return Err(
                "the character has no model of whole clips and is steered alone; start it with --clips".into(),
            );
        };
        let taken = self.counts().accepted;
        let seed = request.seed.unwrap_or(taken);
        let act = repertoire
            .act(&request.action, request.seconds, seed)
            .map_err(|error| error.to_string())?;
        match self.0.sender.try_send(act) {
            Ok(()) => Ok(Accepted {
                action: self.name(act.label).unwrap_or_default().to_owned(),
                seconds: act.seconds.unwrap_or_default(),
            }),
            Err(TrySendError::Full(_)) => Err("too many requests at once; ask again".into()),
            Err(TrySendError::Disconnected(_)) => Err("the character has ended".into()),
        }
    }

    /// What was asked so far.
    pub fn counts(&self) -> ActCounts {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
