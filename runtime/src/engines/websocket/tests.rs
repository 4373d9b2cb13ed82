//! The server over real sockets, with tungstenite as the client. Nothing here measures time: read
//! limits only turn a hang into a failure.

use std::io::Read as _;
use std::net::TcpStream;

use kinestream_bridge::engines::{Ground, HumanoidConfig};
use kinestream_bridge::wire::{Contacts, Decode, PoseFlags};
use kinestream_bridge::{JointInfo, SkeletonInfo};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message as Said, WebSocket as Socket};

use super::*;

/// A server that ends with the test.
struct Served {
    server: WebSocketServer,
    humanoid: Arc<Humanoid>,
    stop: Arc<AtomicBool>,
}

impl Served {
    fn start() -> Self {
        Self::on("127.0.0.1:0", None)
    }

    fn on(address: &str, token_file: Option<&Path>) -> Self {
        let joint = |name: &str, parent, offset| JointInfo {
            name: name.to_owned(),
            parent,
            offset,
        };
        let skeleton = SkeletonInfo {
            joints: vec![
                joint("Hips", None, [0.0, 0.9, 0.0]),
                joint("Neck", Some(0), [0.0, 0.5, 0.0]),
            ],
            ends: vec![],
            contacts: None,
        };
        let mut config = HumanoidConfig::default();
        config
            .joints
            .retain(|_, joint| matches!(&**joint, "Hips" | "Neck"));
        let humanoid = Arc::new(Humanoid::new(&skeleton, &config).unwrap());
        let character = Character {
            acts: ActionQueue::new(None).0,
            name: "hero".into(),
            humanoid: Arc::clone(&humanoid),
            skeleton: skeleton.to_value().unwrap().to_string(),
            rate_hz: 60.0,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(address, token_file, character, Arc::clone(&stop)).unwrap();
        Self {
            server,
            humanoid,
            stop,
        }
    }

    fn publish(&self, frame: u64) {
        let told = Pose {
            stamp: Default::default(),
            frame,
            frame_ns: 1,
            period_ns: 1,
            contacts: Contacts::NONE,
            flags: PoseFlags::NONE,
            phase: 1.0,
            root_position: [1.0, 0.9, 3.0],
            root_velocity: [0.0; 3],
            yaw_rate: 0.0,
            rotations: vec![[0.0, 0.0, 0.0, 1.0]; 2],
        };
        let ground = Ground {
            position: [1.0, 3.0],
            heading: 0.0,
        };
        let pose = self.humanoid.pose(&told, ground, 0.5).unwrap();
        self.server.publish(pose, &told);
    }

    fn connect(&self, query: &str, origin: Option<&str>) -> Result<Client, Box<Error>> {
        let address = self.server.address;
        let request = format!("ws://{address}/pose{query}");
        let mut request = request.into_client_request().unwrap();
        if let Some(origin) = origin {
            let origin = origin.parse().unwrap();
            request.headers_mut().insert("Origin", origin);
        }
        let stream = TcpStream::connect(address).unwrap();
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(other) => panic!("{other}"),
        }
    }

    fn client(&self, query: &str) -> Client {
        self.connect(query, None).unwrap()
    }

    /// Status and text of a refusal.
    fn refusal(&self, query: &str, origin: Option<&str>) -> (u16, String) {
        match self.connect(query, origin).err().map(|error| *error) {
            Some(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let text = String::from_utf8(body).unwrap();
                (response.status().as_u16(), text)
            }
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    fn counts(&self) -> EngineCounts {
        self.server.count(EngineCounts::default())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

struct Client {
    socket: Socket<TcpStream>,
}

impl Client {
    fn json(&mut self) -> Value {
        match self.read() {
            Said::Text(text) => serde_json::from_str(text.as_str()).unwrap(),
            other => panic!("expected text, found {other}"),
        }
    }

    fn pose(&mut self) -> Pose {
        match self.read() {
            Said::Binary(bytes) => Pose::decode(&bytes).unwrap(),
            other => panic!("expected a pose, found {other}"),
        }
    }

    /// The next message. Pings are answered by the library, with the next call.
    fn read(&mut self) -> Said {
        loop {
            match self.socket.read().unwrap() {
                Said::Ping(_) => {}
                other => return other,
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.socket.send(Said::text(text)).unwrap();
    }

    /// The code of the goodbye, whatever comes before.
    fn closed_with(&mut self) -> u16 {
        loop {
            if let Said::Close(frame) = self.socket.read().unwrap() {
                return frame.unwrap().code.into();
            }
        }
    }
}

#[test]
fn a_client_gets_poses_in_the_axes_of_its_address() {
    let served = Served::start();
    let mut unity = served.client("?axes=unity&format=json");
    let told = unity.json();
    assert_eq!(told["introduction"]["character"], "hero");
    assert_eq!(told["introduction"]["axes"], "unity");
    let mut plain = served.client("");
    assert_eq!(plain.json()["introduction"]["axes"], "gltf");
    served.publish(7);
    let pose = unity.json();
    assert_eq!((&pose["frame"], &pose["time"]), (&7.into(), &0.5.into()));
    let position = |pose: &Value| pose["root"]["position"].clone();
    assert_eq!(position(&pose), serde_json::json!([-1.0, 0.0, 3.0]));
    assert_eq!(position(&plain.json()), serde_json::json!([1.0, 0.0, 3.0]));
    // Who comes late gets the newest at once.
    let mut late = served.client("?axes=unreal");
    assert_eq!(late.json()["introduction"]["units_per_metre"], 100.0);
    assert_eq!(
        position(&late.json()),
        serde_json::json!([300.0, -100.0, 0.0])
    );
    assert_eq!(served.counts().websocket_clients, 3);
    assert!(served.counts().websocket_poses >= 2);
}

#[test]
fn binary_clients_get_the_skeleton_and_then_the_wire() {
    let served = Served::start();
    served.publish(9);
    let mut client = served.client("?format=binary");
    let skeleton = SkeletonInfo::from_value(client.json()).unwrap();
    assert_eq!(skeleton.joints.len(), 2);
    let pose = client.pose();
    assert_eq!((pose.frame, pose.rotations.len()), (9, 2));
    assert_eq!(pose.root_position, [1.0, 0.9, 3.0]);
}

#[test]
fn steering_arrives_in_our_axes_and_the_newest_counts() {
    let served = Served::start();
    let mut client = served.client("?axes=unreal");
    client.json();
    assert_eq!(served.server.take_steering(), None);
    client.say(r#"{"velocity": [0, 100]}"#);
    client.say(r#"{"velocity": [150, 0], "facing": [0, -1], "diversity": 0.5}"#);
    // An answer to the third says that the first two have been read.
    client.say("forward");
    let answer = client.json();
    assert!(
        answer["error"].as_str().unwrap().contains("velocity"),
        "{answer}"
    );
    let expected = Steering {
        velocity: [0.0, 1.5],
        facing: [1.0, 0.0],
        diversity: Some(0.5),
        strength: None,
    };
    assert_eq!(served.server.take_steering(), Some(expected));
    assert_eq!(served.server.take_steering(), None);
    let counts = served.counts();
    assert_eq!((counts.steering, counts.steering_refused), (2, 1));
}

#[test]
fn a_client_that_talks_nonsense_is_cut_off() {
    let served = Served::start();
    let mut client = served.client("");
    for _ in 0..MAX_REFUSED {
        client.say("{}");
    }
    client.socket.send(Said::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(client.closed_with(), close_code::POLICY);
    // Longer than any steering: the connection breaks, the server does not.
    let mut client = served.client("");
    client.json();
    let _ = client
        .socket
        .send(Said::text("x".repeat(MAX_STEERING_BYTES + 1)));
    let broken = loop {
        match client.socket.read() {
            Ok(Said::Close(_)) | Err(_) => break true,
            Ok(_) => {}
        }
    };
    assert!(broken);
    assert!(served.client("").json()["introduction"].is_object());
}

#[test]
fn a_slow_client_gets_the_newest_pose() {
    let served = Served::start();
    let begun = std::time::Instant::now();
    let mut slow = served.client("?format=json");
    slow.json();
    let mut quick = served.client("?format=binary");
    quick.json();
    // The quick client says when the server has seen to every tenth.
    const POSES: u64 = 20_000;
    let mut quickly = 0;
    for frame in 1..=POSES {
        served.publish(frame);
        if frame % 10 == 0 {
            while quick.pose().frame != frame {
                quickly += 1;
            }
            quickly += 1;
        }
    }
    let (mut read, mut last) = (0, 0);
    while last < POSES {
        let frame = slow.json()["frame"].as_u64().unwrap();
        assert!(frame > last, "{frame} after {last}");
        (read, last) = (read + 1, frame);
    }
    assert!(quickly >= POSES / 10);
    // What was on its way when it began to read, and the newest: the rest was never sent. A client that answers
    // nothing gets one a second.
    let patience = begun.elapsed().as_secs();
    assert!(read <= MAX_UNDERWAY + 2 + patience, "{read} of {quickly}");
}

#[test]
fn a_client_that_answers_no_ping_gets_poses_all_the_same() {
    let served = Served::start();
    let mut client = served.client("?format=binary");
    client.json();
    // Pings are read and not answered: the library answers when it is called again, so its stream is read in its place.
    let mut stream = client.socket.get_ref().try_clone().unwrap();
    let mut frames = 0;
    let mut buffer = [0; 256];
    while frames <= MAX_UNDERWAY + 1 {
        served.publish(frames);
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                stream.read_exact(&mut head).unwrap();
                usize::from(u16::from_be_bytes(head))
            }
            short => usize::from(short),
        };
        stream.read_exact(&mut buffer[..length]).unwrap();
        frames += u64::from(&buffer[..4] == b"KNST");
    }
    assert!(served.counts().websocket_poses > MAX_UNDERWAY);
}

#[test]
fn wrong_addresses_and_pages_of_others_are_refused() {
    let served = Served::start();
    for (query, words) in [
        ("?axes=maya", "unreal"),
        ("?format=xml", "json or binary"),
        ("?format=binary&axes=unity", "leave axes out"),
        ("?axis=unity", "axes=..."),
        ("?axes", "axes=..."),
    ] {
        let (status, text) = served.refusal(query, None);
        assert!(status == 400 && text.contains(words), "{status} {text}");
    }
    for origin in [
        "http://example.com",
        "https://localhost.example.com",
        "http://127.0.0.1.example.com:8750",
        "null",
        "http://localhost@example.com",
        "",
    ] {
        let (status, text) = served.refusal("", Some(origin));
        assert!(
            status == 403 && text.contains("Origin"),
            "{origin}: {status}"
        );
    }
    for origin in [
        "http://localhost:5173",
        "https://127.0.0.1",
        "http://[::1]:8080",
    ] {
        assert!(served.connect("", Some(origin)).is_ok(), "{origin}");
    }
}

/// The first line of the answer to an upgrade with this head.
fn status(address: SocketAddr, query: &str, head: &str) -> String {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).unwrap();
    write!(
        stream,
        "GET /pose{query} HTTP/1.1\r\n{head}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn a_page_whose_name_was_made_to_point_here_cannot_connect() {
    let served = Served::start();
    let address = served.server.address;
    for head in [
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
        "Host: evil.example\r\nOrigin: http://localhost\r\n",
        "Host: evil.example\r\n",
    ] {
        let status = status(address, "", head);
        assert!(status.starts_with("HTTP/1.1 421 "), "{head}: {status}");
    }
    let status = status(address, "", "Host: localhost:1\r\n");
    assert!(status.starts_with("HTTP/1.1 101 "), "{status}");
}

#[test]
fn where_others_reach_it_a_token_is_wanted() {
    let token = "0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    for file in [None, Some(&*file)] {
        let served = Served::on("0.0.0.0:0", file);
        let url = served.server.url();
        let (_, query) = url.split_once("/pose?token=").unwrap();
        let token = match file {
            None => query,
            Some(path) => {
                // What is printed may be kept, so it names the file.
                assert!(query.contains(path.to_str().unwrap()) && !query.contains(token));
                token
            }
        };
        let address = SocketAddr::from(([127, 0, 0, 1], served.server.address.port()));
        let host = "Host: 192.0.2.7:8750\r\n";
        for query in ["", "?token=0123456789abcdeX", "?axes=unity"] {
            let status = status(address, query, host);
            assert!(status.starts_with("HTTP/1.1 401 "), "{query}: {status}");
        }
        let right = format!("?axes=unity&token={token}");
        assert!(status(address, &right, host).starts_with("HTTP/1.1 101 "));
        let bearer = format!("{host}Authorization: Bearer {token}\r\n");
        assert!(status(address, "", &bearer).starts_with("HTTP/1.1 101 "));
    }
}

#[test]
fn too_many_clients_are_refused_and_all_are_told_of_the_end() {
    let served = Served::start();
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| served.client("")).collect();
    assert_eq!(served.refusal("", None).0, 503);
    served.stop.store(true, Ordering::SeqCst);
    for client in &mut clients {
        assert_eq!(client.closed_with(), close_code::AWAY);
    }
}

#[test]
fn a_goodbye_is_answered() {
    let served = Served::start();
    let mut client = served.client("");
    client.json();
    client.socket.close(None).unwrap();
    // Reading on sees the answer, and that the connection was ended in order.
    let ended = loop {
        if let Err(error) = client.socket.read() {
            break error;
        }
    };
    assert!(matches!(ended, Error::ConnectionClosed), "{ended}");
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let served = Served::start();
    let address = served.server.address.to_string();
    let character = Character {
        acts: ActionQueue::new(None).0,
        name: "other".into(),
        humanoid: Arc::clone(&served.humanoid),
        skeleton: String::new(),
        rate_hz: 60.0,
    };
    let error = serve(&address, None, character, Arc::default()).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("--websocket") && error.contains(&address),
        "{error}"
    );
}
