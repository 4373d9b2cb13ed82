//! A client of the WebSocket for game engines, by a library that is not ours.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// Longest wait for a message; only a hung program reaches it.
const LIMIT: Duration = Duration::from_secs(120);

/// An engine at the WebSocket.
pub(crate) struct Engine(pub(crate) WebSocket<TcpStream>);

impl Engine {
    pub(crate) fn connect(address: &str) -> Self {
        let host = address.strip_prefix("ws://").unwrap();
        let stream = TcpStream::connect(host.split('/').next().unwrap()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(tungstenite::client(address, stream).unwrap().0)
    }

    pub(crate) fn json(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }

    /// Messages until one is as wanted, which it is sooner or later.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.json();
            if wanted(&value) {
                return value;
            }
            assert!(begun.elapsed() < LIMIT, "nothing {what}: {value}");
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }
}
