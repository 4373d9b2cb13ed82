//! The HTTP and WebSocket side of the viewer.
//!
//! Promises: a connection that does not read costs one frame of memory and is cut off in the
//! end; refused input is logged and dropped; a page of another site cannot take part.

use std::future::{self, Future};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::assets::ASSETS;
use super::{Frame, Input, ViewerHandle};

/// Least time between two frames on one connection (30 a second).
const FRAME_PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// A connection hears something at least this often, so that the page notices a dead one.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that takes no byte for so long is cut off.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How long connections may take to end after shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);
/// Pages connected at a time.
const MAX_CONNECTIONS: u32 = 32;
/// Longest message of a page, bytes; real ones stay under 120.
const MAX_INPUT_BYTES: usize = 1024;
/// A connection is closed after so many messages that were refused.
const MAX_REFUSED: u32 = 20;

/// Only this program's own files may run, and no other site may embed the page.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Shared {
    handle: ViewerHandle,
    stopping: watch::Receiver<bool>,
    places: Arc<Semaphore>,
}

pub(super) async fn serve(
    listener: TcpListener,
    handle: ViewerHandle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let app = router(Shared {
        handle,
        stopping: stopping.clone(),
        places: places.clone(),
    });
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown.await;
        stop.send_replace(true);
    });
    // WebSockets have left the server's care: all places free means that all have said goodbye.
    let everybody_left = async {
        server.await?;
        places
            .acquire_many(MAX_CONNECTIONS)
            .await
            .map(drop)
            .map_err(io::Error::other)
    };
    tokio::select! {
        ended = everybody_left => ended,
        () = async {
            stopped(stopping).await;
            sleep(SHUTDOWN_LIMIT).await;
        } => Ok(()),
    }
}

/// Resolves once the server is told to stop, or has gone.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the sender has gone, which means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/frame.json", get(latest_frame))
        .route("/ws", get(websocket));
    for asset in &ASSETS {
        let headers = [
            (header::CONTENT_TYPE, asset.content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        router = router.route(
            asset.path,
            get(move || future::ready((headers, asset.text))),
        );
    }
    router.with_state(shared)
}

async fn latest_frame(State(shared): State<Shared>) -> Response {
    let (status, text) = match shared.handle.latest() {
        Some(frame) => match serde_json::to_string(&*frame) {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => {
                tracing::error!(%error, "viewer: frame cannot be written as JSON");
                (StatusCode::INTERNAL_SERVER_ERROR, String::from("null"))
            }
        },
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            String::from(r#"{"error":"no frame yet, try again"}"#),
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

async fn websocket(
    State(shared): State<Shared>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !same_origin(&headers) {
        let origin = headers.get(header::ORIGIN);
        tracing::warn!(?origin, "viewer: refused a page of another site");
        return (
            StatusCode::FORBIDDEN,
            "the Origin header names another site than the Host header; open the viewer's own page",
        )
            .into_response();
    }
    let Ok(place) = shared.places.clone().try_acquire_owned() else {
        tracing::warn!(
            limit = MAX_CONNECTIONS,
            "viewer: refused a page, too many are open"
        );
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open; close one",
        )
            .into_response();
    };
    upgrade
        .max_message_size(MAX_INPUT_BYTES)
        .max_frame_size(MAX_INPUT_BYTES)
        .on_upgrade(move |socket| Connection::new(socket, shared, place).run())
}

/// Whether a request comes from the viewer's own page, or from no page at all.
///
/// Browsers always send `Origin` with a WebSocket upgrade; programs need not.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let (Some(host), Some((scheme, authority))) = (text(header::HOST), origin.split_once("://"))
    else {
        return false;
    };
    // The scheme's own port may be written on one side and left out on the other.
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    !host.is_empty() && bare(authority).eq_ignore_ascii_case(&bare(host))
}

/// One page.
struct Connection {
    socket: WebSocket,
    shared: Shared,
    frames: watch::Receiver<Option<Arc<Frame>>>,
    holds_block: bool,
    refused: u32,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(socket: WebSocket, shared: Shared, place: OwnedSemaphorePermit) -> Self {
        let mut frames = shared.handle.subscribe();
        // What is there already counts as news for this page.
        frames.mark_changed();
        Self {
            socket,
            shared,
            frames,
            holds_block: false,
            refused: 0,
            _place: place,
        }
    }

    async fn run(mut self) {
        let closing = self.talk().await;
        if self.holds_block {
            self.shared.handle.push_input(Input::ReleaseBlock);
        }
        if let Some(frame) = closing {
            // The page may have gone already.
            let close = self.socket.send(Message::Close(Some(frame)));
            let _ = timeout(SHUTDOWN_LIMIT, close).await;
        }
    }

    /// Frames out and inputs in, until either side ends it; returns what to say in parting.
    async fn talk(&mut self) -> Option<CloseFrame> {
        let stop = stopped(self.shared.stopping.clone());
        tokio::pin!(stop);
        let mut sent = None;
        loop {
            tokio::select! {
                () = &mut stop => return Some(parting(close_code::AWAY, "the demo has ended")),
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.take(text.as_str()),
                    Some(Ok(Message::Binary(_))) => self.refuse("expected JSON text, found a binary message"),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                },
                () = next_frame(sent, &mut self.frames) => {
                    let frame = self.frames.borrow_and_update().clone();
                    // `null` before the first frame.
                    let text = match serde_json::to_string(&frame.as_deref()) {
                        Ok(text) => text,
                        Err(error) => {
                            tracing::error!(%error, "viewer: frame cannot be written as JSON");
                            return None;
                        }
                    };
                    sent = Some(Instant::now());
                    match timeout(SEND_LIMIT, self.socket.send(Message::Text(text.into()))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return None,
                    }
                }
            }
            if self.refused > MAX_REFUSED {
                return Some(parting(close_code::POLICY, "too many bad inputs"));
            }
        }
    }

    fn take(&mut self, text: &str) {
        match Input::from_json(text) {
            Ok(input) => {
                match input {
                    Input::DragBlock { .. } => self.holds_block = true,
                    Input::ReleaseBlock => self.holds_block = false,
                    _ => {}
                }
                self.shared.handle.push_input(input);
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    fn refuse(&mut self, reason: &str) {
        self.refused += 1;
        // Debug form: what a stranger sent must not reach the log unescaped.
        tracing::warn!(?reason, "viewer: input refused");
    }
}

/// Resolves when the next frame is due on a connection that got its last one at `sent`: when a
/// new one is there but not before the frame period is over, or at the heartbeat.
async fn next_frame(sent: Option<Instant>, frames: &mut watch::Receiver<Option<Arc<Frame>>>) {
    let Some(sent) = sent else { return };
    sleep_until(sent + FRAME_PERIOD).await;
    tokio::select! {
        changed = frames.changed() => if changed.is_err() {
            future::pending::<()>().await;
        },
        () = sleep_until(sent + HEARTBEAT) => {}
    }
}

fn parting(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
