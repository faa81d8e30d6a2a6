//! Here: whether a request comes from whoever sits at this machine, and through nobody.
//!
//! A proxy on the same machine looks like its neighbour. What it adds to a request gives it away, or the
//! name that it calls the server by, or the user that it runs as; one that hides all three is not noticed.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use rustix::process::geteuid;
use tokio::sync::Semaphore;

use crate::door::Peer;
use crate::state::App;
use crate::upgrade::check_origin;

/// The system's sockets, one a line.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether the development sign-in is there for whoever sent this.
pub(super) async fn may_be_anyone(app: &App, peer: Peer, headers: &HeaderMap) -> bool {
    let open = app.config.server.dev || app.config.server.listen.ip().is_loopback();
    if !open || !peer.address.ip().is_loopback() || !says_here(headers) {
        return false;
    }
    check_origin(app, headers).is_ok() && is_one_of_us(look_up_owner(peer).await)
}

/// Whether the request says of itself that it came from this machine: a name that someone else's page
/// points here, or a proxy, would say otherwise.
fn says_here(headers: &HeaderMap) -> bool {
    let forwarded = headers
        .keys()
        .any(|name| name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_string() == "127.0.0.1" || address.to_string() == "::1");
    !forwarded && (name == "localhost" || loopback)
}

/// Proxies run as users of their own. Root is what a tunnel into a container or a virtual machine runs as,
/// and can read the secret anyway; where the system does not tell, the request's own words decide.
fn is_one_of_us(owner: Option<u32>) -> bool {
    owner.is_none_or(|user| user == 0 || user == geteuid().as_raw())
}

/// The tables are as long as the system has sockets, so only one look at them is under way at a time.
async fn look_up_owner(peer: Peer) -> Option<u32> {
    static LOOKS: Semaphore = Semaphore::const_new(1);
    let _look = LOOKS.acquire().await;
    tokio::task::spawn_blocking(move || owner(peer)).await.unwrap_or_default()
}

/// The user whose process has the other end of the connection.
fn owner(peer: Peer) -> Option<u32> {
    TABLES.iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| owner_in(line, peer))
    })
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …`, as of proc(5).
fn owner_in(line: &str, peer: Peer) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    let ends = (address(words.nth(1)?)?, address(words.next()?)?);
    if ends != (peer.address, peer.local) {
        return None;
    }
    words.nth(4)?.parse().ok()
}

/// An address as it stands in memory, 32 bits at a time, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (digits, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..digits.len() / 8).map(|word| {
        let word = u32::from_str_radix(digits.get(word * 8..word * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<[u8; 4]>>>()?.concat();
    let v4 = || <[u8; 4]>::try_from(&bytes[..]).map(IpAddr::from);
    let ip = <[u8; 16]>::try_from(&bytes[..]).map(IpAddr::from).or_else(|_| v4()).ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_system_says_whose_connection_it_is() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(here) else { continue };
            let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, address) = listener.accept().unwrap();
            let local = accepted.local_addr().unwrap();
            assert_eq!(owner(Peer { address, local }), Some(geteuid().as_raw()), "{here}");
            let other = SocketAddr::new(address.ip(), address.port() ^ 1);
            assert_eq!(owner(Peer { address: other, local }), None);
        }
    }

    #[test]
    fn whoever_runs_as_someone_else_is_not_here() {
        let us = geteuid().as_raw();
        assert!(is_one_of_us(Some(us)) && is_one_of_us(Some(0)) && is_one_of_us(None));
        assert!(!is_one_of_us(Some(us + 1)));
    }

    #[test]
    fn what_a_request_says_of_where_it_comes_from() {
        let says = |host: &str, more: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            for name in more {
                let name = HeaderName::try_from(*name).unwrap();
                headers.insert(name, HeaderValue::from_static("x"));
            }
            says_here(&headers)
        };
        for host in
            ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"]
        {
            assert!(says(host, &["accept"]), "{host}");
            for proxied in ["forwarded", "x-forwarded-for", "x-forwarded-proto"] {
                assert!(!says(host, &[proxied]), "{host} {proxied}");
            }
        }
        for host in
            ["", "chat.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"]
        {
            assert!(!says(host, &[]), "{host}");
        }
    }
}
