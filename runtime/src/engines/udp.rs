//! Receivers of datagrams. A send never blocks; what the system refuses is counted and said, less and less often.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use anyhow::{Context, Result, anyhow};

/// Where the same datagrams go.
#[derive(Debug)]
pub(super) struct Targets {
    flag: &'static str,
    targets: Vec<Target>,
    sent: u64,
    refused: u64,
}

#[derive(Debug)]
struct Target {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Targets {
    /// Resolves addresses HOST:PORT; errors name `flag`.
    pub(super) fn open(flag: &'static str, addresses: &[String]) -> Result<Self> {
        let targets = addresses.iter().map(|text| {
            Target::open(text).with_context(|| {
                format!("{flag} {text}: expected HOST:PORT of a receiver, such as 127.0.0.1:39539")
            })
        });
        Ok(Self {
            flag,
            targets: targets.collect::<Result<_>>()?,
            sent: 0,
            refused: 0,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Sends to all.
    pub(super) fn send(&mut self, datagram: &[u8]) {
        for Target { socket, address } in &self.targets {
            match socket.send_to(datagram, address) {
                Ok(_) => self.sent += 1,
                Err(error) => {
                    self.refused += 1;
                    // A full queue empties itself; other causes stay until somebody reads this.
                    if error.kind() != ErrorKind::WouldBlock && self.refused.is_power_of_two() {
                        tracing::warn!(
                            "{} {address}: {error}; {} datagrams not sent so far",
                            self.flag,
                            self.refused
                        );
                    }
                }
            }
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

impl Target {
    fn open(text: &str) -> Result<Self> {
        let address = text
            .to_socket_addrs()
            .context("cannot resolve it")?
            .next()
            .ok_or_else(|| anyhow!("the name has no address"))?;
        // Not connected: a receiver that is not there yet is no error.
        let socket = match address {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        }
        .context("cannot open a socket")?;
        socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_broadcast(true))
            .context("cannot open a socket")?;
        Ok(Self { socket, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_gets_every_datagram_whether_or_not_it_listens() {
        let receivers = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let mut addresses = receivers
            .each_ref()
            .map(|receiver| receiver.local_addr().unwrap().to_string())
            .to_vec();
        // Nobody is there.
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        addresses.push(gone.local_addr().unwrap().to_string());
        drop(gone);
        let mut targets = Targets::open("--vmc", &addresses).unwrap();
        for _ in 0..5 {
            targets.send(b"pose");
        }
        assert_eq!((targets.sent(), targets.refused()), (15, 0));
        for receiver in &receivers {
            let mut buffer = [0; 16];
            for _ in 0..5 {
                assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
                assert_eq!(&buffer[..4], b"pose");
            }
        }
        // Longer than any datagram.
        targets.send(&[0; 70_000]);
        assert_eq!((targets.sent(), targets.refused()), (15, 3));
    }

    #[test]
    fn wrong_addresses_are_named() {
        for wrong in ["nowhere.invalid:39539", "127.0.0.1", "127.0.0.1:99999"] {
            let error = Targets::open("--vmc", &[wrong.to_owned()]).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(wrong) && error.contains("--vmc"), "{error}");
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
