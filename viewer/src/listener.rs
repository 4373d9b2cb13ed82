//! A listener that nobody can use up: at most so many connections, each with a limit on its time.
//!
//! A connection has [`HEAD_LIMIT`] to send its first request and, from then on, [`REQUEST_LIMIT`]
//! from each request to the next, the answer's way out included. A WebSocket has none of these: its
//! server says when it is dead. Connections beyond [`MAX_CONNECTIONS`] are closed at once. What the
//! system refuses is tried again at growing intervals, and told at counts of 1, 2, 4, 8, ...

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected, IntoMakeServiceWithConnectInfo};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Connections of one listener at a time.
pub const MAX_CONNECTIONS: usize = 64;
/// How long the first request of a connection may take to arrive.
pub const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Longest time from one request of a connection to the next.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// First and longest wait after the system refused a connection, for want of descriptors for example.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What connections of a listener may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At a time.
    pub connections: usize,
    /// Until the head of the first request is there.
    pub head: Duration,
    /// From each request to the next.
    pub request: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            head: HEAD_LIMIT,
            request: REQUEST_LIMIT,
        }
    }
}

/// A TCP listener for [`axum::serve`](fn@axum::serve) with [`ConnectionLimits`]; serve it what [`timed`] makes of a
/// router.
#[derive(Debug)]
pub struct BoundedListener {
    inner: TcpListener,
    /// What it is called in the log.
    name: &'static str,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    crowded: u64,
    failed: u64,
}

impl BoundedListener {
    /// Bounds what a listener accepts. `name` is what the log calls it.
    pub fn new(inner: TcpListener, name: &'static str) -> Self {
        Self::with_limits(inner, name, ConnectionLimits::default())
    }

    /// As [`BoundedListener::new`], with limits of one's own.
    pub fn with_limits(inner: TcpListener, name: &'static str, limits: ConnectionLimits) -> Self {
        Self {
            inner,
            name,
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            crowded: 0,
            failed: 0,
        }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        let mut wait = BACKOFF.0;
        loop {
            let (stream, address) = match self.inner.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.failed += 1;
                    if self.failed.is_power_of_two() {
                        tracing::warn!(
                            count = self.failed,
                            "{}: a connection could not be accepted: {error}",
                            self.name
                        );
                    }
                    sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                    continue;
                }
            };
            // An answer is one small packet, or its last one is: it is not to wait for more.
            let _ = stream.set_nodelay(true);
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => return (TimedStream::new(stream, place, self.limits), address),
                Err(_) => {
                    self.crowded += 1;
                    if self.crowded.is_power_of_two() {
                        tracing::warn!(
                            count = self.crowded,
                            "{}: closed a connection, {} are open",
                            self.name,
                            self.limits.connections
                        );
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Has a router tell each connection's clock of its requests, as [`BoundedListener`] needs it.
pub fn timed(router: Router) -> IntoMakeServiceWithConnectInfo<Router, ConnectionClock> {
    router
        .layer(from_fn(tell_clock))
        .into_make_service_with_connect_info()
}

async fn tell_clock(
    ConnectInfo(clock): ConnectInfo<ConnectionClock>,
    request: Request,
    next: Next,
) -> Response {
    clock.begin_request();
    let response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        clock.end_limit();
    }
    response
}

/// When a connection is to end; shared by its stream and its requests.
#[derive(Debug, Clone)]
pub struct ConnectionClock {
    deadline: Arc<Mutex<Option<Instant>>>,
    request: Duration,
}

impl ConnectionClock {
    fn begin_request(&self) {
        self.set(Some(Instant::now() + self.request));
    }

    fn end_limit(&self) {
        self.set(None);
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for ConnectionClock {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        stream.io().clock.clone()
    }
}

/// A connection that fails once its clock's deadline has passed.
#[derive(Debug)]
pub struct TimedStream {
    inner: TcpStream,
    clock: ConnectionClock,
    alarm: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl TimedStream {
    fn new(inner: TcpStream, place: OwnedSemaphorePermit, limits: ConnectionLimits) -> Self {
        let deadline = Instant::now() + limits.head;
        Self {
            inner,
            clock: ConnectionClock {
                deadline: Arc::new(Mutex::new(Some(deadline))),
                request: limits.request,
            },
            alarm: Box::pin(sleep_until(deadline)),
            _place: place,
        }
    }

    /// An error once the deadline has passed; until then the task is woken when it does.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = self.clock.deadline() else {
            return Ok(());
        };
        // Requests move it; they run on the connection's own task, which then comes here again.
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        match self.alarm.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;

    use axum::routing::get;

    use super::*;

    /// Serves "hello" under the limits; the client's read limit only turns a hang into a failure.
    fn serve(limits: ConnectionLimits) -> (tokio::runtime::Runtime, impl Fn() -> Client) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let listener = BoundedListener::with_limits(listener, "test", limits);
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/large", get(async || "x".repeat(64 << 20)));
        runtime.spawn(async move { axum::serve(listener, timed(router)).await });
        let connect = move || {
            let client = Client::connect(address).unwrap();
            let limit = Some(Duration::from_secs(30));
            client.set_read_timeout(limit).unwrap();
            client
        };
        (runtime, connect)
    }

    fn short() -> ConnectionLimits {
        ConnectionLimits {
            head: Duration::from_millis(50),
            request: Duration::from_millis(50),
            ..ConnectionLimits::default()
        }
    }

    /// Whether the server ends a connection, an answer before it allowed.
    fn ends(mut client: Client) -> bool {
        let mut rest = [0; 4096];
        loop {
            match client.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    #[test]
    fn silence_and_half_a_request_end() {
        let (_runtime, connect) = serve(short());
        assert!(ends(connect()));
        let mut half = connect();
        half.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
        assert!(ends(half));
        // Nor does a trickle put the end off.
        let mut trickle = connect();
        let begun = Instant::now();
        while trickle.write_all(b"G").is_ok() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn an_idle_connection_ends_after_its_answer() {
        let (_runtime, connect) = serve(ConnectionLimits {
            head: Duration::from_secs(3600),
            ..short()
        });
        let mut client = connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert!(ends(client));
    }

    #[test]
    fn a_reader_that_does_not_read_ends() {
        let (_runtime, connect) = serve(ConnectionLimits {
            connections: 1,
            ..short()
        });
        let mut slow = connect();
        slow.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        // Its place is free again, though it neither read nor left.
        let begun = Instant::now();
        loop {
            let mut next = connect();
            let _ = next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut answer = String::new();
            let _ = next.read_to_string(&mut answer);
            if answer.ends_with("hello") {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_at_once() {
        let (_runtime, connect) = serve(ConnectionLimits {
            connections: 2,
            head: Duration::from_secs(3600),
            ..ConnectionLimits::default()
        });
        let held = [connect(), connect()];
        for _ in 0..100 {
            assert!(ends(connect()));
        }
        // Who was there first is served.
        for mut client in held {
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("hello"), "{answer}");
        }
    }
}
