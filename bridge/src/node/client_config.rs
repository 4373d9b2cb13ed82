//! A runtime's own zenoh configuration, as its clients take it.

use serde_json::{Value, json};

/// What a runtime's own zenoh configuration has to become for a client of it: certificates that it shows are those that the
/// client shows, its own user logs in, and its rules on what others may do are not the client's.
pub(super) fn adapted(given: &Value) -> Vec<(&'static str, Value)> {
    let mut changes = vec![("listen/endpoints", json!([]))];
    if given.pointer("/access_control").is_some() {
        changes.push(("access_control", json!({ "enabled": false })));
    }
    let tls = |name: &str| {
        given
            .pointer(&format!("/transport/link/tls/{name}"))
            .cloned()
    };
    for (own, shown) in [
        (
            "transport/link/tls/connect_certificate",
            tls("listen_certificate"),
        ),
        (
            "transport/link/tls/connect_private_key",
            tls("listen_private_key"),
        ),
    ] {
        if given.pointer(&format!("/{own}")).is_none()
            && let Some(shown) = shown
        {
            changes.push((own, shown));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_own_file_serves_its_client() {
        let given = json!({
            "transport": { "link": { "tls": {
                "listen_certificate": "own.pem", "listen_private_key": "own-key.pem",
            } } },
            "access_control": { "enabled": true, "default_permission": "deny" },
        });
        let changes = adapted(&given);
        for change in [
            ("access_control", json!({ "enabled": false })),
            ("transport/link/tls/connect_certificate", json!("own.pem")),
            (
                "transport/link/tls/connect_private_key",
                json!("own-key.pem"),
            ),
        ] {
            assert!(changes.contains(&change), "{change:?}");
        }
        // A client's own certificate stays.
        let given = json!({ "transport": { "link": { "tls": {
            "connect_certificate": "mine.pem", "listen_certificate": "own.pem",
        } } } });
        let named: Vec<_> = adapted(&given).into_iter().map(|(key, _)| key).collect();
        assert!(!named.contains(&"transport/link/tls/connect_certificate"));
    }
}
