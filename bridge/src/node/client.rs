//! A client of a runtime's session, out of the runtime's own `[session]`: what `stop`, `top`, `sim` and `record` open.

use std::net::IpAddr;
use std::time::Duration;

use super::options::{Mode, SessionOptions};
use super::{Node, NodeError};

impl SessionOptions {
    /// The sessions of clients that reach the runtime of these options, one for each address: those that it connects to,
    /// routers as a rule, then those that it listens on, as this machine reaches them. Without either, one that looks for it by
    /// multicast or as the zenoh configuration file says.
    ///
    /// A client is reached through whatever it connects to, so that it works through routers, where two peers do not.
    #[must_use]
    pub fn clients(&self) -> Vec<Self> {
        // Seen from another machine, a runtime that listens on all interfaces is not on the loopback one: what it connects
        // to comes first.
        let mut addresses = self.connect.clone();
        for address in self.listen.iter().filter_map(|address| reachable(address)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let client = |connect: Vec<String>| Self {
            mode: if connect.is_empty() {
                self.mode
            } else {
                Some(Mode::Client)
            },
            listen: Vec::new(),
            connect,
            is_client: true,
            ..self.clone()
        };
        if addresses.is_empty() {
            return vec![client(addresses)];
        }
        addresses
            .into_iter()
            .map(|address| client(vec![address]))
            .collect()
    }

    /// One client for all addresses: zenoh takes the first that answers.
    #[must_use]
    pub fn client(&self) -> Self {
        let mut clients = self.clients().into_iter();
        let first = clients.next().unwrap_or_else(|| self.clone());
        let others = clients.flat_map(|other| other.connect);
        Self {
            connect: first.connect.iter().cloned().chain(others).collect(),
            ..first
        }
    }
}

/// Time between two attempts to reach a runtime.
const RETRY: Duration = Duration::from_millis(200);

impl Node {
    /// As [`Node::open`], for a client whose runtime or router may come later: tries again until `given_up`. None if that came
    /// first.
    ///
    /// # Errors
    /// What no waiting mends: options that cannot work.
    pub fn open_when_there(
        options: &SessionOptions,
        robot: &str,
        name: &str,
        given_up: impl Fn() -> bool,
    ) -> Result<Option<Self>, NodeError> {
        // Wrong addresses are told before anything else happens.
        options.to_zenoh()?;
        while !given_up() {
            match Self::open(options, robot, name) {
                Ok(node) => return Ok(Some(node)),
                Err(NodeError::Open { .. }) if options.mode == Some(Mode::Client) => {
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// An address that a runtime listens on, as this machine reaches it; none for port 0, which the system replaces by one that
/// the configuration does not tell.
fn reachable(address: &str) -> Option<String> {
    let whole = || Some(address.to_owned());
    let Some((protocol, place)) = address.split_once('/') else {
        return whole();
    };
    // Metadata and options of the address follow these signs.
    let end = place.find(['?', '#']).unwrap_or(place.len());
    let (place, options) = place.split_at(end);
    let Some((host, port)) = place.rsplit_once(':') else {
        return whole();
    };
    if port == "0" {
        return None;
    }
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(host)) if host.is_unspecified() => {
            Some(format!("{protocol}/127.0.0.1:{port}{options}"))
        }
        Ok(IpAddr::V6(host)) if host.is_unspecified() => {
            Some(format!("{protocol}/[::1]:{port}{options}"))
        }
        _ => whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_connects_where_the_runtime_listens_or_connects() {
        let addresses = |listen: &[&str], connect: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|&address| address.to_owned()).collect();
            let options = SessionOptions {
                listen: own(listen),
                connect: own(connect),
                mode: Some(Mode::Peer),
                ..SessionOptions::default()
            };
            let client = options.client();
            assert_eq!(client.mode, Some(Mode::Client));
            assert!(client.listen.is_empty());
            assert_eq!(options.clients().len(), client.connect.len());
            client.connect
        };
        assert_eq!(
            addresses(&["tcp/0.0.0.0:7447", "tls/[::]:7448"], &[]),
            ["tcp/127.0.0.1:7447", "tls/[::1]:7448"]
        );
        assert_eq!(
            addresses(&["tcp/[::1]:1", "tcp/r:2"], &["tcp/r:2", "udp/s:3"]),
            ["tcp/r:2", "udp/s:3", "tcp/[::1]:1"]
        );
        assert_eq!(
            addresses(&["tcp/0.0.0.0:0", "tcp/0.0.0.0:1#iface=eth0"], &[]),
            ["tcp/127.0.0.1:1#iface=eth0"]
        );
        // Nobody to connect to: as the file and multicast say.
        let alone = SessionOptions::default().client();
        assert_eq!((alone.mode, alone.connect.len()), (None, 0));
    }
}
