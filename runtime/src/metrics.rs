//! Prometheus metrics: [`Health`] as text on `http://HOST:PORT/metrics`.
//!
//! The server has a thread of its own and answers with the newest health; nobody waits for it, and
//! it takes a bounded number of connections for a bounded time each. It listens on the loopback
//! address unless asked otherwise, and then for those alone who have a token; without one it answers
//! under loopback names alone.

mod exposition;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kinestream_bridge::Health;
use kinestream_viewer::listener::{BoundedListener, timed};
use kinestream_viewer::{Token, access};

use crate::config::RuntimeConfig;
use crate::page::read_token;

/// Time between two looks at the stop flag.
const GLANCE: Duration = Duration::from_millis(50);
/// How long connections may take to end.
const PARTING: Duration = Duration::from_secs(1);

/// The newest health of every robot; nobody before the first.
type Latest = Arc<Mutex<Vec<Health>>>;

/// A running server.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    latest: Latest,
    thread: JoinHandle<Result<()>>,
}

/// Serves where the configuration says until `stop`, if it names a port; port 0 takes any free one.
/// Answers with status 503 until the first [`MetricsServer::show`].
pub fn serve(config: &RuntimeConfig, stop: &Arc<AtomicBool>) -> Result<Option<MetricsServer>> {
    let Some(port) = config.metrics_port else {
        return Ok(None);
    };
    let host = config.metrics_host;
    let token = config.metrics_token_file.as_deref().map(read_token);
    let token = token.transpose().context("runtime.metrics_token_file")?;
    ensure!(
        token.is_some() || access::is_local(host),
        "runtime.metrics_host is {host}, which other machines reach; add runtime.metrics_token_file, \
         or leave the host out for 127.0.0.1"
    );
    let address = SocketAddr::from((host, port));
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "runtime.metrics_port: port {port} on {host} is in use by another program; \
             choose another, or leave the key out for no metrics"
        ),
        _ => anyhow!(
            "runtime.metrics_port: cannot listen on port {port} of {host}: {error}; choose one \
             that this user may open (1024 or above), and an address of this machine for \
             runtime.metrics_host"
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
    let (stop, shared) = (Arc::clone(stop), Arc::clone(&latest));
    let thread = std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || runtime.block_on(answer(listener, token, stop, shared)))
        .context("cannot start the metrics server")?;
    Ok(Some(MetricsServer {
        address,
        latest,
        thread,
    }))
}

impl MetricsServer {
    /// The address, with the real port where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with the health of these robots from now on.
    pub fn show(&self, robots: Vec<Health>) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = robots;
    }

    /// Waits for the end, which `stop` brings about.
    pub fn join(self) -> Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the metrics thread panicked"),
        }
    }
}

async fn answer(
    listener: TcpListener,
    token: Option<Token>,
    stop: Arc<AtomicBool>,
    latest: Latest,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .with_state(latest);
    let app = timed(access::guarded(app, token));
    let listener = BoundedListener::new(listener, "metrics");
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
    let robots = latest
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if robots.is_empty() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready yet, try again\n",
        )
            .into_response();
    }
    let headers = [(header::CONTENT_TYPE, exposition::CONTENT_TYPE)];
    (headers, exposition::text(&robots)).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// A configuration with a port, 0 for any free one.
    fn on(port: u16) -> RuntimeConfig {
        RuntimeConfig {
            metrics_port: Some(port),
            ..RuntimeConfig::default()
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        get_with(address, path, "")
    }

    fn get_with(address: SocketAddr, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_newest_health_is_served_until_the_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(&on(0), &stop).unwrap().unwrap();
        let address = server.address();
        assert!(get(address, "/metrics").starts_with("HTTP/1.1 503"));
        assert!(get(address, "/").starts_with("HTTP/1.1 404"));
        let health = Health {
            uptime_s: 12.5,
            ..Health::default()
        };
        server.show(vec![health.clone()]);
        let answer = get(address, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.ends_with(&exposition::text(&[health])), "{answer}");
        // A reader that keeps its connection does not hold up the end.
        let _idle = TcpStream::connect(address).unwrap();
        stop.store(true, Ordering::SeqCst);
        server.join().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_page_whose_name_points_here_gets_nothing() {
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(&on(0), &stop).unwrap().unwrap();
        server.show(vec![Health::default()]);
        let address = server.address();
        let ask = |head: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = format!("GET /metrics HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        for (head, status) in [
            ("Host: evil.example\r\n", "421"),
            ("Host: 192.0.2.7:80\r\n", "421"),
            ("", "400"),
            ("Host: localhost\r\nHost: localhost\r\n", "400"),
            ("Host: user@localhost\r\n", "400"),
        ] {
            let answer = ask(head);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{head}: {answer}");
            assert!(!answer.contains("kinestream_uptime"), "{answer}");
        }
        for head in [
            "Host: localhost\r\n",
            "Host: robot.localhost:1\r\n",
            "Host: [::1]:9\r\n",
        ] {
            let answer = ask(head);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{head}: {answer}");
        }
        stop.store(true, Ordering::SeqCst);
        server.join().unwrap();
    }

    #[test]
    fn a_port_in_use_is_named_with_its_key_and_a_remedy() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let error = serve(&on(port), &Arc::default()).unwrap_err();
        let said = error.to_string();
        for word in ["runtime.metrics_port", &port.to_string(), "choose another"] {
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn other_machines_need_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let open = RuntimeConfig {
            metrics_host: "0.0.0.0".parse().unwrap(),
            ..on(0)
        };
        let said = serve(&open, &Arc::default()).unwrap_err().to_string();
        assert!(said.contains("runtime.metrics_token_file"), "{said}");
        std::fs::write(&file, "too short\n").unwrap();
        let guarded = RuntimeConfig {
            metrics_token_file: Some(file.clone()),
            ..open
        };
        let said = format!("{:#}", serve(&guarded, &Arc::default()).unwrap_err());
        assert!(said.contains("16 to 128"), "{said}");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(&guarded, &stop).unwrap().unwrap();
        server.show(vec![Health::default()]);
        let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
        for wrong in ["", "Authorization: Bearer 0123456789abcdeX\r\n"] {
            let answer = get_with(address, "/metrics", wrong);
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert!(!answer.contains("kinestream_uptime"), "{answer}");
        }
        let right = "Authorization: Bearer 0123456789abcdef\r\n";
        let answer = get_with(address, "/metrics", right);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stop.store(true, Ordering::SeqCst);
        server.join().unwrap();
    }
}
