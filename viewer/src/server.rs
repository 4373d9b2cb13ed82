//! The HTTP and WebSocket side of the viewer.
//!
//! Promises: a connection that does not read costs one frame of memory and is cut off in the
//! end, and so is one that asks for nothing; refused input is counted, told at counts of 1, 2, 4,
//! 8, ... and dropped; a page of another site cannot take part.

use std::future::{self, Future};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::listener::{BoundedListener, timed};
use super::shared::{Shared, count, is_same_origin};
use super::stop::{self, EmergencyStop, StopRequest};
use super::{Page, PageInput, Token, ViewerHandle, access};

/// A connection hears something at least this often, so that the page notices a dead one.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that takes no byte for so long is cut off.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How long connections may take to end after shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);
/// Pages connected at a time.
const MAX_CONNECTIONS: u32 = 32;
/// A connection is closed after so many messages that were refused.
const MAX_REFUSED: u32 = 20;

/// Only this program's own files may run, and no other site may embed the page.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn serve<P: Page>(
    listener: TcpListener,
    handle: ViewerHandle<P>,
    token: Option<Token>,
    emergency_stop: Option<Arc<dyn EmergencyStop>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let app = router(Shared {
        handle,
        emergency_stop,
        stopping: stopping.clone(),
        places: places.clone(),
        refused: Arc::default(),
    });
    let app = timed(access::guarded(app, token));
    let listener = BoundedListener::new(listener, "viewer");
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

fn router<P: Page>(shared: Shared<P>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/frame.json", get(latest_frame::<P>))
        .route("/introduction.json", get(introduction::<P>))
        .route("/ws", get(websocket::<P>))
        .route("/stop", post(stop::post_stop::<P>))
        .route("/rearm", post(stop::post_rearm::<P>));
    for asset in P::ASSETS {
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

async fn latest_frame<P: Page>(State(shared): State<Shared<P>>) -> Response {
    json("frame", shared.handle.shown.latest.borrow().clone())
}

async fn introduction<P: Page>(State(shared): State<Shared<P>>) -> Response {
    json(
        "introduction",
        shared.handle.shown.introduction.borrow().clone(),
    )
}

fn json<T: Serialize>(what: &str, value: Option<Arc<T>>) -> Response {
    let (status, text) = match value {
        Some(value) => match serde_json::to_string(&*value) {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => {
                tracing::error!(%error, "viewer: {what} cannot be written as JSON");
                (StatusCode::INTERNAL_SERVER_ERROR, String::from("null"))
            }
        },
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(r#"{{"error":"no {what} yet, try again"}}"#),
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

async fn websocket<P: Page>(
    State(shared): State<Shared<P>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !is_same_origin(&headers) {
        if let Some(count) = count(&shared.refused.sites) {
            let origin = headers.get(header::ORIGIN);
            tracing::warn!(count, ?origin, "viewer: refused a page of another site");
        }
        return (
            StatusCode::FORBIDDEN,
            "the Origin header names another site than the Host header; open the viewer's own page",
        )
            .into_response();
    }
    let Ok(place) = shared.places.clone().try_acquire_owned() else {
        if let Some(count) = count(&shared.refused.crowd) {
            tracing::warn!(
                count,
                limit = MAX_CONNECTIONS,
                "viewer: refused a page, too many are open"
            );
        }
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open; close one",
        )
            .into_response();
    };
    upgrade
        .max_message_size(P::MAX_INPUT_BYTES)
        .max_frame_size(P::MAX_INPUT_BYTES)
        .on_upgrade(move |socket| Connection::new(socket, shared, place).run())
}

/// An introduction as it goes out, to be told from a frame.
#[derive(Serialize)]
struct Introduced<'a, T> {
    introduction: &'a T,
}

/// One page.
struct Connection<P: Page> {
    socket: WebSocket,
    shared: Shared<P>,
    introductions: watch::Receiver<Option<Arc<P::Introduction>>>,
    frames: watch::Receiver<Option<Arc<P::Frame>>>,
    /// What is to be done should the page vanish.
    parting: Option<P::Input>,
    refused: u32,
    _place: OwnedSemaphorePermit,
}

/// A connection that has ended.
struct Ended;

impl<P: Page> Connection<P> {
    fn new(socket: WebSocket, shared: Shared<P>, place: OwnedSemaphorePermit) -> Self {
        let mut introductions = shared.handle.shown.introduction.subscribe();
        let mut frames = shared.handle.shown.latest.subscribe();
        // What is there already counts as news for this page.
        introductions.mark_changed();
        frames.mark_changed();
        Self {
            socket,
            shared,
            introductions,
            frames,
            parting: None,
            refused: 0,
            _place: place,
        }
    }

    async fn run(mut self) {
        let closing = self.talk().await;
        if let Some(input) = self.parting.take() {
            self.shared.handle.push_input(input);
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
            let said = tokio::select! {
                // In this order: no frame comes before its introduction, none waits for inputs.
                biased;
                () = &mut stop => return Some(parting(close_code::AWAY, "the demo has ended")),
                () = next(&mut self.introductions) => {
                    let introduction = self.introductions.borrow_and_update().clone();
                    match introduction.as_deref() {
                        Some(introduction) => self.say(&Introduced { introduction }).await,
                        None => Ok(()),
                    }
                },
                () = next_frame(sent, P::FRAME_PERIOD, &mut self.frames) => {
                    let frame = self.frames.borrow_and_update().clone();
                    sent = Some(Instant::now());
                    // `null` before the first frame.
                    self.say(&frame.as_deref()).await
                }
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.take(text.as_str());
                        Ok(())
                    }
                    Some(Ok(Message::Binary(_))) => {
                        self.refuse("expected JSON text, found a binary message");
                        Ok(())
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                },
            };
            if said.is_err() {
                return None;
            }
            if self.refused > MAX_REFUSED {
                return Some(parting(close_code::POLICY, "too many bad inputs"));
            }
        }
    }

    /// Sends a value as JSON text.
    async fn say(&mut self, value: &impl Serialize) -> Result<(), Ended> {
        let text = serde_json::to_string(value).map_err(|error| {
            tracing::error!(%error, "viewer: frame cannot be written as JSON");
            Ended
        })?;
        match timeout(SEND_LIMIT, self.socket.send(Message::Text(text.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended),
        }
    }

    fn take(&mut self, text: &str) {
        if let Some(request) = StopRequest::from_json(text) {
            if !request.act_on(self.shared.emergency_stop()) {
                self.refuse("this page drives nothing that could be stopped");
            }
            return;
        }
        match P::Input::from_json(text) {
            Ok(input) => {
                self.parting = input.parting(self.parting.take());
                self.shared.handle.push_input(input);
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    fn refuse(&mut self, reason: &str) {
        self.refused += 1;
        if let Some(count) = count(&self.shared.refused.inputs) {
            // Debug form: what a stranger sent must not reach the log unescaped.
            tracing::warn!(count, ?reason, "viewer: input refused");
        }
    }
}

/// Resolves when there is something new, never if there will be nothing any more.
async fn next<T>(news: &mut watch::Receiver<T>) {
    if news.changed().await.is_err() {
        future::pending::<()>().await;
    }
}

/// Resolves when the next frame is due on a connection that got its last one at `sent`: when a
/// new one is there but not before the frame period is over, or at the heartbeat.
async fn next_frame<F>(
    sent: Option<Instant>,
    period: Duration,
    frames: &mut watch::Receiver<Option<Arc<F>>>,
) {
    let Some(sent) = sent else { return };
    sleep_until(sent + period).await;
    tokio::select! {
        () = next(frames) => {}
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
