//! Wire: one socket of the crowd, from the upgrade to its end.
//!
//! Reads until the socket is empty and writes until it is full, since the poll tells only of changes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use tertulia_protocol::frame::{Decoder, Input, Message, Opcode, Side, put_masked};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

use crate::client::upgrade_request;
use crate::trace::numbers;

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    /// What has come of the answer to the upgrade; absent once frames flow.
    head: Option<Vec<u8>>,
    out: Vec<u8>,
    written: usize,
    mask: u32,
}

/// Something from the server.
pub(super) enum Heard<'a> {
    /// The upgrade was granted.
    Granted,
    /// One object.
    Line(&'a str),
    /// What no server sends.
    Nonsense(String),
}

/// Why a connection is over.
#[derive(Default)]
pub(super) struct Ended {
    /// The status that refused the upgrade.
    pub(super) status: Option<u16>,
    /// The code of the close frame.
    pub(super) code: Option<u16>,
    /// When to ask again, where the upgrade was refused.
    pub(super) retry_ms: Option<u64>,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Ended {
        Ended::default()
    }
}

impl Wire {
    /// A connection that has begun; the upgrade goes out as soon as it stands.
    pub(super) fn open(
        server: SocketAddr,
        receive_buffer_bytes: Option<usize>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Wire> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        if let Some(bytes) = receive_buffer_bytes {
            // Before the connection, since the window is announced with it.
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Wire {
            stream,
            decoder: Decoder::new(Side::Client),
            head: Some(Vec::new()),
            out: upgrade_request(server, "").into_bytes(),
            written: 0,
            mask: token.0 as u32,
        })
    }

    /// Our port.
    pub(super) fn port(&self) -> Option<u16> {
        self.stream.local_addr().ok().map(|address| address.port())
    }

    /// Bytes that are to be written.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Puts a message behind what is to be written.
    pub(super) fn say(&mut self, text: &[u8]) {
        // An odd step visits every mask.
        self.mask = self.mask.wrapping_add(0x9e37_79b9);
        put_masked(&mut self.out, Opcode::Text, self.mask.to_le_bytes(), text);
    }

    /// Reads all that has arrived.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut heard: impl FnMut(Heard<'_>),
    ) -> Result<(), Ended> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Ended::default()),
                Ok(bytes) => self.take_in(&mut buffer[..bytes], &mut heard)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It does not stand yet.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_in(
        &mut self,
        bytes: &mut [u8],
        heard: &mut impl FnMut(Heard<'_>),
    ) -> Result<(), Ended> {
        let Some(head) = &mut self.head else { return self.frames(bytes, heard) };
        head.extend_from_slice(bytes);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|end| end + 4) else { return Ok(()) };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let text = String::from_utf8_lossy(head);
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
            let retry_ms = numbers(&text, r#""retry_ms":"#).next();
            return Err(Ended { status, code: None, retry_ms });
        }
        let mut frames = head.split_off(end);
        self.head = None;
        heard(Heard::Granted);
        self.frames(&mut frames, heard)
    }

    fn frames(&mut self, bytes: &mut [u8], heard: &mut impl FnMut(Heard<'_>)) -> Result<(), Ended> {
        let mut input = Input::new(bytes);
        loop {
            match self.decoder.next(&mut input, SERVER_MESSAGE_BYTES_MAX) {
                Ok(None) => return Ok(()),
                Ok(Some(Message::Text(text))) => {
                    text.split('\n').for_each(|line| heard(Heard::Line(line)));
                }
                Ok(Some(Message::Close { code, .. })) => {
                    return Err(Ended { code: code.or(Some(1005)), ..Ended::default() });
                }
                Ok(Some(Message::Ping(_) | Message::Pong(_))) => {}
                Ok(Some(Message::Binary(_))) => heard(Heard::Nonsense("bytes".to_owned())),
                Err(violation) => {
                    heard(Heard::Nonsense(violation.to_string()));
                    return Err(Ended::default());
                }
            }
        }
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Ended> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.out = Vec::new();
        self.written = 0;
        Ok(())
    }
}
