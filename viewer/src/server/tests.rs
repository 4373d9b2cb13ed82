//! The server over real sockets, with a client written out by hand (RFC 6455).
//!
//! Nothing here measures time: the client's read limit only turns a hang into a failure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;
use crate::character::{self, Body, BodyPoint, Character, MAX_PATH_POINTS};
use crate::pusht::{Frame, Input, PushT, RunState};
use crate::{Page, Viewer};

/// A viewer that serves on a thread of its own, and ends when dropped.
struct Served<P: Page> {
    address: SocketAddr,
    handle: ViewerHandle<P>,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<()>>,
    runtime: Runtime,
}

impl Served<PushT> {
    fn start() -> Self {
        Self::serving()
    }
}

impl<P: Page> Served<P> {
    fn serving() -> Self {
        Self::serving_with(None)
    }

    fn serving_with(token: Option<Token>) -> Self {
        Self::serving_all(token, None)
    }

    fn serving_all(token: Option<Token>, stop: Option<Arc<dyn EmergencyStop>>) -> Self {
        let viewer = Viewer::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let viewer = viewer.with_token(token).with_emergency_stop(stop);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        let (address, handle) = (viewer.address(), viewer.handle());
        let done = runtime.spawn(async move {
            viewer
                .serve(async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self {
            address,
            handle,
            stop: Some(stop),
            done: Some(done),
            runtime,
        }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.runtime.block_on(self.done.take().unwrap()).unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// Status line, headers and body of a request.
    fn get(&self, path: &str) -> (String, String) {
        self.get_with(path, "")
    }

    fn get_with(&self, path: &str, header: &str) -> (String, String) {
        self.request("GET", path, header)
    }

    fn request(&self, method: &str, path: &str, header: &str) -> (String, String) {
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{header}\r\n",
            self.address
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The head of the answer to an upgrade, and the stream after it.
    fn upgrade(&self, origin: Option<&str>) -> (String, TcpStream) {
        self.upgrade_of(&self.address.to_string(), origin)
    }

    fn upgrade_of(&self, host: &str, origin: Option<&str>) -> (String, TcpStream) {
        let mut stream = self.connect();
        let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
        // The key is the one of RFC 6455, section 1.3.
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (String::from_utf8(head).unwrap(), stream)
    }

    fn websocket(&self) -> Client {
        let origin = format!("http://{}", self.address);
        let (head, stream) = self.upgrade(Some(&origin));
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Client { stream }
    }

    /// Waits for what the pages sent.
    fn next_input(&self) -> P::Input {
        for _ in 0..30_000 {
            if let Some(input) = self.handle.try_next_input() {
                return input;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no input came");
    }
}

impl<P: Page> Drop for Served<P> {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.stop();
        }
    }
}

/// The browser's side of a WebSocket.
struct Client {
    stream: TcpStream,
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

impl Client {
    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.write_all(&bytes).unwrap();
    }

    fn say(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.stream.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0] & 0x0f, payload)
    }

    fn frame(&mut self) -> serde_json::Value {
        let (opcode, payload) = self.receive();
        assert_eq!(opcode, TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// The status code of the closing message, after any frames before it.
    fn closed_with(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.receive();
            if opcode == CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

fn frame_at(step: u64) -> Frame {
    Frame {
        step,
        agent: [100.0, 200.5],
        state: RunState::Running,
        ..Frame::default()
    }
}

#[test]
fn files_health_and_unknown_paths() {
    let served = Served::start();
    let (head, body) = served.get("/healthz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "ok");

    for asset in PushT::ASSETS {
        let (head, body) = served.get(asset.path);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(asset.content_type), "{head}");
        assert!(
            head.contains("content-security-policy: default-src 'none'"),
            "{head}"
        );
        assert_eq!(body, asset.text);
    }
    let (head, _) = served.get("/elsewhere");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn frame_json_is_the_latest_frame() {
    let served = Served::start();
    let (head, body) = served.get("/frame.json");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains("no frame yet"), "{body}");

    for step in 0..1000 {
        served.handle.publish(frame_at(step));
    }
    let (head, body) = served.get("/frame.json");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("application/json"), "{head}");
    let frame: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(frame["step"], 999);
    assert_eq!(frame["state"], "running");
}

#[test]
fn a_page_gets_frames_and_its_inputs_arrive_in_order() {
    let served = Served::start();
    let mut page = served.websocket();
    assert_eq!(page.frame(), serde_json::Value::Null);

    served.handle.publish(frame_at(7));
    let frame = loop {
        let frame = page.frame();
        if !frame.is_null() {
            break frame;
        }
    };
    assert_eq!(frame["step"], 7);
    assert_eq!(frame["agent"], serde_json::json!([100.0, 200.5]));

    page.say(r#"{"type":"push_agent","vx":9000,"vy":-1}"#);
    page.say(r#"{"type":"pause"}"#);
    page.say(r#"{"type":"reset","seed":5}"#);
    assert_eq!(
        served.next_input(),
        Input::PushAgent {
            vx: 2000.0,
            vy: -1.0
        }
    );
    assert_eq!(served.next_input(), Input::Pause);
    assert_eq!(served.next_input(), Input::Reset { seed: Some(5) });
}

#[test]
fn a_page_is_introduced_before_its_first_frame() {
    let point = |name: &str, parent| BodyPoint {
        name: Some(name.to_owned()),
        parent,
    };
    let body = || {
        Body::new(
            vec![point("Hips", None), point("Spine", Some(0))],
            [0, 0, 1, 1],
        )
    };
    let frame = character::Frame {
        points: vec![[0.0, 0.95, 0.0], [0.0, 1.05, 0.0]],
        ..character::Frame::default()
    };
    let served = Served::<Character>::serving();
    let (head, said) = served.get("/introduction.json");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(said.contains("no introduction yet"), "{said}");
    served.handle.introduce(body().unwrap());
    served.handle.publish(frame);
    for asset in Character::ASSETS {
        assert_eq!(served.get(asset.path).1, asset.text);
    }

    let mut page = served.websocket();
    let first = page.frame();
    assert_eq!(first["introduction"]["points"][1]["parent"], 0, "{first}");
    let second = page.frame();
    assert_eq!(
        second["points_mm"],
        serde_json::json!([0, 950, 0, 0, 1050, 0]),
        "{second}"
    );
    let (_, said) = served.get("/introduction.json");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&said).unwrap(),
        first["introduction"]
    );

    // A new introduction reaches pages that are open.
    served.handle.introduce(body().unwrap());
    while page.frame()["introduction"].is_null() {}
}

#[test]
fn the_longest_path_arrives_and_a_page_that_vanishes_stops_the_character() {
    let served = Served::<Character>::serving();
    let mut page = served.websocket();
    let points = vec![[-123_456.123_456, 123_456.123_456]; MAX_PATH_POINTS];
    page.say(&serde_json::json!({"type": "path", "points": points, "speed": 1.5}).to_string());
    let path = character::Input::Path { points, speed: 1.5 };
    assert_eq!(served.next_input(), path);
    let stick = |velocity| character::Input::Stick {
        velocity,
        facing: [0.0; 2],
    };
    page.say(r#"{"type":"stick","velocity":[0.5,1],"facing":[0,0]}"#);
    assert_eq!(served.next_input(), stick([0.5, 1.0]));
    drop(page);
    assert_eq!(served.next_input(), stick([0.0, 0.0]));
}

#[test]
fn a_slow_page_skips_frames_and_ends_at_the_newest() {
    let served = Served::start();
    let mut page = served.websocket();
    // Far more than the socket's buffers hold; none of it waits for the page.
    let filling = Frame {
        history: vec![0.123_456; 4000],
        ..Frame::default()
    };
    let last = 2000;
    for step in 1..=last {
        served.handle.publish(Frame {
            step,
            ..filling.clone()
        });
    }
    let (mut received, mut newest) = (0, 0);
    while newest != last {
        let frame = page.frame();
        if let Some(step) = frame["step"].as_u64() {
            assert!(step >= newest, "{step} after {newest}");
            newest = step;
            received += 1;
        }
    }
    assert!(received < last, "{received} frames of {last} came");
}

#[test]
fn bad_input_is_dropped_and_the_connection_lives_on() {
    let served = Served::start();
    let mut page = served.websocket();
    for text in [
        "",
        "hello",
        r#"{"type":"launch"}"#,
        r#"{"type":"drag_block","x":1e999,"y":0,"angle":0}"#,
    ] {
        page.say(text);
    }
    page.send(BINARY, &[0, 159, 146, 150]);
    page.say(r#"{"type":"resume"}"#);
    assert_eq!(served.next_input(), Input::Resume);
    assert_eq!(served.handle.try_next_input(), None);
}

#[test]
fn a_page_that_sends_only_nonsense_is_closed() {
    let served = Served::start();
    let mut page = served.websocket();
    for _ in 0..=MAX_REFUSED {
        page.say("nonsense");
    }
    assert_eq!(page.closed_with(), close_code::POLICY);
    let (head, _) = served.get("/healthz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn a_message_too_long_ends_only_its_own_connection() {
    let served = Served::start();
    let mut page = served.websocket();
    page.say(&"x".repeat(PushT::MAX_INPUT_BYTES + 1));
    let mut rest = Vec::new();
    // Closed or reset, but ended.
    let _ = page.stream.read_to_end(&mut rest);

    let mut next = served.websocket();
    next.say(r#"{"type":"pause"}"#);
    assert_eq!(served.next_input(), Input::Pause);
}

#[test]
fn a_page_that_vanishes_lets_go_of_the_block() {
    let served = Served::start();
    let mut page = served.websocket();
    page.say(r#"{"type":"drag_block","x":-20,"y":600,"angle":0}"#);
    assert_eq!(
        served.next_input(),
        Input::DragBlock {
            x: 0.0,
            y: 512.0,
            angle: 0.0
        }
    );
    drop(page);
    assert_eq!(served.next_input(), Input::ReleaseBlock);
}

#[test]
fn pages_of_other_sites_are_refused() {
    let served = Served::start();
    let port = served.address.port();
    for origin in [
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        format!("http://127.0.0.1:{port}.evil.example"),
        "null".to_owned(),
        String::new(),
    ] {
        let (head, _) = served.upgrade(Some(&origin));
        assert!(head.starts_with("HTTP/1.1 403 "), "{origin}: {head}");
    }
    // A program, which sends no Origin, may connect.
    let (head, _) = served.upgrade(None);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[test]
fn origins_are_compared_without_the_default_port_and_case() {
    for (origin, host, same) in [
        ("http://localhost:8080", "localhost:8080", true),
        ("http://LocalHost:8080", "localhost:8080", true),
        ("http://robot", "robot:80", true),
        ("https://robot:443", "robot", true),
        ("https://robot", "robot:80", false),
        ("http://[::1]:8080", "[::1]:8080", true),
        ("http://localhost:8080", "localhost:8081", false),
        ("file://", "localhost:8080", false),
        ("http://", "", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::HOST, HeaderValue::from_static(host));
        assert_eq!(is_same_origin(&headers), same, "{origin} to {host}");
    }
}

#[test]
fn shutdown_says_goodbye_and_ends() {
    let mut served = Served::start();
    let mut page = served.websocket();
    served.stop();
    assert_eq!(page.closed_with(), close_code::AWAY);
}

#[test]
fn only_so_many_pages_at_a_time() {
    let served = Served::start();
    let pages: Vec<_> = (0..MAX_CONNECTIONS).map(|_| served.websocket()).collect();
    let (head, _) = served.upgrade(None);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(pages);
}

#[test]
fn with_a_token_nothing_is_served_without_it() {
    let served = Served::<PushT>::serving_with(Some("0123456789abcdef".parse().unwrap()));
    for path in [
        "/",
        "/healthz",
        "/frame.json",
        "/?token=0123456789abcdeX",
        "/nowhere",
    ] {
        let (head, body) = served.get(path);
        assert!(head.starts_with("HTTP/1.1 401"), "{path}: {head}");
        assert!(body.contains("needs its token"), "{body}");
    }
    let (head, _) = served.upgrade(None);
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (head, _) = served.get("/?token=0123456789abcdef");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    let (head, _) = served.get_with("/healthz", &format!("Cookie: {pair}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
    let (head, _) = served.get_with("/healthz", bearer);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn a_page_whose_name_was_made_to_point_here_is_refused_everywhere() {
    let served = Served::start();
    let foreign = format!("evil.example:{}", served.address.port());
    // Such a page's Origin is that of its Host, so that only the name tells.
    let (head, _) = served.upgrade_of(&foreign, Some(&format!("http://{foreign}")));
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
    for path in ["/", "/frame.json", "/introduction.json", "/healthz", "/ws"] {
        let mut stream = served.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {foreign}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
        assert!(answer.contains("localhost"), "{answer}");
    }
    let name = format!("localhost:{}", served.address.port());
    let (head, _) = served.upgrade_of(&name, Some(&format!("http://{name}")));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// Counts what is asked of it.
#[derive(Default)]
struct Counted {
    stops: AtomicU64,
    rearmings: AtomicU64,
}

impl Counted {
    fn counts(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (of(&self.stops), of(&self.rearmings))
    }
}

impl EmergencyStop for Counted {
    fn stop(&self) {
        self.stops.fetch_add(1, Ordering::SeqCst);
    }

    fn rearm(&self) {
        self.rearmings.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_page_stops_on_its_websocket_and_by_post_and_no_other_site_does() {
    let counted = Arc::new(Counted::default());
    let stop: Arc<dyn EmergencyStop> = counted.clone();
    let served: Served<PushT> = Served::serving_all(None, Some(stop));
    let mut page = served.websocket();
    page.say(r#"{"type":"stop"}"#);
    page.say(r#"{"type":"pause"}"#);
    // Inputs are taken in order: the stop was before.
    assert_eq!(served.next_input(), Input::Pause);
    assert_eq!(counted.counts(), (1, 0));

    let own = format!("Origin: http://{}\r\n", served.address);
    let (head, _) = served.request("POST", "/stop", &own);
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
    let (head, _) = served.request("POST", "/rearm", "");
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
    assert_eq!(counted.counts(), (2, 1));

    let (head, _) = served.request("POST", "/stop", "Origin: http://evil.example\r\n");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    // A link, an image or a prefetch is no stop.
    let (head, _) = served.request("GET", "/stop", "");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert_eq!(counted.counts(), (2, 1));
}

#[test]
fn a_page_without_anything_to_stop_says_so() {
    let served = Served::start();
    let (head, body) = served.request("POST", "/stop", "");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(body.contains("nothing that could be stopped"), "{body}");
}
