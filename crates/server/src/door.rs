//! The door: lets connections in, so many at once, and each for so long as HTTP may take.
//!
//! The loop is our own because a request that is sent one byte at a time has to end: axum's sets no
//! timer. Each connection is one task until it ends or leaves for a shard, and then its place here is
//! free again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service;
use tracing::{info, warn};

use crate::config::Limits;
use crate::guests::{Bound, Guest, Guests};

/// Most headers of a request; a browser sends about twenty.
const HEADERS_MAX: usize = 64;

/// Most bytes of a request's head: room for a token and cookies that are not ours.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Between two tries to accept while the system has no descriptors.
const REST: Duration = Duration::from_millis(100);

/// The two ends of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// The other side's.
    pub(crate) address: SocketAddr,
    /// Ours.
    pub(crate) local: SocketAddr,
}

/// Places at a door, and who has them.
pub(crate) struct Entrance {
    places: Arc<Semaphore>,
    places_max: usize,
    visitors: Guests,
    per_address: Bound,
    /// Connections that were closed at once, since their address had too many.
    pub(crate) turned_away: AtomicU64,
    head_time: Duration,
    life: Duration,
}

/// A connection over HTTP, as long as it lives.
struct Visit {
    _place: OwnedSemaphorePermit,
    _visitor: Option<Guest>,
}

impl Entrance {
    pub(crate) fn new(limits: &Limits) -> Entrance {
        let per_address = limits.http_connections_per_address;
        Entrance {
            places: Arc::new(Semaphore::new(limits.http_connections)),
            places_max: limits.http_connections,
            visitors: Guests::default(),
            per_address: Bound { open: per_address, strangers: per_address },
            turned_away: AtomicU64::new(0),
            head_time: Duration::from_secs(limits.header_seconds),
            life: Duration::from_secs(limits.http_seconds),
        }
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.places_max - self.places.available_permits()
    }
}

/// Lets in until `stop` says so, then lets what is under way come to its end.
pub(crate) async fn open(
    listener: TcpListener,
    router: Router,
    entrance: Arc<Entrance>,
    mut stop: watch::Receiver<bool>,
) {
    let mut rests = false;
    loop {
        let entered = tokio::select! {
            entered = enter(&listener, &entrance) => entered,
            () = told(&mut stop) => return,
        };
        match entered {
            Ok(Some((stream, peer, visit))) => {
                let (router, stop) = (router.clone(), stop.clone());
                tokio::spawn(serve(stream, peer, router, entrance.clone(), visit, stop));
            }
            Ok(None) => _ = entrance.turned_away.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                // Out of descriptors, most likely: waits for some to come back instead of spinning.
                if !std::mem::replace(&mut rests, true) {
                    warn!("no connection can be accepted for now: {error}");
                }
                tokio::time::sleep(REST).await;
                continue;
            }
        }
        if std::mem::take(&mut rests) {
            info!("connections are accepted again");
        }
    }
}

/// The next connection, once there is a place for it; `None` if its address has too many.
async fn enter(
    listener: &TcpListener,
    entrance: &Entrance,
) -> io::Result<Option<(TcpStream, Peer, Visit)>> {
    let (stream, address) = listener.accept().await?;
    let Ok(visitor) = entrance.visitors.enter(address.ip(), entrance.per_address) else {
        return Ok(None);
    };
    // A socket that cannot be set up is dead already; it says so when it is read.
    _ = stream.set_nodelay(true);
    let local = stream.local_addr()?;
    // Meanwhile whoever knocks waits in the system's queue.
    let place = entrance.places.clone().acquire_owned().await;
    let place = place.expect("the places are never closed");
    Ok(Some((stream, Peer { address, local }, Visit { _place: place, _visitor: visitor })))
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could tell is gone, which says the same.
    _ = stop.wait_for(|stop| *stop).await;
}

async fn serve(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    entrance: Arc<Entrance>,
    visit: Visit,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(entrance.head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // How it ended is the other side's affair.
    tokio::select! {
        _ = &mut connection => return,
        () = told(&mut stop) => {}
        () = tokio::time::sleep(entrance.life) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A request that is under way comes to its end; whoever does not read the answer has it no longer.
    _ = tokio::time::timeout(entrance.life, connection).await;
    drop(visit);
}
