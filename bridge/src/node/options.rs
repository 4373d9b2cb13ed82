//! How a session is opened: the `[session]` table of kinestream's configuration files.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Where and how to meet other nodes. The default is a peer that listens nowhere, connects nowhere and sends no multicast:
/// give `listen` on one side and `connect` on the other, or ask for multicast on a network that you trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        }
    }
}

/// The part a session plays in zenoh's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Talks to every node directly.
    Peer,
    /// Talks through the one node that it connects to.
    Client,
    /// Forwards between others.
    Router,
}

impl SessionOptions {
    /// zenoh's configuration for these options.
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
            None => serde_json::Value::Null,
        };
        quiet(&mut config, &given)?;
        if self.is_client {
            for (path, value) in super::client::adapted(&given) {
                insert(&mut config, "config_file", path, &value.to_string())?;
            }
        }
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
                &addresses("listen", &self.listen)?,
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
fn given(path: &Path) -> Result<serde_json::Value, NodeError> {
    let failed = |source: zenoh::Error| NodeError::ConfigFile {
        path: path.display().to_string(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    json5::from_str(&text).map_err(|error| failed(error.into()))
}

/// What holds unless the configuration file says otherwise: no multicast, listening nowhere, quick to find a node that
/// starts later. zenoh's own defaults listen on every interface and look for others by multicast.
fn quiet(config: &mut zenoh::Config, given: &serde_json::Value) -> Result<(), NodeError> {
    const RETRY: &str = "{ period_init_ms: 100, period_max_ms: 2000, period_increase_factor: 2 }";
    for (name, key, value) in [
        ("multicast", "scouting/multicast/enabled", "false"),
        ("listen", "listen/endpoints", "[]"),
        ("connect", "connect/retry", RETRY),
    ] {
        if given.pointer(&format!("/{key}")).is_none() {
            insert(config, name, key, value)?;
        }
    }
    Ok(())
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
