//! Prometheus metrics: [`Health`] as text on `http://127.0.0.1:PORT/metrics`.
//!
//! The server has a thread of its own and answers with the newest health; nobody waits for it. It
//! listens on the loopback address alone: to reach it from elsewhere, forward the port.

mod exposition;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kinestream_bridge::Health;

/// Time between two looks at the stop flag.
const GLANCE: Duration = Duration::from_millis(50);
/// How long connections may take to end.
const PARTING: Duration = Duration::from_secs(1);

/// The newest health; none before the first.
type Latest = Arc<Mutex<Option<Health>>>;

/// A running server.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    address: SocketAddr,
    latest: Latest,
    thread: JoinHandle<Result<()>>,
}

/// Serves on 127.0.0.1 until `stop`; port 0 takes any free one. Answers with status 503 until the
/// first [`MetricsServer::show`].
pub(crate) fn serve(port: u16, stop: Arc<AtomicBool>) -> Result<MetricsServer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "runtime.metrics_port: port {port} on 127.0.0.1 is in use by another program; \
             choose another, or leave the key out for no metrics"
        ),
        _ => anyhow!(
            "runtime.metrics_port: cannot listen on port {port} of 127.0.0.1: {error}; \
             choose one that this user may open (1024 or above)"
        ),
    })?;
    // The listener is handed to tokio, which requires this.
    listener
        .set_nonblocking(true)
        .context("cannot start the metrics server")?;
    let address = listener
        .local_addr()
        .context("cannot start the metrics server")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the metrics server")?;
    let latest = Latest::default();
    let shared = Arc::clone(&latest);
    let thread = std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || runtime.block_on(answer(listener, stop, shared)))
        .context("cannot start the metrics server")?;
    Ok(MetricsServer {
        address,
        latest,
        thread,
    })
}

impl MetricsServer {
    /// The address, with the real port where 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with this health from now on.
    pub(crate) fn show(&self, health: Health) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }

    /// Waits for the end, which `stop` brings about.
    pub(crate) fn join(self) -> Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the metrics thread panicked"),
        }
    }
}

async fn answer(listener: TcpListener, stop: Arc<AtomicBool>, latest: Latest) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .with_state(latest);
    let stopped = async move |rest: Duration| {
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(GLANCE).await;
        }
        tokio::time::sleep(rest).await;
    };
    let (gently, at_last) = (stopped.clone(), stopped);
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(async move { gently(Duration::ZERO).await });
    tokio::select! {
        ended = server => ended.context("the metrics server failed"),
        () = at_last(PARTING) => Ok(()),
    }
}

async fn metrics(State(latest): State<Latest>) -> Response {
    let health = latest
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match health {
        Some(health) => {
            let headers = [(header::CONTENT_TYPE, exposition::CONTENT_TYPE)];
            (headers, exposition::text(&health)).into_response()
        }
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready yet, try again\n",
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_newest_health_is_served_until_the_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(0, Arc::clone(&stop)).unwrap();
        let address = server.address();
        assert!(get(address, "/metrics").starts_with("HTTP/1.1 503"));
        assert!(get(address, "/").starts_with("HTTP/1.1 404"));
        let health = Health {
            uptime_s: 12.5,
            ..Health::default()
        };
        server.show(health.clone());
        let answer = get(address, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.ends_with(&exposition::text(&health)), "{answer}");
        // A reader that keeps its connection does not hold up the end.
        let _idle = TcpStream::connect(address).unwrap();
        stop.store(true, Ordering::SeqCst);
        server.join().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_port_in_use_is_named_with_its_key_and_a_remedy() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let error = serve(port, Arc::default()).unwrap_err();
        let said = error.to_string();
        for word in ["runtime.metrics_port", &port.to_string(), "choose another"] {
            assert!(said.contains(word), "{said}");
        }
    }
}
