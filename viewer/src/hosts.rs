//! Under which names a port answers: against pages whose own name is made to point here.
//!
//! A page of another site may have its name resolve to this machine (DNS rebinding); a browser then
//! takes our port for a part of that site, and neither `Origin` nor its same-origin policy stands in
//! the way. What remains foreign is the name in the `Host` header. So a port without a token answers
//! under this machine's loopback names alone. With a token any name will do, since a page that does
//! not know the token gets nothing under any; behind a proxy or a tunnel that name is the proxy's.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// Names that a port answers under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNames {
    /// `localhost`, names below it, and loopback addresses; with any port.
    Loopback,
    /// Any one well-formed name: for ports that want a token.
    Any,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// None at all.
    #[error("a request names its Host, and this one did not")]
    Missing,
    /// More than one.
    #[error("a request names one Host, and this one named {0}")]
    Several(usize),
    /// No host name or address, with or without a port.
    #[error("the Host header is no host name")]
    Malformed,
    /// Another name than those that the port answers under.
    #[error(
        "this port answers under localhost and 127.0.0.1 alone, so that no page of another site takes part; \
         open it under one of these"
    )]
    Foreign,
}

impl HostError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Several(_) | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Foreign => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

impl HostNames {
    /// Checks the name that a request was sent to.
    ///
    /// # Errors
    /// [`HostError`], which is the answer.
    pub fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<(), HostError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().ok_or(HostError::Missing)?;
        match hosts.count() {
            0 => {}
            more => return Err(HostError::Several(more + 1)),
        }
        self.check_one(host.to_str().map_err(|_| HostError::Malformed)?)?;
        // A request line may hold a whole address, as for a proxy; then that name counts as well.
        match uri.authority() {
            Some(authority) => self.check_one(authority.as_str()),
            None => Ok(()),
        }
    }

    fn check_one(self, text: &str) -> Result<(), HostError> {
        let host = Host::parse(text).ok_or(HostError::Malformed)?;
        match self {
            Self::Loopback if !host.is_loopback() => Err(HostError::Foreign),
            Self::Loopback | Self::Any => Ok(()),
        }
    }
}

/// A host as a URL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address stands in brackets.
    fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once(']')?;
                (Self::V6(address.parse().ok()?), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                (Self::named(name)?, rest)
            }
        };
        let has_port = match rest.strip_prefix(':') {
            Some(port) => port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok(),
            None => rest.is_empty(),
        };
        has_port.then_some(host)
    }

    fn named(name: &'a str) -> Option<Self> {
        if let Ok(address) = name.parse() {
            return Some(Self::V4(address));
        }
        // The root's dot may stand at the end.
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
        };
        (name.len() <= 253 && name.split('.').all(is_label)).then_some(Self::Name(name))
    }

    fn is_loopback(self) -> bool {
        match self {
            Self::Name(name) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                last.eq_ignore_ascii_case("localhost")
            }
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// Has a router answer under these names alone. What is refused is told at counts of 1, 2, 4, 8, ...
pub fn named(router: Router, names: HostNames) -> Router {
    let guard = Guard {
        names,
        refused: Arc::default(),
    };
    router.layer(from_fn_with_state(guard, admit))
}

#[derive(Debug, Clone)]
struct Guard {
    names: HostNames,
    refused: Arc<AtomicU64>,
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Err(error) = guard.names.check(request.uri(), request.headers()) else {
        return next.run(request).await;
    };
    let count = guard.refused.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        // Debug form, and not all of it: what a stranger sent must not fill the log.
        let host = request.headers().get(header::HOST).map(|it| {
            let text = it.as_bytes();
            String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned()
        });
        tracing::warn!(count, ?host, "refused a request by its Host header");
    }
    (error.status(), format!("{error}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(names: HostNames, hosts: &[&str]) -> Result<(), HostError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        names.check(&Uri::from_static("/frame.json"), &headers)
    }

    #[test]
    fn loopback_names_are_ours_whatever_their_port() {
        for host in [
            "localhost",
            "LocalHost:8740",
            "localhost.",
            "pusht.localhost:1",
            "127.0.0.1",
            "127.0.0.1:65535",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:8740",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert_eq!(check(HostNames::Loopback, &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_a_token_holders_alone() {
        for host in [
            "evil.example",
            "evil.example:8740",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "192.0.2.1:8740",
            "0.0.0.0:8740",
            "[2001:db8::1]:80",
            "[::]",
            "x",
        ] {
            let foreign = Err(HostError::Foreign);
            assert_eq!(check(HostNames::Loopback, &[host]), foreign, "{host}");
            assert_eq!(check(HostNames::Any, &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn garbage_none_and_several_are_refused_by_all() {
        for names in [HostNames::Loopback, HostNames::Any] {
            for host in [
                "",
                ":80",
                "localhost:",
                "localhost:x",
                "localhost:80:80",
                "localhost:99999",
                "localhost:+80",
                "user@localhost",
                "localhost/evil",
                "local host",
                "a..b",
                "::1",
                "[::1",
                "[::1]80",
                "[localhost]",
                "localhost, evil.example",
            ] {
                // An empty port is allowed by RFC 3986, and no browser sends one.
                assert_eq!(check(names, &[host]), Err(HostError::Malformed), "{host}");
            }
            assert_eq!(check(names, &[]), Err(HostError::Missing));
            let two = check(names, &["localhost", "localhost"]);
            assert_eq!(two, Err(HostError::Several(2)));
        }
    }

    #[test]
    fn the_name_in_the_request_line_counts_as_well() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8740"));
        let uri = Uri::from_static("http://evil.example/frame.json");
        let checked = HostNames::Loopback.check(&uri, &headers);
        assert_eq!(checked, Err(HostError::Foreign));
        let uri = Uri::from_static("http://localhost:8740/frame.json");
        assert_eq!(HostNames::Loopback.check(&uri, &headers), Ok(()));
    }
}
