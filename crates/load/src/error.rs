//! Errors: why a run could not be carried out. What a run found wrong is no error, it stands in the report.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: cannot start the server: {source}; build it beside this tool, or give --server PATH or --url URL", path.display())]
    Start { path: PathBuf, source: io::Error },

    #[error("{}: the server was not ready: {why}; it said:\n{said}", path.display())]
    NotReady { path: PathBuf, why: String, said: String },

    #[error("the server ended with {status}; it said:\n{said}")]
    BadEnd { status: String, said: String },

    #[error("--url {url}: {why}, expected http://HOST:PORT")]
    Url { url: String, why: String },

    #[error("{addr}: {method} {path}: {source}; is the server up?")]
    Call { addr: SocketAddr, method: &'static str, path: String, source: io::Error },

    #[error("{addr}: {method} {path} was answered with {status}: {body}")]
    Answer { addr: SocketAddr, method: &'static str, path: String, status: u16, body: String },

    #[error(
        "{addr}: no metric {name} in /metrics; is it the internal address of a Tertulia server?"
    )]
    NoMetric { addr: SocketAddr, name: String },

    #[error("{live} of {clients} clients were in their rooms after {seconds} s{last_words}")]
    NotGathered { live: usize, clients: usize, seconds: u64, last_words: String },

    #[error("nothing happened for {seconds} s: {done} of {of}")]
    Stuck { done: u64, of: u64, seconds: u64 },

    #[error("{what}: {why}; `make bench` installs what is missing")]
    Peer { what: String, why: String },

    #[error("--only {name}: there is no such row, expected one of {names}")]
    NoRow { name: String, names: String },

    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },

    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Error {
    /// Adds what was being done.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }
}
