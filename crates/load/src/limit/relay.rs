//! Relay: the copying limit. What members say is copied behind a filler, so that a frame has as many bytes as
//! the event of a real server, and written to every socket.
//!
//! Never: reads a body, numbers, stores, or keeps more for a member than its socket would not take.

use std::io::{self, ErrorKind, Read, Write};

use clap::ValueEnum;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tertulia_protocol::frame::{Decoder, Input, Message, Side, put_text};

use crate::error::Error;

const LISTENER: Token = Token(usize::MAX);

const READ_BYTES: usize = 64 * 1024;

/// The longest message of a member.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What a client of this crate is told: it always gives the same key.
const GRANTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What goes into one write.
    #[arg(long, value_enum, default_value_t = Per::Tick)]
    write: Per,

    /// Bytes of a frame's payload: what is said, behind a filler.
    #[arg(long, default_value_t = 64)]
    payload_bytes: usize,
}

/// What goes into one write to one socket.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Per {
    /// All that came since the last look at the sockets.
    Tick,
    /// One message.
    Message,
}

struct Member {
    stream: TcpStream,
    decoder: Decoder,
    /// What came of the request; absent once it was answered.
    head: Option<Vec<u8>>,
    /// What its socket did not take.
    rest: Vec<u8>,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut relay = Relay::new(options, any).map_err(Error::io("listening"))?;
    println!("ready {}", relay.listener.local_addr().map_err(Error::io("listening"))?);
    loop {
        relay.tick().map_err(Error::io("copying"))?;
    }
}

struct Relay {
    write: Per,
    payload_bytes: usize,
    listener: TcpListener,
    poll: Poll,
    events: Events,
    members: Vec<Option<Member>>,
    buffer: Vec<u8>,
    /// The frames of this tick, and where each ends.
    frames: Vec<u8>,
    ends: Vec<usize>,
    payload: Vec<u8>,
}

impl Relay {
    fn new(options: &Options, addr: std::net::SocketAddr) -> io::Result<Relay> {
        let mut listener = TcpListener::bind(addr)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Relay {
            write: options.write,
            payload_bytes: options.payload_bytes,
            listener,
            poll,
            events: Events::with_capacity(1024),
            members: Vec::new(),
            buffer: vec![0; READ_BYTES],
            frames: Vec::new(),
            ends: Vec::new(),
            payload: Vec::new(),
        })
    }

    /// Reads whoever has said something, and writes it to all.
    fn tick(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let place = event.token().0;
            if event.is_writable()
                && let Some(Some(member)) = self.members.get_mut(place)
            {
                let rest = std::mem::take(&mut member.rest);
                member.write(&rest);
            }
            if event.is_readable() && !self.read(place) {
                self.members[place] = None;
            }
        }
        self.events = events;
        match self.write {
            Per::Tick if !self.frames.is_empty() => {
                self.members.iter_mut().flatten().for_each(|member| member.write(&self.frames));
            }
            Per::Tick => {}
            Per::Message => {
                let mut from = 0;
                for end in &self.ends {
                    let frame = &self.frames[from..*end];
                    self.members.iter_mut().flatten().for_each(|member| member.write(frame));
                    from = *end;
                }
            }
        }
        self.frames.clear();
        self.ends.clear();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.members.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both)?;
            let decoder = Decoder::new(Side::Server);
            let member = Member { stream, decoder, head: Some(Vec::new()), rest: Vec::new() };
            self.members.push(Some(member));
        }
    }

    /// False if the member is gone.
    fn read(&mut self, place: usize) -> bool {
        let Some(Some(member)) = self.members.get_mut(place) else { return true };
        loop {
            let bytes = match member.stream.read(&mut self.buffer) {
                Ok(0) => return false,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let arrived = &mut self.buffer[..bytes];
            if let Some(head) = &mut member.head {
                head.extend_from_slice(arrived);
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                member.head = None;
                member.write(GRANTED);
                continue;
            }
            let mut input = Input::new(arrived);
            loop {
                match member.decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                    Ok(None) => break,
                    Ok(Some(Message::Text(text))) => {
                        let filler = self.payload_bytes.saturating_sub(text.len());
                        self.payload.clear();
                        self.payload.resize(filler, b' ');
                        self.payload.extend_from_slice(text.as_bytes());
                        put_text(&mut self.frames, &self.payload);
                        self.ends.push(self.frames.len());
                    }
                    Ok(Some(_)) => {}
                    Err(_) => return false,
                }
            }
            if bytes < READ_BYTES {
                return true;
            }
        }
    }
}

impl Member {
    fn write(&mut self, bytes: &[u8]) {
        if self.head.is_some() {
            return;
        }
        let mut written = 0;
        while self.rest.is_empty() && written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(taken) => written += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Full, or gone, which a read will tell.
                Err(_) => break,
            }
        }
        self.rest.extend_from_slice(&bytes[written..]);
    }
}
