//! Client: a seat with a socket.
//!
//! Reads until the socket is empty and writes until it is full, since the poll tells only of changes.
//!
//! Never: blocks, copies what arrived whole.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tertulia_protocol::frame::{Decoder, Input, Message, Opcode, Side, put_masked};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

use crate::handshake;
use crate::journal::Journal;
use crate::seat::{Book, Seat};

/// One client of the crowd, connected or not.
pub(crate) struct Client {
    pub(crate) seat: Seat,
    wire: Option<Wire>,
    /// It has stopped reading its socket.
    pub(crate) stalled: bool,
    /// Its socket's receive buffer, where the system's choice is too forgiving.
    pub(crate) receive_buffer_bytes: Option<usize>,
    /// A close by the server is what the scenario wants of this one.
    pub(crate) excused: bool,
    /// Connections that the server ended since one held.
    pub(crate) failures: u32,
    /// When the present connection was opened.
    pub(crate) opened_ns: u64,
    /// The time for which it is planned to speak.
    pub(crate) speaks_ns: Option<u64>,
}

/// One connection.
struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    /// What came of the answer to the upgrade; absent once frames flow.
    upgrade: Option<Vec<u8>>,
    out: Vec<u8>,
    written: usize,
    /// The next frame's mask: it only has to differ.
    mask: u32,
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The close code, from `bye` or the close frame; 1006 if there was neither.
    pub(crate) code: u64,
    /// When the server wants to see us again.
    pub(crate) retry_ms: Option<u64>,
    /// For a person.
    pub(crate) why: String,
}

/// What was read from sockets.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Traffic {
    pub(crate) reads: u64,
    pub(crate) read_bytes: u64,
    pub(crate) frames: u64,
}

impl Client {
    pub(crate) fn new(seat: Seat) -> Client {
        Client {
            seat,
            wire: None,
            stalled: false,
            receive_buffer_bytes: None,
            excused: false,
            failures: 0,
            opened_ns: 0,
            speaks_ns: None,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    /// Opens a connection; the upgrade request goes out as soon as it stands.
    pub(crate) fn connect(
        &mut self,
        addr: SocketAddr,
        host: &str,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut stream = open(addr, self.receive_buffer_bytes)?;
        let token = Token(self.seat.client as usize);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.wire = Some(Wire {
            stream,
            decoder: Decoder::new(Side::Client),
            upgrade: Some(Vec::new()),
            out: handshake::request(host).into_bytes(),
            written: 0,
            mask: self.seat.client,
        });
        Ok(())
    }

    /// Drops the connection, if there is one, without a word.
    pub(crate) fn cut(&mut self, journal: &mut Journal) {
        self.wire = None;
        self.seat.cut();
        journal.detached(self.seat.client);
    }

    /// Reads all that has arrived. With `to_the_end` the socket is asked until it has no more: the poll's last
    /// word on it may have been spoken.
    pub(crate) fn read(
        &mut self,
        to_the_end: bool,
        buffer: &mut [u8],
        book: &mut Book<'_>,
        now_ns: impl Fn() -> u64,
        traffic: &mut Traffic,
    ) -> Result<(), Ended> {
        let Client { seat, wire: Some(wire), stalled: false, .. } = self else { return Ok(()) };
        loop {
            let bytes = match wire.stream.read(buffer) {
                Ok(0) => return Err(ended(seat, None, "the server closed the connection".into())),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The upgrade is not there yet, only the poll's first word.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(ended(seat, None, error.to_string())),
            };
            book.now_ns = now_ns();
            traffic.reads += 1;
            traffic.read_bytes += bytes as u64;
            let arrived = buffer.get_mut(..bytes).unwrap_or_default();
            wire.hear(arrived, seat, book, traffic)?;
            // A short read has emptied the socket, and whatever comes later is told anew.
            if bytes < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    /// Says and writes all there is.
    pub(crate) fn speak(
        &mut self,
        journal: &Journal,
        now_ms: u64,
        words: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let Client { seat, wire: Some(wire), .. } = self else { return Ok(()) };
        if wire.upgrade.is_none() {
            words.clear();
            while seat.say(journal, now_ms, words) {
                wire.put(Opcode::Text, words);
                words.clear();
            }
        }
        wire.flush().map_err(|error| ended(seat, None, error.to_string()))
    }
}

/// A nonblocking connection that has begun.
fn open(addr: SocketAddr, receive_buffer_bytes: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer_bytes {
        // Before the connection, since the window is announced with it.
        socket.set_recv_buffer_size(bytes)?;
    }
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// The end of a connection; `bye` wins over the close frame, which is often lost.
fn ended(seat: &Seat, close_code: Option<u16>, why: String) -> Ended {
    let (code, retry_ms) =
        seat.bye.unwrap_or_else(|| (u64::from(close_code.unwrap_or(1006)), None));
    Ended { code, retry_ms, why }
}

impl Wire {
    fn hear(
        &mut self,
        arrived: &mut [u8],
        seat: &mut Seat,
        book: &mut Book<'_>,
        traffic: &mut Traffic,
    ) -> Result<(), Ended> {
        let Some(head) = &mut self.upgrade else {
            return self.hear_frames(arrived, seat, book, traffic);
        };
        head.extend_from_slice(arrived);
        let frames_from = match handshake::answered(head) {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(()),
            Err(why) => return Err(ended(seat, None, why)),
        };
        let mut frames = head.split_off(frames_from);
        self.upgrade = None;
        let mut hello = Vec::new();
        seat.greet(book.now_ns / crate::clock::MS_NS, &mut hello);
        self.put(Opcode::Text, &hello);
        self.hear_frames(&mut frames, seat, book, traffic)
    }

    fn hear_frames(
        &mut self,
        arrived: &mut [u8],
        seat: &mut Seat,
        book: &mut Book<'_>,
        traffic: &mut Traffic,
    ) -> Result<(), Ended> {
        let mut input = Input::new(arrived);
        let mut pong = None;
        loop {
            let message = self.decoder.next(&mut input, SERVER_MESSAGE_BYTES_MAX);
            match message.map_err(|violation| ended(seat, None, violation.to_string()))? {
                None => break,
                Some(Message::Text(text)) => {
                    traffic.frames += 1;
                    seat.hear(text, book).map_err(|why| ended(seat, None, why))?;
                }
                Some(Message::Ping(payload)) => pong = Some(payload.to_vec()),
                Some(Message::Pong(_)) => {}
                Some(Message::Binary(_)) => {
                    return Err(ended(seat, None, "the server sent a binary message".into()));
                }
                Some(Message::Close { code, reason }) => {
                    let why = reason.to_owned();
                    return Err(ended(seat, code.or(Some(1005)), why));
                }
            }
        }
        // Only the newest ping needs an answer.
        if let Some(payload) = pong {
            self.put(Opcode::Pong, &payload);
        }
        Ok(())
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        // An odd step visits every mask; the mask only has to keep proxies from seeing a pattern.
        self.mask = self.mask.wrapping_add(0x9e37_79b9);
        put_masked(&mut self.out, opcode, self.mask.to_le_bytes(), payload);
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
