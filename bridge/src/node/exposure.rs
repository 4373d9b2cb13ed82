//! What a session leaves open to whoever reaches it, in sentences.

use std::net::IpAddr;

use serde_json::Value;

use super::{NodeError, SessionOptions};

/// What is to be done about an open door.
const REMEDY: &str =
    "see docs/NETWORK.md for certificates and passwords, or listen on 127.0.0.1 alone";

impl SessionOptions {
    /// What of this session other machines reach without showing a certificate or a password: one sentence for each address
    /// that it listens on, and one for multicast. Empty where only this machine reaches it, or only whoever is known.
    ///
    /// # Errors
    /// As [`SessionOptions::to_zenoh`].
    pub fn exposure(&self) -> Result<Vec<String>, NodeError> {
        let config = self.to_zenoh()?;
        let read = |key: &str| {
            let text = config.get_json(key).unwrap_or_default();
            serde_json::from_str(&text).unwrap_or(Value::Null)
        };
        let doors = Doors {
            certificates: read("transport/link/tls/enable_mtls") == Value::Bool(true),
            passwords: read("transport/auth/usrpwd/dictionary_file").is_string(),
            rights: read("access_control/enabled") == Value::Bool(true)
                && read("access_control/default_permission") == "deny",
        };
        let mode = read("mode");
        let mode = mode.as_str().unwrap_or("peer");
        let mut told: Vec<String> = endpoints(&read("listen/endpoints"), mode)
            .filter_map(|endpoint| doors.about(endpoint))
            .collect();
        if for_mode(&read("scouting/multicast/enabled"), mode) == Value::Bool(true) {
            let protocols = read("transport/link/protocols");
            told.extend(doors.about_multicast(&protocols));
        }
        Ok(told)
    }
}

/// Who is asked for what at the doors of a session.
#[derive(Debug, Clone, Copy)]
struct Doors {
    /// A certificate of everybody who connects by TLS.
    certificates: bool,
    /// A user and a password of everybody.
    passwords: bool,
    /// Nothing is allowed but by rule.
    rights: bool,
}

impl Doors {
    fn about(self, endpoint: &str) -> Option<String> {
        let (protocol, address) = endpoint.split_once('/')?;
        // Metadata and configuration may follow the address.
        let address = address.split(['?', '#']).next().unwrap_or_default();
        if self.passwords || !is_reached_by_others(protocol, address) {
            return None;
        }
        match protocol {
            "tls" | "quic" if self.certificates => None,
            "tls" | "quic" => Some(format!(
                "[session] listens on {protocol}/{address}, which other machines reach, and asks nobody for a certificate: \
                 whoever reaches it can drive the robot; set enable_mtls in the zenoh configuration, {REMEDY}"
            )),
            _ => Some(format!(
                "[session] listens on {protocol}/{address}, which other machines reach, with neither TLS nor passwords: \
                 whoever reaches it can drive the robot; {REMEDY}"
            )),
        }
    }

    fn about_multicast(self, protocols: &Value) -> Option<String> {
        let only_tls = protocols.as_array().is_some_and(|them| {
            !them.is_empty() && them.iter().all(|it| it == "tls" || it == "quic")
        });
        // We connect to whoever is found as well, and nobody whom we connect to is asked for a password.
        if (only_tls && self.certificates) || (self.passwords && self.rights) {
            return None;
        }
        Some(format!(
            "[session] multicast: whoever is on the same network is found and talked to, and can drive the robot; {REMEDY}, \
             with multicast off"
        ))
    }
}

/// Whether an address of a zenoh endpoint may be reached from another machine.
fn is_reached_by_others(protocol: &str, address: &str) -> bool {
    if matches!(
        protocol,
        "unixsock-stream" | "unixpipe" | "serial" | "vsock"
    ) {
        return false;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => !address.to_canonical().is_loopback(),
        // A name may be anybody's but for this one.
        Err(_) => !host.eq_ignore_ascii_case("localhost"),
    }
}

/// A value that may be given apart for each mode.
fn for_mode(value: &Value, mode: &str) -> Value {
    match value {
        Value::Object(modes) => modes.get(mode).cloned().unwrap_or_default(),
        plain => plain.clone(),
    }
}

/// The addresses of a list, which may be given apart for each mode.
fn endpoints<'a>(value: &'a Value, mode: &str) -> impl Iterator<Item = &'a str> {
    let list = match value {
        Value::Object(modes) => modes.get(mode).unwrap_or(&Value::Null),
        plain => plain,
    };
    list.as_array().into_iter().flatten().filter_map(|it| {
        // An endpoint is a text, or an object whose fields have names.
        it.as_str().or_else(|| it.get("endpoint")?.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Mode;

    fn listening(addresses: &[&str], file: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zenoh.json5");
        let config_file = file.map(|text| {
            std::fs::write(&path, text).unwrap();
            path.clone()
        });
        let options = SessionOptions {
            listen: addresses.iter().map(|&it| it.to_owned()).collect(),
            config_file,
            ..SessionOptions::default()
        };
        options.exposure().unwrap()
    }

    const PASSWORDS: &str =
        "{ transport: { auth: { usrpwd: { dictionary_file: \"users.txt\" } } } }";
    const CERTIFICATES: &str = "{ transport: { link: { tls: { enable_mtls: true } } } }";

    #[test]
    fn what_this_machine_alone_reaches_is_not_exposed() {
        let local = [
            "tcp/127.0.0.1:7447",
            "udp/127.3.2.1:7447",
            "tcp/[::1]:7447",
            "tcp/localhost:7447",
        ];
        assert_eq!(listening(&local, None), [""; 0]);
        assert_eq!(listening(&[], None), [""; 0]);
        assert_eq!(listening(&[], Some("{}")), [""; 0]);
    }

    #[test]
    fn every_address_that_others_reach_is_told_of() {
        let open = [
            "tcp/0.0.0.0:7447",
            "tcp/[::]:7447#iface=eth0",
            "udp/192.0.2.1:1",
            "tcp/robot.example:7447",
            "tls/0.0.0.0:7448",
        ];
        let told = listening(&open, None);
        assert_eq!(told.len(), open.len());
        for (sentence, address) in told.iter().zip(open) {
            let address = address.split('#').next().unwrap();
            assert!(sentence.contains(address), "{sentence}");
            assert!(sentence.contains("docs/NETWORK.md"), "{sentence}");
        }
        // What the file says counts as what [session] says.
        let file = "{ listen: { endpoints: { peer: [\"tcp/0.0.0.0:1\"], router: [] } } }";
        assert_eq!(listening(&[], Some(file)).len(), 1);
    }

    #[test]
    fn certificates_close_tls_and_passwords_close_all() {
        let both = ["tcp/0.0.0.0:7447", "tls/0.0.0.0:7448"];
        assert_eq!(listening(&both, Some(PASSWORDS)), [""; 0]);
        let told = listening(&both, Some(CERTIFICATES));
        assert!(
            told.len() == 1 && told[0].contains("tcp/0.0.0.0"),
            "{told:?}"
        );
    }

    #[test]
    fn multicast_is_told_of() {
        let options = SessionOptions {
            mode: Some(Mode::Peer),
            multicast: Some(true),
            ..SessionOptions::default()
        };
        let told = options.exposure().unwrap();
        assert!(told.len() == 1 && told[0].contains("multicast"), "{told:?}");
    }
}
