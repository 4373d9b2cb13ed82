//! Who was refused by zenoh, told once in a sentence: no certificate, a wrong password, a forbidden key.
//!
//! zenoh tells these at levels that nobody reads (`trace`, `debug`), again at every try, and in words about its own parts.
//! [`Refusals`] listens for them and says each one once, and, while it goes on, once an hour with the count. What it
//! recognises are sentences of the zenoh that Cargo.lock names; `tests/secure.rs` holds the two together.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
/// Different refusals that are kept apart; whoever invents names cannot fill the memory with them.
const MOST: usize = 256;
/// What waits to be written; more is dropped.
const WAITING: usize = 64;

/// A directive that keeps zenoh's own sentence about a refused session out of the log: it comes at every try.
pub(crate) const SILENCED: &str = "zenoh_transport::unicast::establishment::open=off";

/// A layer that says who was refused. It sees events itself and writes from a thread of its own, because an event cannot be
/// made while another one is looked at.
pub(crate) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (sender, receiver) = sync_channel(WAITING);
    let filter = Targets::new()
        .with_target(CERTIFICATES, LevelFilter::WARN)
        .with_target(PASSWORDS, LevelFilter::DEBUG)
        .with_target(OTHER_SIDE, LevelFilter::ERROR)
        .with_target(ACCESS, LevelFilter::TRACE);
    Refusals {
        ledger: Mutex::new(Ledger::default()),
        sender,
        receiver: Mutex::new(Some(receiver)),
    }
    .with_filter(filter)
}

struct Refusals {
    ledger: Mutex<Ledger>,
    sender: SyncSender<String>,
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
struct Ledger {
    told: HashMap<String, (Instant, u64)>,
    /// What a session's certificate or user calls it, by the session's identifier.
    names: HashMap<String, String>,
    /// The key whose permissions zenoh works out ahead of any use: not yet a refusal.
    worked_out: String,
}

impl Ledger {
    /// The sentence to write now, if this event asks for one.
    fn hear(&mut self, target: &str, message: &str, now: Instant) -> Option<String> {
        let refusal = match target {
            CERTIFICATES => about_certificates(message)?,
            PASSWORDS => about_passwords(message)?.to_owned(),
            OTHER_SIDE => about_ourselves(message)?.to_owned(),
            ACCESS => self.about_keys(message)?,
            _ => return None,
        };
        if let Some((last, more)) = self.told.get_mut(&refusal) {
            *more += 1;
            if now.duration_since(*last) < AGAIN {
                return None;
            }
            let sentence = format!("{refusal}; {more} times since this was last said");
            (*last, *more) = (now, 0);
            return Some(sentence);
        }
        match self.told.len() {
            MOST => None,
            room if room + 1 == MOST => {
                self.told.insert(refusal, (now, 0));
                Some(format!(
                    "{MOST} different refusals: further ones are not told"
                ))
            }
            _ => {
                self.told.insert(refusal.clone(), (now, 0));
                Some(refusal)
            }
        }
    }

    fn about_keys(&mut self, message: &str) -> Option<String> {
        if let Some((_, rest)) = message.split_once("caching permissions for `") {
            self.worked_out = rest.split('`').next().unwrap_or_default().to_owned();
            return None;
        }
        let (who, what) = message.split_once(" is unauthorized to ")?;
        let (action, key) = what.rsplit_once(" on ")?;
        let who = match who.strip_prefix("Using cached result: ") {
            Some(session) => session,
            None => {
                let (session, subject) = who.split_once(" on ")?;
                self.remember(session, subject);
                if key == self.worked_out {
                    return None;
                }
                session
            }
        };
        // What goes out to someone who may not see it is withheld, not asked for.
        let action = action.strip_suffix(" (ingress)")?;
        let who = self.names.get(who).map_or(who, String::as_str);
        Some(format!("refused: {who} may not {action} on {key}"))
    }

    /// `Interface(lo)+CertCommonName(viewer)+Transport(Tls)+10cf...` as `viewer`.
    fn remember(&mut self, session: &str, subject: &str) {
        if self.names.len() >= MOST || self.names.contains_key(session) {
            return;
        }
        let name = subject.split('+').find_map(|part| {
            part.strip_prefix("CertCommonName(")
                .or_else(|| part.strip_prefix("Username("))?
                .strip_suffix(')')
        });
        if let Some(name) = name {
            self.names
                .insert(session.to_owned(), format!("{name} ({session})"));
        }
    }
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
        let mut ledger = Ledger::default();
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
        let mut ledger = Ledger::default();
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

    #[test]
    fn an_invented_name_cannot_fill_the_memory() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let told = (0..10_000)
            .filter_map(|number| {
                let message =
                    format!("{number:x} on x is unauthorized to Put (ingress) on a/{number}");
                ledger.hear(ACCESS, &message, now)
            })
            .collect::<Vec<_>>();
        assert_eq!(told.len(), MOST);
        assert!(told.last().unwrap().contains("not told"));
        assert!(ledger.told.len() <= MOST && ledger.names.len() <= MOST);
    }

    #[test]
    fn certificates_and_the_other_side() {
        let mut ledger = Ledger::default();
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
