//! The emergency stop of a page.
//!
//! A stop comes in two ways, and a page uses both: as `{"type": "stop"}` on the WebSocket that it already has, which needs no
//! new connection, and as `POST /stop`, which waits behind no frame. Either signals before anything is logged or answered.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Page;
use super::shared::{Shared, is_same_origin};

/// What a page's stop acts on.
pub trait EmergencyStop: Send + Sync {
    /// Stops the robot. Neither waits nor takes a lock that a socket or a logger can hold.
    fn stop(&self);
    /// Asks to leave the stop. Returns at once; whether it was granted shows in the robot's state.
    fn rearm(&self);
}

/// A message about the stop on a page's WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StopRequest {
    Stop,
    Rearm,
}

impl StopRequest {
    /// The request in a message of a page; none where the message is about something else.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        // Not a tagged enum: those let other fields pass.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Message {
            r#type: StopRequest,
        }
        let message: Message = serde_json::from_str(text).ok()?;
        Some(message.r#type)
    }

    /// Passes the request on. False where the page drives nothing that could be stopped.
    pub(super) fn act_on(self, target: Option<&dyn EmergencyStop>) -> bool {
        let Some(target) = target else { return false };
        match self {
            Self::Stop => target.stop(),
            Self::Rearm => target.rearm(),
        }
        true
    }
}

pub(super) async fn post_stop<P: Page>(shared: State<Shared<P>>, headers: HeaderMap) -> Response {
    post(&shared, &headers, StopRequest::Stop)
}

pub(super) async fn post_rearm<P: Page>(shared: State<Shared<P>>, headers: HeaderMap) -> Response {
    post(&shared, &headers, StopRequest::Rearm)
}

fn post<P: Page>(shared: &Shared<P>, headers: &HeaderMap, request: StopRequest) -> Response {
    if !is_same_origin(headers) {
        return (
            StatusCode::FORBIDDEN,
            "the Origin header names another site than the Host header; use the viewer's own page\n",
        )
            .into_response();
    }
    if !request.act_on(shared.emergency_stop()) {
        return (
            StatusCode::NOT_FOUND,
            "this page drives nothing that could be stopped\n",
        )
            .into_response();
    }
    let said = match request {
        StopRequest::Stop => "stop requested; its state is in /frame.json under health.rung\n",
        StopRequest::Rearm => {
            "re-arming requested; its state is in /frame.json under health.rung\n"
        }
    };
    (StatusCode::ACCEPTED, said).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_requests_are_requests() {
        let of = StopRequest::from_json;
        assert_eq!(of(r#"{"type":"stop"}"#), Some(StopRequest::Stop));
        assert_eq!(of(r#"{"type":"rearm"}"#), Some(StopRequest::Rearm));
        for text in [
            "",
            "stop",
            r#""stop""#,
            r#"{"type":"pause"}"#,
            r#"{"type":"rearm","robot":"other"}"#,
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
