//! A stop on the same machine that needs no session: a datagram on a Unix socket.
//!
//! Sockets of datagrams have no connections. So nobody can use up the runtime's descriptors before this stop, no handshake
//! stands before it, and it works where the network stands still. The socket lies in a folder that only its user enters.
//! Its name comes of the session and the robot: `kinestream stop` with the runtime's own configuration finds it, and the
//! runtime of another session, of the same name or not, is not meant.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::{MotionRequest, RequestHandler, SessionOptions, StopSource};

/// What asks for a stop.
const STOP: &[u8] = b"stop";
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 4096;
/// Time between two looks at whether to end, and between two requests.
const GLANCE: Duration = Duration::from_millis(200);

/// Where the runtime of a session listens for a robot's stops.
#[must_use]
pub fn stop_socket_path(session: &SessionOptions, robot: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (&session.namespace, robot, &session.listen, &session.connect).hash(&mut hasher);
    session.config_file.hash(&mut hasher);
    folder().join(format!("stop-{:016x}", hasher.finish()))
}

/// The user's folder for sockets.
fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if Path::new(&runtime).is_absolute() => {
            Path::new(&runtime).join("kinestream")
        }
        _ => PathBuf::from(format!("/tmp/kinestream-{}", own_user().unwrap_or(0))),
    }
}

fn own_user() -> io::Result<u32> {
    Ok(std::fs::metadata("/proc/self")?.uid())
}

/// Makes the folder, and refuses one that others may write to.
fn make_folder(folder: &Path) -> io::Result<()> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made?;
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != own_user()? || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!("{} belongs to others too", folder.display()),
        ));
    }
    Ok(())
}

/// Listens for stops of one robot as long as it lives.
#[derive(Debug)]
pub struct StopSocket {
    path: PathBuf,
    ended: Arc<AtomicBool>,
}

impl StopSocket {
    /// Listens at `path`; `handler` is called at every stop, and its state is the answer.
    ///
    /// # Errors
    /// The folder belongs to others, the socket cannot be made, or there is no thread to be had.
    pub fn open(path: &Path, handler: Arc<dyn RequestHandler>) -> io::Result<Self> {
        make_folder(path.parent().unwrap_or(Path::new("/")))?;
        // What a runtime that was killed has left behind.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(GLANCE))?;
        socket.set_write_timeout(Some(GLANCE))?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        std::thread::Builder::new()
            .name("stop-socket".to_owned())
            .spawn(move || {
                let mut request = [0; 16];
                while !seen.load(Ordering::SeqCst) {
                    let Ok((count, sender)) = socket.recv_from(&mut request) else {
                        continue;
                    };
                    if request.get(..count) != Some(STOP) {
                        continue;
                    }
                    handler.stop(StopSource::Socket);
                    let state = handler.state(MotionRequest::Stop).to_string();
                    if let Some(path) = sender.as_pathname() {
                        // Who asks repeats it.
                        let _ = socket.send_to(state.as_bytes(), path);
                    }
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            ended,
        })
    }
}

impl Drop for StopSocket {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks the runtime at `path` to stop, again and again until it answers; its state.
///
/// # Errors
/// Nobody listens there, or nobody answered within `limit`.
pub fn stop_at(path: &Path, limit: Duration) -> io::Result<Value> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let begun = Instant::now();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = path.with_file_name(format!("ask-{}-{number}", std::process::id()));
    let socket = UnixDatagram::bind(&own)?;
    let asked = (|| {
        socket.set_read_timeout(Some(GLANCE))?;
        socket.set_write_timeout(Some(GLANCE))?;
        let mut answer = vec![0; MAX_ANSWER];
        while begun.elapsed() < limit {
            socket.send_to(STOP, path)?;
            match socket.recv(&mut answer) {
                Ok(count) => return Ok(serde_json::from_slice(&answer[..count])?),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::TimedOut, "nobody answered"))
    })();
    let _ = std::fs::remove_file(&own);
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::KeeperState;
    use serde_json::json;

    #[derive(Default)]
    struct Requests(AtomicU64);

    impl RequestHandler for Requests {
        fn stop(&self, source: StopSource) {
            assert_eq!(source, StopSource::Socket);
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn request(&self, _: MotionRequest) -> Result<(), String> {
            Ok(())
        }

        fn state(&self, request: MotionRequest) -> Value {
            json!({ "asked": request.name() })
        }

        fn watch(&self, _: KeeperState, _: bool) {}
    }

    #[test]
    fn a_datagram_stops_and_is_answered_and_a_socket_left_behind_is_taken_over() {
        let folder = std::env::temp_dir().join(format!("kinestream-test-{}", std::process::id()));
        let path = folder.join("stop");
        assert!(stop_at(&path, GLANCE).is_err());
        make_folder(&folder).unwrap();
        drop(UnixDatagram::bind(&path).unwrap());
        // Nobody listens there any more.
        assert!(stop_at(&path, GLANCE).is_err());
        let requests = Arc::new(Requests::default());
        let socket = StopSocket::open(&path, Arc::clone(&requests) as _).unwrap();
        let state = stop_at(&path, Duration::from_secs(30)).unwrap();
        assert_eq!(state, json!({ "asked": "estop" }));
        assert!(requests.0.load(Ordering::SeqCst) >= 1);
        drop(socket);
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_session_or_robot_has_another_socket() {
        let session = SessionOptions::default();
        let path = stop_socket_path(&session, "arm");
        assert_eq!(path, stop_socket_path(&session, "arm"));
        let other = SessionOptions {
            listen: vec!["tcp/127.0.0.1:1".to_owned()],
            ..SessionOptions::default()
        };
        for another in [
            stop_socket_path(&session, "leg"),
            stop_socket_path(&other, "arm"),
        ] {
            assert_ne!(another, path);
            // sockaddr_un holds 107 bytes.
            assert!(
                another.as_os_str().len() < 100 || std::env::var_os("XDG_RUNTIME_DIR").is_some()
            );
        }
    }
}
