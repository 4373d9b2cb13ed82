//! How a session is opened: the `[session]` table of kinestream's configuration files.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NodeError;
use crate::secrets;
use crate::wire::Kind;

/// What zenoh puts around a message of ours: key, timestamp, encoding, attachments of others.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Where and how to meet other nodes. The default is a peer that listens nowhere, connects nowhere and sends no multicast:
/// give `listen` on one side and `connect` on the other, or ask for multicast on a network that you trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionOptions {
    /// First part of every key; several parts are joined by `/`.
    pub namespace: String,
    /// `"peer"`, `"client"` (needs a router or peer to connect to) or `"router"`. Default: peer, or what `config_file` says.
    pub mode: Option<Mode>,
    /// Addresses to accept connections on, such as `"tcp/127.0.0.1:7447"`; `"tcp/[::]:7447"` opens the node to the network.
    pub listen: Vec<String>,
    /// Addresses to connect to, such as `"tcp/192.168.0.10:7447"`. A peer keeps trying until they answer.
    pub connect: Vec<String>,
    /// Whether to look for other nodes by UDP multicast. Default: no, or what `config_file` says.
    pub multicast: Option<bool>,
    /// A zenoh configuration file (JSON5) for everything else: TLS, access control, quality of service. The keys above
    /// override it where they are given; where both are silent, the session is as quiet as without a file.
    pub config_file: Option<PathBuf>,
    /// Whether these are options of a client of the runtime that `config_file` is written for.
    #[serde(skip)]
    pub is_client: bool,
    /// Longest message in bytes, header included, that the session has any use for; absent for the longest there is, a
    /// picture's. Longer ones are dropped before they are gathered from their fragments, whoever sends them, so a router
    /// needs the longest of all that it forwards. `transport/link/rx/max_message_size` of `config_file` goes before it.
    #[serde(skip)]
    pub longest_message: Option<usize>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            namespace: "kinestream".to_owned(),
            mode: None,
            listen: Vec::new(),
            connect: Vec::new(),
            multicast: None,
            config_file: None,
            is_client: false,
            longest_message: None,
        }
    }
}

/// The part a session plays in zenoh's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Talks to every node directly.
    Peer,
    /// Talks through the one node that it connects to.
    Client,
    /// Forwards between others.
    Router,
}

/// A path that a file in `folder` names: from there, if it is there, else as it stands, from the working directory.
pub fn path_from_file(folder: &Path, named: &Path) -> PathBuf {
    if named == Path::new(".") {
        return match folder.as_os_str().is_empty() {
            true => named.to_path_buf(),
            false => folder.to_path_buf(),
        };
    }
    let path = folder.join(named);
    match path.exists() {
        true => path,
        false => named.to_path_buf(),
    }
}

impl SessionOptions {
    /// The same, with paths as a file in `folder` names them.
    #[must_use]
    pub fn from_file_in(mut self, folder: &Path) -> Self {
        let named = self.config_file.take();
        self.config_file = named.map(|named| path_from_file(folder, &named));
        self
    }

    /// zenoh's configuration for these options. Passwords in it are kept out of the log from then on ([`secrets`]).
    ///
    /// # Errors
    /// [`NodeError::ConfigFile`] or [`NodeError::Option`].
    pub fn to_zenoh(&self) -> Result<zenoh::Config, NodeError> {
        let mut config = match &self.config_file {
            Some(path) => from_file(path)?,
            None => zenoh::Config::default(),
        };
        let given = match &self.config_file {
            Some(path) => given(path)?,
            None => Value::Null,
        };
        keep_secrets(&given);
        quiet(&mut config, &given)?;
        if self.is_client {
            for (path, value) in super::client_config::adapted(&given) {
                insert(&mut config, "config_file", path, &value.to_string())?;
            }
        }
        bounded(&mut config, &given, self.longest_message)?;
        if self.mode == Some(Mode::Client)
            && self.connect.is_empty()
            && self.multicast != Some(true)
            && self.config_file.is_none()
        {
            return Err(NodeError::Option {
                key: "connect",
                expected: "at least one address in client mode, such as \"tcp/127.0.0.1:7447\"",
                found: "[]".to_owned(),
            });
        }
        if let Some(mode) = self.mode {
            let name = match mode {
                Mode::Peer => "\"peer\"",
                Mode::Client => "\"client\"",
                Mode::Router => "\"router\"",
            };
            insert(&mut config, "mode", "mode", name)?;
        }
        if let Some(multicast) = self.multicast {
            insert(
                &mut config,
                "multicast",
                "scouting/multicast/enabled",
                &multicast.to_string(),
            )?;
        }
        if !self.listen.is_empty() {
            insert(
                &mut config,
                "listen",
                "listen/endpoints",
                &addresses("listen", &impatient(&self.listen))?,
            )?;
        }
        if !self.connect.is_empty() {
            insert(
                &mut config,
                "connect",
                "connect/endpoints",
                &addresses("connect", &self.connect)?,
            )?;
        }
        Ok(config)
    }
}

fn from_file(path: &Path) -> Result<zenoh::Config, NodeError> {
    zenoh::Config::from_file(path).map_err(|source| NodeError::ConfigFile {
        path: path.display().to_string(),
        source,
    })
}

/// What a configuration file says itself, beside zenoh's defaults for all that it is silent about.
fn given(path: &Path) -> Result<Value, NodeError> {
    let failed = |source: zenoh::Error| NodeError::ConfigFile {
        path: path.display().to_string(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    json5::from_str(&text).map_err(|error| failed(error.into()))
}

/// What holds unless the configuration file says otherwise: no multicast, listening nowhere, quick to find a node that
/// starts later. zenoh's own defaults listen on every interface and look for others by multicast.
fn quiet(config: &mut zenoh::Config, given: &Value) -> Result<(), NodeError> {
    const RETRY: &str = "{ period_init_ms: 100, period_max_ms: 2000, period_increase_factor: 2 }";
    fill(
        config,
        given,
        &[
            ("multicast", "scouting/multicast/enabled", "false"),
            ("listen", "listen/endpoints", "[]"),
            ("connect", "connect/retry", RETRY),
        ],
    )
}

/// What others may take of this process, unless the configuration file says otherwise. zenoh's own bounds let one peer fill
/// a gigabyte for each of its priorities and 1,100 connections use up the 1,024 descriptors of an ordinary process, those
/// that a stop needs among them.
fn bounded(
    config: &mut zenoh::Config,
    given: &Value,
    longest: Option<usize>,
) -> Result<(), NodeError> {
    let longest = longest.unwrap_or(Kind::Image.most_bytes()) + ENVELOPE_BYTES;
    fill(
        config,
        given,
        &[
            (
                "longest_message",
                "transport/link/rx/max_message_size",
                &longest.to_string(),
            ),
            ("listen", "transport/unicast/max_sessions", MAX_SESSIONS),
            ("listen", "transport/unicast/accept_pending", MAX_PENDING),
            ("listen", "transport/unicast/accept_timeout", PENDING_MS),
        ],
    )
}

/// Sessions of others with this one at a time.
const MAX_SESSIONS: &str = "256";
/// Connections at a time that have not said yet who they are, and how long each may take, ms: long enough for a line of
/// half a second, so short that a stop which tries again gets its turn. As many again may be on their way to being closed.
/// With the sessions, and with pages and metrics beside, that leaves a hundred of 1,024 descriptors to the process itself.
const MAX_PENDING: &str = "256";
const PENDING_MS: &str = "2000";

/// Addresses as given, and those of TLS with our limit on handshakes where they say none: zenoh waits for at most 64 of
/// them at a time, and for each ten seconds, during which nobody else gets in.
fn impatient(listen: &[String]) -> Vec<String> {
    const KEY: &str = "tls_handshake_timeout_ms";
    let with_limit = |address: &String| match address.starts_with("tls/") {
        true if !address.contains(KEY) => {
            let separator = if address.contains('#') { ';' } else { '#' };
            format!("{address}{separator}{KEY}={PENDING_MS}")
        }
        _ => address.clone(),
    };
    listen.iter().map(with_limit).collect()
}

/// Sets keys that the user's file does not.
fn fill(
    config: &mut zenoh::Config,
    given: &Value,
    values: &[(&'static str, &str, &str)],
) -> Result<(), NodeError> {
    for (name, key, value) in values {
        if given.pointer(&format!("/{key}")).is_none() {
            insert(config, name, key, value)?;
        }
    }
    Ok(())
}

/// Keeps passwords and private keys of a configuration file out of the log, and those of the file of users that it names.
fn keep_secrets(given: &Value) {
    match given {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) if key == "dictionary_file" => {
                        // A file that cannot be read is zenoh's to tell of.
                        let users = std::fs::read_to_string(text).unwrap_or_default();
                        for (_, password) in users.lines().filter_map(|line| line.split_once(':')) {
                            secrets::keep(password.trim());
                        }
                    }
                    Value::String(text) if is_secret(key) => secrets::keep(text),
                    _ => keep_secrets(value),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(keep_secrets),
        _ => {}
    }
}

/// Whether a key of zenoh's configuration holds a secret itself, not the name of a file with one.
fn is_secret(key: &str) -> bool {
    key == "password" || key.ends_with("private_key_base64") || key == "private_key_pem"
}

/// Options for two sessions on this machine that find each other without multicast or router: the first listens on a
/// free TCP port of 127.0.0.1, the second connects to it.
///
/// # Errors
/// [`NodeError::Option`] if no port is free.
pub fn loopback_pair(namespace: &str) -> Result<(SessionOptions, SessionOptions), NodeError> {
    // The system picks the port; it stays free for the short while until the first session takes it.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| NodeError::Option {
            key: "listen",
            expected: "a free TCP port",
            found: error.to_string(),
        })?
        .port();
    let address = vec![format!("tcp/127.0.0.1:{port}")];
    let base = SessionOptions {
        namespace: namespace.to_owned(),
        mode: Some(Mode::Peer),
        ..SessionOptions::default()
    };
    let connector = SessionOptions {
        connect: address.clone(),
        ..base.clone()
    };
    Ok((
        SessionOptions {
            listen: address,
            ..base
        },
        connector,
    ))
}

fn addresses(key: &'static str, list: &[String]) -> Result<String, NodeError> {
    const EXPECTED: &str = "addresses like \"tcp/127.0.0.1:7447\" or \"udp/127.0.0.1:7447\"";
    for address in list {
        if address.parse::<zenoh::config::EndPoint>().is_err() {
            return Err(NodeError::Option {
                key,
                expected: EXPECTED,
                found: format!("{address:?}"),
            });
        }
    }
    serde_json::to_string(list).map_err(|error| NodeError::Option {
        key,
        expected: EXPECTED,
        found: error.to_string(),
    })
}

fn insert(
    config: &mut zenoh::Config,
    key: &'static str,
    path: &str,
    value: &str,
) -> Result<(), NodeError> {
    config
        .insert_json5(path, value)
        .map_err(|error| NodeError::Option {
            key,
            expected: "a value that zenoh accepts",
            found: format!("{value} ({error})"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &SessionOptions, key: &str) -> String {
        options.to_zenoh().unwrap().get_json(key).unwrap()
    }

    fn with_file(text: &str) -> (tempfile::TempDir, SessionOptions) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zenoh.json5");
        std::fs::write(&path, text).unwrap();
        let options = SessionOptions {
            config_file: Some(path),
            ..SessionOptions::default()
        };
        (folder, options)
    }

    const LONGEST: &str = "transport/link/rx/max_message_size";
    const SESSIONS: &str = "transport/unicast/max_sessions";

    #[test]
    fn what_others_may_take_is_bounded_unless_the_file_says_otherwise() {
        let plain = SessionOptions::default();
        let longest: usize = read(&plain, LONGEST).parse().unwrap();
        // A picture fits, and little more.
        let picture = Kind::Image.most_bytes();
        assert!(
            longest > picture && longest < picture + (1 << 20),
            "{longest}"
        );
        let count = |key: &str| read(&plain, key).parse::<usize>().unwrap();
        let taken = count(SESSIONS) + 2 * count("transport/unicast/accept_pending");
        // Two listeners of 64 connections may be beside them in a process of 1,024 descriptors.
        assert!(taken + 2 * 64 + 100 < 1024, "{taken}");
        let (_folder, silent) = with_file("{}");
        assert_eq!(read(&silent, LONGEST), read(&plain, LONGEST));
        assert_eq!(read(&silent, SESSIONS), read(&plain, SESSIONS));
        let (_folder, told) = with_file(
            "{ transport: { link: { rx: { max_message_size: 5000 } }, unicast: { max_sessions: 7 } } }",
        );
        assert_eq!(
            (&*read(&told, LONGEST), &*read(&told, SESSIONS)),
            ("5000", "7")
        );
        let short = SessionOptions {
            longest_message: Some(1000),
            ..SessionOptions::default()
        };
        let longest: usize = read(&short, LONGEST).parse().unwrap();
        assert!((1000..200_000).contains(&longest), "{longest}");
    }

    #[test]
    fn handshakes_of_tls_are_given_little_time_unless_the_address_says_otherwise() {
        let options = SessionOptions {
            listen: [
                "tls/127.0.0.1:1",
                "tls/127.0.0.1:2#tls_handshake_timeout_ms=9",
                "tls/127.0.0.1:3#iface=lo",
                "tcp/127.0.0.1:4",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..SessionOptions::default()
        };
        let listen: Vec<String> =
            serde_json::from_str(&read(&options, "listen/endpoints")).unwrap();
        let limited = |at: usize| listen[at].matches("tls_handshake_timeout_ms").count();
        assert_eq!([0, 1, 2, 3].map(limited), [1, 1, 1, 0], "{listen:?}");
        assert!(listen[1].ends_with("=9"), "{listen:?}");
    }

    #[test]
    fn passwords_and_keys_of_a_file_are_kept_out_of_the_log() {
        let users = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            users.path(),
            "robot: first-of-the-options-test \n\nviewer:second-of-it\n",
        )
        .unwrap();
        let text = format!(
            "{{ transport: {{ auth: {{ usrpwd: {{ user: \"me\", password: \"third-of-it\", dictionary_file: {:?} }} }},
                link: {{ tls: {{ listen_private_key_base64: \"Zm91cnRoLW9mLWl0\" }} }} }} }}",
            users.path()
        );
        let (_folder, options) = with_file(&text);
        options.to_zenoh().unwrap();
        for secret in [
            "first-of-the-options-test",
            "second-of-it",
            "third-of-it",
            "Zm91cnRoLW9mLWl0",
        ] {
            assert!(secrets::occur_in(&format!("x{secret}y")), "{secret}");
        }
        // Paths and names of users are no secrets.
        assert!(
            !secrets::occur_in("viewer") && !secrets::occur_in(&users.path().display().to_string())
        );
    }
}
