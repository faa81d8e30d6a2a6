//! An identity provider: a small HTTP server that publishes keys and counts who asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::Issuer;

/// What is answered: status and further headers, body.
type Answer = (String, Vec<u8>);

pub(super) struct Provider {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Provider {
    /// Runs until the test ends.
    pub(super) fn publishing(issuers: &[&Issuer]) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let provider = Provider {
            address: listener.local_addr().expect("an address"),
            asked: Arc::default(),
            answer: Arc::default(),
        };
        provider.publish(issuers);
        let (asked, answer) = (provider.asked.clone(), provider.answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                // The client may hang up before it has all of a long answer.
                let _ = respond(stream, &answer);
            }
        });
        provider
    }

    pub(super) fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        self.answer("200 OK", json!({"keys": keys}).to_string().into_bytes());
    }

    /// `status` may carry headers, each on a line of its own.
    pub(super) fn answer(&self, status: &str, body: Vec<u8>) {
        *self.answer.lock().unwrap() = (status.to_owned(), body);
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// How many connections there were.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn respond(mut stream: TcpStream, (status, body): &Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&part[..bytes]),
        }
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(body)
}
