//! Connections to this process that say nothing.
//!
//! Whoever connects takes a descriptor of the process that accepts, before a byte was sent: a few hundred idle connections use
//! up all of an ordinary process's, and a stop that comes over a new connection waits until they are timed out. Linux can keep
//! a connection to itself until it has sent something (`TCP_DEFER_ACCEPT`, tcp(7)). In all protocols that kinestream listens
//! for, zenoh's, TLS, HTTP and WebSocket, the one who connects speaks first, so nothing is lost. Libraries that open listeners
//! themselves do not offer the option, so it is set afterwards, on all listeners of the process.

use std::io;
use std::time::Duration;

/// How long a silent connection is kept back; one that still says nothing is then accepted as if nothing had been set. The
/// system counts in retransmissions that grow to two minutes, so this is approximate.
#[cfg(target_os = "linux")]
const KEPT_BACK: Duration = Duration::from_secs(3600);

/// Has every TCP listener that is open in this process keep silent connections back. To be called when all are open; returns
/// how many there were.
///
/// # Errors
/// The list of open descriptors cannot be read, or a listener refused.
#[cfg(target_os = "linux")]
pub fn keep_back_silent_connections() -> io::Result<usize> {
    let mut listeners = 0;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(descriptor) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if is_tcp_listener(descriptor) {
            let seconds = i32::try_from(KEPT_BACK.as_secs()).unwrap_or(i32::MAX);
            set_option(
                descriptor,
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                seconds,
            )?;
            listeners += 1;
        }
    }
    Ok(listeners)
}

/// Does nothing on systems other than Linux.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn keep_back_silent_connections() -> io::Result<usize> {
    Ok(0)
}

#[cfg(target_os = "linux")]
fn is_tcp_listener(descriptor: i32) -> bool {
    let is = |option: i32, value: i32| {
        option_of(descriptor, libc::SOL_SOCKET, option).is_ok_and(|found| found == value)
    };
    is(libc::SO_ACCEPTCONN, 1) && is(libc::SO_PROTOCOL, libc::IPPROTO_TCP)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn option_of(descriptor: i32, level: i32, option: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` and `size` live for the call, and `size` is the size of `value`. A descriptor that is none, or no
    // socket, is an error of the call.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            level,
            option,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut size,
        )
    };
    if status == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn set_option(descriptor: i32, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` lives for the call and has the size that is told. The descriptor may have been closed since it was
    // looked at, and another opened under its number; the option does no harm to any socket, and is an error on others.
    let status = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_accepted_once_it_has_said_something() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(keep_back_silent_connections().unwrap() >= 1);
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let _silent: Vec<TcpStream> = (0..50)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        // On the loopback device a connection that is made is there to be accepted.
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut talking = TcpStream::connect(address).unwrap();
        talking.write_all(b"stop").unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let mut heard = [0; 4];
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"stop");
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
