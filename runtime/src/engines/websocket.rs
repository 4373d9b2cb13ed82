//! The WebSocket that engines connect to: `/pose?axes=unity&format=json`.
//!
//! Promises: of a client that does not read, or reads slowly, a few poses are on their way at most, the next is the
//! newest, and one that takes nothing is cut off in the end; what is no steering is answered, counted and dropped; a web page of another
//! machine's cannot connect, under whatever name it found this port; where other machines reach the port, only who has its
//! token can.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kinestream_bridge::Pose;
use kinestream_bridge::engines::steering::Steering;
use kinestream_bridge::engines::stream::{Introduction, pose_json};
use kinestream_bridge::engines::{Axes, HumanPose, Humanoid};
use kinestream_bridge::wire::Encode;
use kinestream_bridge::{ActRequest, act};
use kinestream_viewer::listener::{BoundedListener, timed};
use kinestream_viewer::{Token, access};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::EngineCounts;
use crate::character::acts::ActionQueue;
use crate::page::{read_token, with_token};

/// Time between two looks at the stop flag.
const GLANCE: Duration = Duration::from_millis(20);
/// How long connections may take to end.
const PARTING: Duration = Duration::from_secs(1);
/// A client that takes no byte for so long is cut off.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Clients connected at a time.
const MAX_CLIENTS: usize = 32;
/// Longest message of a client, bytes.
const MAX_STEERING_BYTES: usize = 4096;
/// A client is cut off after so many messages that were refused.
const MAX_REFUSED: u32 = 20;
/// Poses on their way to a client at most. Each is followed by a ping, which a client answers when it has read so far
/// (RFC 6455, section 5.5.2); else the buffers of both systems would fill with poses, and all be old when read.
const MAX_UNDERWAY: u64 = 8;
/// A client that answers no ping gets a pose this often.
const UNANSWERED: Duration = Duration::from_secs(1);
/// What our system keeps for a client that does not read.
const SEND_BUFFER_BYTES: u32 = 16 * 1024;

/// What clients are told of a character.
#[derive(Debug)]
pub(super) struct Character {
    pub(super) name: String,
    pub(super) humanoid: Arc<Humanoid>,
    /// The answer to `info/skeleton`.
    pub(super) skeleton: String,
    pub(super) rate_hz: f64,
    pub(super) acts: ActionQueue,
}

/// A running server.
#[derive(Debug)]
pub(super) struct WebSocketServer {
    address: SocketAddr,
    /// What follows the path in the address that engines use.
    query: String,
    shared: Arc<Shared>,
    /// It ends with the stop flag; nobody waits for it longer than the program lives.
    _thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    character: Character,
    newest: watch::Sender<Option<Arc<Newest>>>,
    steering: Mutex<Option<Steering>>,
    stopping: watch::Sender<bool>,
    places: Arc<Semaphore>,
    counts: Counts,
}

#[derive(Debug)]
struct Newest {
    pose: HumanPose,
    told: Pose,
}

#[derive(Debug, Default)]
struct Counts {
    clients: AtomicU64,
    poses: AtomicU64,
    steering: AtomicU64,
    refused: AtomicU64,
    /// Upgrades refused for their origin, and for want of room.
    turned_away: AtomicU64,
}

/// Listens on HOST:PORT until `stop`; port 0 takes any free one. An address that other machines reach wants a token: the
/// one of `token_file`, or a new one.
pub(super) fn serve(
    address: &str,
    token_file: Option<&Path>,
    character: Character,
    stop: Arc<AtomicBool>,
) -> Result<WebSocketServer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the engines' WebSocket")?;
    let (listener, address) = runtime
        .block_on(async { listen(address) })
        .with_context(|| {
            format!(
                "--websocket {address}: cannot listen there; expected an address of this machine and a \
                 free port, such as 127.0.0.1:8750"
            )
        })?;
    let token = match token_file {
        _ if access::is_local(address.ip()) => None,
        Some(path) => Some(read_token(path)?),
        None => Some(Token::random().context("cannot make a token for the engines' WebSocket")?),
    };
    let query = with_token(token.as_ref(), token_file);
    let shared = Arc::new(Shared {
        character,
        newest: watch::Sender::new(None),
        steering: Mutex::default(),
        stopping: watch::Sender::new(false),
        places: Arc::new(Semaphore::new(MAX_CLIENTS)),
        counts: Counts::default(),
    });
    let served = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("engines".into())
        .spawn(move || {
            if let Err(error) = runtime.block_on(answer(listener, token, served, stop)) {
                tracing::error!("the engines' WebSocket failed: {error:#}");
            }
        })
        .context("cannot start the engines' WebSocket")?;
    Ok(WebSocketServer {
        address,
        query,
        shared,
        _thread: thread,
    })
}

fn listen(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Connections take it over.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    let listener = socket.listen(64)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl WebSocketServer {
    /// Where engines connect, with the real port where 0 was asked for.
    pub(super) fn url(&self) -> String {
        format!("ws://{}/pose{}", self.address, self.query)
    }

    /// Makes a pose the newest one. Returns at once, whoever listens.
    pub(super) fn publish(&self, pose: HumanPose, told: &Pose) {
        let told = told.clone();
        self.shared
            .newest
            .send_replace(Some(Arc::new(Newest { pose, told })));
    }

    /// The newest steering since the last call.
    pub(super) fn take_steering(&self) -> Option<Steering> {
        self.shared.steering().take()
    }

    /// Adds what happened here.
    pub(super) fn count(&self, counts: EngineCounts) -> EngineCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let found = &self.shared.counts;
        EngineCounts {
            websocket_clients: of(&found.clients),
            websocket_poses: of(&found.poses),
            steering: of(&found.steering),
            steering_refused: of(&found.refused),
            ..counts
        }
    }
}

impl Counts {
    /// Counts an upgrade that was refused; the count where it is to be told: 1, 2, 4, 8, ...
    fn turn_away(&self) -> Option<u64> {
        let count = self.turned_away.fetch_add(1, Ordering::Relaxed) + 1;
        count.is_power_of_two().then_some(count)
    }
}

impl Shared {
    fn steering(&self) -> std::sync::MutexGuard<'_, Option<Steering>> {
        self.steering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    listener: TcpListener,
    token: Option<Token>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    let listener = BoundedListener::new(listener, "WebSocket");
    let app = Router::new()
        .route("/pose", get(pose))
        .with_state(Arc::clone(&shared));
    let app = timed(access::guarded(app, token));
    let stopped = async move {
        while !stop.load(Ordering::SeqCst) {
            sleep(GLANCE).await;
        }
        shared.stopping.send_replace(true);
        // WebSockets have left the server's care: all places free means that all have said goodbye.
        let _ = timeout(PARTING, shared.places.acquire_many(MAX_CLIENTS as u32)).await;
    };
    tokio::select! {
        ended = axum::serve(listener, app).into_future() => ended.map_err(|error| anyhow!(error)),
        () = stopped => Ok(()),
    }
}

/// What a client asks for in its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Json(Axes),
    Binary,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let (mut axes, mut format) = (None, "json");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("axes", name)) => {
                    axes = Some(name.parse::<Axes>().map_err(|error| error.to_string())?);
                }
                Some(("format", name)) => format = name,
                // Whoever came so far had the right one, or needed none.
                Some(("token", _)) => {}
                _ => return Err("expected axes=... and format=... in the address".into()),
            }
        }
        match (format, axes) {
            ("json", axes) => Ok(Self::Json(axes.unwrap_or_default())),
            ("binary", None) => Ok(Self::Binary),
            ("binary", Some(_)) => Err(
                "format=binary is the message of docs/WIRE.md in its own axes; leave axes out"
                    .into(),
            ),
            _ => Err("format: expected json or binary".into()),
        }
    }

    /// The axes that the client steers in.
    fn axes(self) -> Axes {
        match self {
            Self::Json(axes) => axes,
            Self::Binary => Axes::default(),
        }
    }
}

async fn pose(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !is_local(&headers) {
        if let Some(count) = shared.counts.turn_away() {
            let origin = headers.get(header::ORIGIN);
            tracing::warn!(
                count,
                ?origin,
                "WebSocket: refused a page of another machine"
            );
        }
        return (
            StatusCode::FORBIDDEN,
            "only pages of this machine may connect (Origin: http://localhost, 127.0.0.1 or [::1]); programs send no \
             Origin",
        )
            .into_response();
    }
    let wanted = match Wanted::parse(query.as_deref().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
    };
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        if let Some(count) = shared.counts.turn_away() {
            tracing::warn!(
                count,
                "WebSocket: refused a client, {MAX_CLIENTS} are connected"
            );
        }
        return (StatusCode::SERVICE_UNAVAILABLE, "too many clients").into_response();
    };
    upgrade
        .max_message_size(MAX_STEERING_BYTES)
        .max_frame_size(MAX_STEERING_BYTES)
        .on_upgrade(move |socket| {
            let client = Client {
                socket,
                shared,
                wanted,
                refused: 0,
                sent: 0,
                answered: 0,
                _place: place,
            };
            client.run()
        })
}

/// Whether a request comes from no web page at all, or from one that this machine serves. A page's host may be anybody's
/// name for 127.0.0.1, so it is not compared with the request's.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = origin.to_str().ok().and_then(|text| {
        let uri: Uri = text.parse().ok()?;
        Some(uri.host()?.to_owned())
    });
    matches!(
        host.as_deref(),
        Some("localhost" | "127.0.0.1" | "[::1]" | "::1")
    )
}

/// One engine.
struct Client {
    socket: WebSocket,
    shared: Arc<Shared>,
    wanted: Wanted,
    refused: u32,
    /// Poses sent, and those of them whose ping was answered.
    sent: u64,
    answered: u64,
    _place: OwnedSemaphorePermit,
}

/// A connection that has ended.
struct Ended;

impl Client {
    async fn run(mut self) {
        self.shared.counts.clients.fetch_add(1, Ordering::Relaxed);
        if let Ok(frame) = self.attend().await {
            let _ = timeout(PARTING, self.socket.send(Message::Close(Some(frame)))).await;
        }
    }

    /// Serves the client until there is a reason to say goodbye.
    async fn attend(&mut self) -> Result<CloseFrame, Ended> {
        let mut newest = self.shared.newest.subscribe();
        let mut stopped = std::pin::pin!(stopped(self.shared.stopping.subscribe()));
        let introduction = self.introduction()?;
        self.say(introduction).await?;
        newest.mark_changed();
        let mut last = Instant::now();
        loop {
            let is_full = self.sent - self.answered >= MAX_UNDERWAY;
            tokio::select! {
                biased;
                () = &mut stopped => {
                    return Ok(parting(close_code::AWAY, "the character has ended"));
                }
                Ok(()) = newest.changed(), if !is_full => {
                    let pose = newest.borrow_and_update().clone();
                    if let Some(pose) = pose {
                        let message = self.encoded(&pose)?;
                        self.say(message).await?;
                        self.shared.counts.poses.fetch_add(1, Ordering::Relaxed);
                        self.sent += 1;
                        let number = Bytes::copy_from_slice(&self.sent.to_be_bytes());
                        self.say(Message::Ping(number)).await?;
                        last = Instant::now();
                    }
                }
                () = sleep_until(last + UNANSWERED), if is_full => self.answered += 1,
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.take(text.as_str()).await?,
                    Some(Ok(Message::Binary(_))) => {
                        self.refuse("expected JSON text, found a binary message").await?;
                    }
                    Some(Ok(Message::Pong(number))) => {
                        let number = number.as_ref().try_into().map_or(0, u64::from_be_bytes);
                        self.answered = self.answered.max(number.min(self.sent));
                    }
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(_))) => {
                        // The answer (RFC 6455, section 5.5.1) goes out while the library reads on.
                        let _ = timeout(PARTING, self.socket.recv()).await;
                        return Err(Ended);
                    }
                    Some(Err(_)) | None => return Err(Ended),
                },
            }
            if self.refused > MAX_REFUSED {
                return Ok(parting(
                    close_code::POLICY,
                    "too many messages were no steering",
                ));
            }
        }
    }

    fn introduction(&self) -> Result<Message, Ended> {
        let Character {
            name,
            humanoid,
            skeleton,
            rate_hz,
            acts,
        } = &self.shared.character;
        match self.wanted {
            Wanted::Binary => Ok(Message::Text(skeleton.as_str().into())),
            Wanted::Json(axes) => Introduction::new(name, humanoid, axes, *rate_hz)
                .with_actions(acts.names())
                .to_json()
                .map(|text| Message::Text(text.into()))
                .map_err(not_written),
        }
    }

    fn encoded(&self, newest: &Newest) -> Result<Message, Ended> {
        match self.wanted {
            Wanted::Binary => {
                let mut bytes = Vec::new();
                newest.told.encode_into(&mut bytes).map_err(not_written)?;
                Ok(Message::Binary(Bytes::from(bytes)))
            }
            Wanted::Json(axes) => {
                let humanoid = &self.shared.character.humanoid;
                pose_json(humanoid, &newest.pose, &newest.told, axes)
                    .map(|text| Message::Text(text.into()))
                    .map_err(not_written)
            }
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Ended> {
        if ActRequest::is_meant(text) {
            return self.perform(text).await;
        }
        match Steering::parse(text, self.wanted.axes()) {
            Ok(steering) => {
                self.shared.counts.steering.fetch_add(1, Ordering::Relaxed);
                *self.shared.steering() = Some(steering);
                Ok(())
            }
            Err(error) => self.refuse(&error.to_string()).await,
        }
    }

    /// Takes a request to perform something, and answers it.
    async fn perform(&mut self, text: &str) -> Result<(), Ended> {
        let request = ActRequest::parse(text.as_bytes()).map_err(|error| error.to_string());
        match request.and_then(|request| self.shared.character.acts.ask(&request)) {
            Ok(taken) => {
                let answer = act::accepted(&taken.action, taken.seconds).to_string();
                self.say(Message::Text(answer.into())).await
            }
            Err(reason) => self.refuse(&reason).await,
        }
    }

    async fn refuse(&mut self, reason: &str) -> Result<(), Ended> {
        self.refused += 1;
        let total = self.shared.counts.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if total.is_power_of_two() {
            // Debug form: what a stranger sent must not reach the log unescaped.
            tracing::warn!(
                ?reason,
                "WebSocket: a message was refused, {total} of them so far"
            );
        }
        let answer = serde_json::json!({ "error": reason }).to_string();
        self.say(Message::Text(answer.into())).await
    }

    async fn say(&mut self, message: Message) -> Result<(), Ended> {
        match timeout(SEND_LIMIT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended),
        }
    }
}

/// Resolves once the server is told to stop.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the sender has gone, which means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn not_written(error: impl std::fmt::Display) -> Ended {
    tracing::error!("WebSocket: a pose cannot be written: {error}");
    Ended
}

fn parting(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
