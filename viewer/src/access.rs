//! Who may use a page or a port that other machines reach: whoever has its token. A port that this
//! machine alone reaches needs none, and answers under loopback names ([`HostNames`]).
//!
//! A browser opens `/?token=...` once and keeps the token as a cookie; programs send it as
//! `Authorization: Bearer ...`. The token travels as plain text: on a network that others share, put
//! TLS or a tunnel in front.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::hosts::{self, HostNames};

/// Least and most characters of a token.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=128;
/// Random bytes of a token that nobody chose.
const RANDOM_BYTES: usize = 16;
/// Name of the cookie.
const COOKIE: &str = "kinestream-token";

/// A secret of 16 to 128 letters, digits, `-` and `_`. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token that nobody can guess.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// The secret itself, for the address that its owner opens.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Takes as long for a token that is nearly right as for any other of its length.
    fn is(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let differences = own.iter().zip(offered).fold(0, |sum, (a, b)| sum | (a ^ b));
        own.len() == offered.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {} to {} letters, digits, - and _, found {found} characters{}",
    LENGTH.start(),
    LENGTH.end(),
    if *.other { ", others among them" } else { "" }
)]
pub struct TokenError {
    /// Characters of the text.
    pub found: usize,
    /// Whether there are characters that no token has.
    pub other: bool,
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let (found, other) = (text.chars().count(), !text.chars().all(allowed));
        if LENGTH.contains(&found) && !other {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError { found, other })
        }
    }
}

/// Whether an address is reached from this machine alone, so that it needs no token.
pub fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Has a router answer those alone who may use it: with a token whoever has it, the others get status
/// 401 and the log a line at counts of 1, 2, 4, 8, ... of them; without one who asks under a loopback
/// name ([`HostNames`]).
pub fn guarded(router: Router, token: Option<Token>) -> Router {
    let Some(token) = token else {
        return hosts::named(router, HostNames::Loopback);
    };
    let guard = Arc::new(Guard {
        token,
        refused: AtomicU64::new(0),
    });
    hosts::named(
        router.layer(from_fn_with_state(guard, admit)),
        HostNames::Any,
    )
}

struct Guard {
    token: Token,
    refused: AtomicU64,
}

async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let from_query = query_token(request.uri().query()).is_some_and(|it| guard.token.is(it));
    let headers = request.headers();
    let has_token = from_query
        || bearer(headers).is_some_and(|it| guard.token.is(it))
        || cookies(headers).any(|it| guard.token.is(it));
    if !has_token {
        let count = guard.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(count, "refused a request without the right token");
        }
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
            "this port needs its token: open the address that the program printed, or send \
             Authorization: Bearer TOKEN\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    if from_query {
        let cookie = format!(
            "{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/",
            guard.token.secret()
        );
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

fn query_token(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_plain_and_not_shown() {
        for wrong in [
            "",
            "short",
            "fifteen-letters",
            "sixteen letters!!",
            &"a".repeat(129),
        ] {
            let error = Token::from_str(wrong).unwrap_err().to_string();
            assert!(error.contains("16 to 128"), "{error}");
        }
        let token: Token = "sixteen-letters_".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.secret().parse(), Ok(one.clone()));
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_found_where_browsers_and_programs_put_it() {
        assert_eq!(query_token(Some("a=1&token=xyz")), Some("xyz"));
        assert_eq!(query_token(Some("nottoken=xyz")), None);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Bearer xyz"),
        );
        assert_eq!(bearer(&headers), Some("xyz"));
        let lower = HeaderValue::from_static("bearer xyz");
        headers.insert(header::AUTHORIZATION, lower);
        assert_eq!(bearer(&headers), Some("xyz"));
        let other = HeaderValue::from_static("Basic xyz");
        headers.insert(header::AUTHORIZATION, other);
        assert_eq!(bearer(&headers), None);
        let cookie =
            HeaderValue::from_static("other=1; kinestream-token=xyz; kinestream-tokens=no");
        headers.insert(header::COOKIE, cookie);
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["xyz"]);
    }

    #[test]
    fn loopback_in_any_notation_is_local() {
        for local in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for other in ["0.0.0.0", "::", "192.0.2.1", "fe80::1"] {
            assert!(!is_local(other.parse().unwrap()), "{other}");
        }
    }
}
