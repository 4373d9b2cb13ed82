//! Where the page of a running robot is, as `[runtime]` says.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use kinestream_viewer::{ViewerError, access};

use crate::config::RuntimeConfig;
use crate::page::PageOptions;

/// Where the page is; none where the configuration names no port.
pub(super) fn options(config: &RuntimeConfig) -> Result<Option<PageOptions>> {
    let Some(port) = config.page_port else {
        return Ok(None);
    };
    let (host, token_file) = (config.page_host, config.page_token_file.clone());
    ensure!(
        token_file.is_some() || access::is_local(host),
        "runtime.page_host is {host}, which other machines reach; add runtime.page_token_file, or leave the host out for \
         127.0.0.1"
    );
    Ok(Some(PageOptions {
        host,
        port,
        token_file,
    }))
}

/// An error of the viewer in the words of the configuration.
pub(super) fn with_key(error: anyhow::Error, address: SocketAddr) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ViewerError::PortInUse { .. }) => anyhow::anyhow!(
            "runtime.page_port: port {} on {} is in use by another program; choose another, or leave the key out for no page",
            address.port(),
            address.ip()
        ),
        _ => error.context("runtime.page_port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(port: u16) -> RuntimeConfig {
        RuntimeConfig {
            page_port: Some(port),
            ..RuntimeConfig::default()
        }
    }

    #[test]
    fn there_is_no_page_unless_a_port_is_named_and_others_need_a_token() {
        assert!(options(&RuntimeConfig::default()).unwrap().is_none());
        let own = options(&on(0)).unwrap().unwrap();
        assert!(own.host.is_loopback() && own.token_file.is_none());
        let open = RuntimeConfig {
            page_host: "0.0.0.0".parse().unwrap(),
            ..on(0)
        };
        let said = options(&open).unwrap_err().to_string();
        assert!(said.contains("runtime.page_token_file"), "{said}");
        let guarded = RuntimeConfig {
            page_token_file: Some("token".into()),
            ..open
        };
        assert!(options(&guarded).unwrap().is_some());
    }
}
