//! What never reaches the log, whatever level it is asked for: events in which a password or a token stands.
//!
//! zenoh logs the configuration of a session at `debug`, its password included, and `RUST_LOG` may ask for any level of any
//! target. So what counts is not who logs but what: an event with one of the words of [`secrets`] in it is left out whole.

use std::fmt::{Debug, Write as _};

use kinestream_bridge::secrets;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// A filter for every layer that writes; to be joined to the layer's own by `FilterExt::and`, where it comes last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redaction;

impl<S: Subscriber> Filter<S> for Redaction {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if !secrets::are_kept() {
            return true;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        !secrets::occur_in(&text.0)
    }
}

/// All that an event says.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = writeln!(self.0, "{value:?}");
    }

    fn record_str(&mut self, _: &Field, value: &str) {
        let _ = writeln!(self.0, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::{FilterExt as _, LevelFilter};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_with_a_secret_in_it_is_left_out_and_no_other() {
        let log = Log::default();
        let writer = log.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .with_filter(LevelFilter::TRACE.and(Redaction));
        let subscriber = tracing_subscriber::registry().with(layer);
        let password = "pass\"word-of-the-redaction-test";
        tracing::subscriber::with_default(subscriber, || {
            secrets::keep(password);
            tracing::debug!("Config: {:?}", Some(password));
            tracing::trace!(password, "a field");
            tracing::error!(session = ?[password], "another");
            tracing::warn!("said plainly: {password}");
            tracing::trace!(answer = 42, "harmless");
        });
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("harmless"), "{said}");
    }
}
