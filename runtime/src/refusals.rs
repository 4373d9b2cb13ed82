//! Who was refused by zenoh, told once in a sentence: no certificate, a wrong password, a forbidden key.
//!
//! zenoh tells these at levels that nobody reads (`trace`, `debug`), again at every try, and in words about its own parts.
//! `Refusals` listens for them and says each one once, and, while it goes on, once an hour with the count. Whoever invents
//! ever new ones is told of once a minute, and hides nobody else. What it recognises are sentences of the zenoh that Cargo.lock names; `tests/it/secure.rs` holds the two together.

use std::collections::{HashMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

const CERTIFICATES: &str = "zenoh_link_tls::unicast";
const PASSWORDS: &str = "zenoh_transport::unicast::establishment::accept";
const OTHER_SIDE: &str = "zenoh_transport::unicast::establishment::open";
const ACCESS: &str = "zenoh::net::routing::interceptor::access_control";

/// A refusal that goes on is told again after this time.
const AGAIN: Duration = Duration::from_secs(3600);
/// Different refusals that are kept apart; whoever invents names cannot fill the memory with them, nor the log: beyond so
/// many the oldest is forgotten, and new ones of one kind are told once in [`BEYOND`].
const MOST: usize = 256;
/// See [`MOST`].
const BEYOND: Duration = Duration::from_secs(60);
/// Kinds of refusals beyond [`MOST`] that are kept apart.
const MOST_KINDS: usize = 64;
/// What waits to be written; more is dropped.
const WAITING: usize = 64;

/// A directive that keeps zenoh's own sentence about a refused session out of the log: it comes at every try.
pub const SILENCED: &str = "zenoh_transport::unicast::establishment::open=off";

/// A layer that says who was refused. It sees events itself and writes from a thread of its own, because an event cannot be
/// made while another one is looked at.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (sender, receiver) = bounded(WAITING);
    let filter = Targets::new()
        .with_target(CERTIFICATES, LevelFilter::WARN)
        .with_target(PASSWORDS, LevelFilter::DEBUG)
        .with_target(OTHER_SIDE, LevelFilter::ERROR)
        .with_target(ACCESS, LevelFilter::TRACE);
    Refusals {
        ledger: Mutex::new(RejectionLog::default()),
        sender,
        receiver: Mutex::new(Some(receiver)),
    }
    .with_filter(filter)
}

struct Refusals {
    ledger: Mutex<RejectionLog>,
    sender: Sender<String>,
    /// Taken by the writing thread, which begins with the first refusal.
    receiver: Mutex<Option<Receiver<String>>>,
}

impl<S: Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let told = self
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hear(event.metadata().target(), &message.0, Instant::now());
        let Some(told) = told else { return };
        let receiver = self
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(receiver) = receiver {
            let begun = std::thread::Builder::new()
                .name("refusals".to_owned())
                .spawn(move || {
                    for line in receiver {
                        tracing::warn!("{line}");
                    }
                });
            drop(begun);
        }
        let _ = self.sender.try_send(told);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// What was told and when.
#[derive(Default)]
struct RejectionLog {
    told: HashMap<String, (Instant, u64)>,
    /// Beyond [`MOST`]: when one of a kind was last told, and how many were not since.
    beyond: HashMap<String, (Instant, u64)>,
    names: Names,
    /// The key whose permissions zenoh works out ahead of any use: not yet a refusal.
    worked_out: String,
}

/// What a session's certificate or user calls it, by the session's identifier; the newest [`MOST`] of them.
#[derive(Default)]
struct Names {
    by_session: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Names {
    fn keep(&mut self, session: &str, name: &str) {
        if self.by_session.contains_key(session) {
            return;
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_session.remove(&oldest);
        }
        self.order.push_back(session.to_owned());
        self.by_session.insert(session.to_owned(), name.to_owned());
    }

    fn of(&self, session: &str) -> Option<&str> {
        self.by_session.get(session).map(String::as_str)
    }
}

/// A refusal and what tells it from floods of others.
struct Refusal {
    sentence: String,
    /// Fixed words, or who is refused: not what a stranger may invent with every try.
    kind: String,
}

impl Refusal {
    fn plain(sentence: impl Into<String>, kind: &str) -> Self {
        Self {
            sentence: sentence.into(),
            kind: kind.to_owned(),
        }
    }
}

impl RejectionLog {
    /// The sentence to write now, if this event asks for one.
    fn hear(&mut self, target: &str, message: &str, now: Instant) -> Option<String> {
        let Refusal { sentence, kind } = match target {
            CERTIFICATES => Refusal::plain(about_certificates(message)?, CERTIFICATES),
            PASSWORDS => Refusal::plain(about_passwords(message)?, PASSWORDS),
            OTHER_SIDE => Refusal::plain(about_ourselves(message)?, OTHER_SIDE),
            ACCESS => self.about_keys(message)?,
            _ => return None,
        };
        if let Some((last, more)) = self.told.get_mut(&sentence) {
            *more += 1;
            if now.duration_since(*last) < AGAIN {
                return None;
            }
            let again = format!("{sentence}; {more} times since this was last said");
            (*last, *more) = (now, 0);
            return Some(again);
        }
        let is_full = self.told.len() >= MOST;
        if is_full {
            self.forget_the_oldest();
        }
        self.told.insert(sentence.clone(), (now, 0));
        match is_full {
            false => Some(sentence),
            true => self.tell_beyond(sentence, kind, now),
        }
    }

    fn forget_the_oldest(&mut self) {
        let oldest = self.told.iter().min_by_key(|(_, (last, _))| *last);
        if let Some(oldest) = oldest.map(|(sentence, _)| sentence.clone()) {
            self.told.remove(&oldest);
        }
    }

    /// A refusal that found the ledger full: one of its kind in [`BEYOND`] is told.
    fn tell_beyond(&mut self, sentence: String, kind: String, now: Instant) -> Option<String> {
        let known = self.beyond.contains_key(&kind);
        // Kinds beyond their number share one.
        let kind = match known || self.beyond.len() < MOST_KINDS {
            true => kind,
            false => String::new(),
        };
        let Some((last, untold)) = self.beyond.get_mut(&kind) else {
            self.beyond.insert(kind, (now, 0));
            return Some(sentence);
        };
        if now.duration_since(*last) < BEYOND {
            *untold += 1;
            return None;
        }
        let told = match *untold {
            0 => sentence,
            untold => format!("{sentence}; {untold} others like it were not told"),
        };
        (*last, *untold) = (now, 0);
        Some(told)
    }

    fn about_keys(&mut self, message: &str) -> Option<Refusal> {
        if let Some((_, rest)) = message.split_once("caching permissions for `") {
            self.worked_out = rest.split('`').next().unwrap_or_default().to_owned();
            return None;
        }
        let (who, what) = message.split_once(" is unauthorized to ")?;
        let (action, key) = what.rsplit_once(" on ")?;
        let session = match who.strip_prefix("Using cached result: ") {
            Some(session) => session,
            None => {
                let (session, subject) = who.split_once(" on ")?;
                if let Some(name) = name_of(subject) {
                    self.names.keep(session, name);
                }
                if key == self.worked_out {
                    return None;
                }
                session
            }
        };
        // What goes out to someone who may not see it is withheld, not asked for.
        let action = action.strip_suffix(" (ingress)")?;
        let name = self.names.of(session);
        let who = name.map_or_else(|| session.to_owned(), |it| format!("{it} ({session})"));
        Some(Refusal {
            sentence: format!("refused: {who} may not {action} on {key}"),
            kind: format!("{ACCESS} {}", name.unwrap_or_default()),
        })
    }
}

/// `Interface(lo)+CertCommonName(viewer)+Transport(Tls)+10cf...` as `viewer`.
fn name_of(subject: &str) -> Option<&str> {
    subject.split('+').find_map(|part| {
        part.strip_prefix("CertCommonName(")
            .or_else(|| part.strip_prefix("Username("))?
            .strip_suffix(')')
    })
}

fn about_certificates(message: &str) -> Option<String> {
    let cause = message.split(". Hint:").next()?;
    let cause = cause.trim_end_matches('.');
    cause
        .contains("certificate")
        .then(|| format!("refused: a connection over TLS, {cause}"))
}

fn about_passwords(message: &str) -> Option<&'static str> {
    if !message.contains("UsrPwd extension") {
        None
    } else if message.contains("Invalid password") {
        Some("refused: a session with a wrong password")
    } else if message.contains("Invalid user") {
        Some("refused: a session of an unknown user")
    } else if message.contains("Expected extension") {
        Some("refused: a session without user and password")
    } else {
        None
    }
}

fn about_ourselves(message: &str) -> Option<&'static str> {
    message.contains("Received a close message").then_some(
        "the other side refuses our session: look at user and password in the zenoh configuration, \
         and at what the other side says",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CACHING: &str = "ACL (ingress): caching permissions for `a/b/cmd/estop` ...";
    const WORKED_OUT: &str = "10cf on Interface(lo)+CertCommonName(viewer)+Transport(Tls)+10cf is unauthorized to Put (ingress) \
                              on a/b/cmd/estop";

    #[test]
    fn a_refusal_is_told_once_and_then_by_the_hour() {
        let mut ledger = RejectionLog::default();
        let begun = Instant::now();
        let message = "UsrPwd extension - Recv OpenSyn. Invalid password. at usrpwd.rs:424.";
        let told = ledger.hear(PASSWORDS, message, begun);
        assert_eq!(
            told.as_deref(),
            Some("refused: a session with a wrong password")
        );
        for second in 1..100 {
            let now = begun + Duration::from_secs(second);
            assert_eq!(ledger.hear(PASSWORDS, message, now), None);
        }
        let told = ledger.hear(PASSWORDS, message, begun + AGAIN).unwrap();
        assert!(told.contains("100 times"), "{told}");
        assert!(
            ledger
                .hear(PASSWORDS, "Invalid user. UsrPwd extension", begun)
                .is_some()
        );
    }

    #[test]
    fn permissions_that_are_only_worked_out_are_no_refusal() {
        let mut ledger = RejectionLog::default();
        let now = Instant::now();
        assert_eq!(ledger.hear(ACCESS, CACHING, now), None);
        assert_eq!(ledger.hear(ACCESS, WORKED_OUT, now), None);
        let used = "Using cached result: 10cf is unauthorized to Put (ingress) on a/b/cmd/estop";
        assert_eq!(
            ledger.hear(ACCESS, used, now).as_deref(),
            Some("refused: viewer (10cf) may not Put on a/b/cmd/estop")
        );
        let withheld = "Using cached result: 10cf is unauthorized to Put (egress) on a/b/act";
        assert_eq!(ledger.hear(ACCESS, withheld, now), None);
        let elsewhere = WORKED_OUT.replace("cmd/estop", "obs/state");
        assert_eq!(
            ledger.hear(ACCESS, &elsewhere, now).as_deref(),
            Some("refused: viewer (10cf) may not Put on a/b/obs/state")
        );
    }

    fn invented(number: usize, name: &str) -> String {
        format!(
            "{number:x} on CertCommonName({name})+{number:x} is unauthorized to Put (ingress) on a/{number}"
        )
    }

    #[test]
    fn an_invented_name_fills_neither_memory_nor_log() {
        let mut ledger = RejectionLog::default();
        let begun = Instant::now();
        let told = (0..10_000)
            .filter_map(|number| ledger.hear(ACCESS, &invented(number, "viewer"), begun))
            .count();
        assert_eq!(told, MOST + 1);
        assert!(ledger.told.len() <= MOST);
        assert!(ledger.names.by_session.len() <= MOST && ledger.names.order.len() <= MOST);
        // It goes on being told, if seldom.
        let later = begun + BEYOND;
        let told = ledger.hear(ACCESS, &invented(20_000, "viewer"), later);
        let told = told.unwrap();
        assert!(
            told.contains("a/20000") && told.contains("viewer"),
            "{told}"
        );
        assert!(told.contains("9743 others"), "{told}");
        // Names beyond their number share one kind.
        let told = (0..10_000)
            .filter_map(|number| ledger.hear(ACCESS, &invented(number, &number.to_string()), later))
            .count();
        assert!(told <= MOST_KINDS + 1, "{told}");
        assert!(ledger.beyond.len() <= MOST_KINDS + 1);
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let mut ledger = RejectionLog::default();
        let now = Instant::now();
        for number in 0..10_000 {
            ledger.hear(ACCESS, &invented(number, "viewer"), now);
        }
        let told = ledger.hear(ACCESS, &invented(1, "robot"), now).unwrap();
        assert!(told.contains("robot"), "{told}");
        let password = "UsrPwd extension - Recv OpenSyn. Invalid password. at usrpwd.rs:424.";
        assert!(ledger.hear(PASSWORDS, password, now).is_some());
        let certificate = "peer sent no certificates. Hint: none.";
        assert!(ledger.hear(CERTIFICATES, certificate, now).is_some());
    }

    #[test]
    fn certificates_and_the_other_side() {
        let mut ledger = RejectionLog::default();
        let now = Instant::now();
        let told = ledger.hear(
            CERTIFICATES,
            "peer sent no certificates. Hint: increase the system open file limit.",
            now,
        );
        assert_eq!(
            told.as_deref(),
            Some("refused: a connection over TLS, peer sent no certificates")
        );
        let files = "Too many open files. Hint: increase the system open file limit.";
        assert_eq!(ledger.hear(CERTIFICATES, files, now), None);
        let closed = "Received a close message (reason GENERIC) in response to an OpenSyn on: ...";
        assert!(ledger.hear(OTHER_SIDE, closed, now).is_some());
        assert_eq!(ledger.hear("kinestream", closed, now), None);
    }
}
