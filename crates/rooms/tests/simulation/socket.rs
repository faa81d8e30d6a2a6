//! Sockets: bytes between a shard and a client, as slow and as short-lived as real ones.

use std::collections::BTreeMap;
use std::io::IoSlice;

use tertulia_rooms::draft::Address;

use crate::random::Random;

/// Names a socket; none is given twice.
pub(crate) type SocketId = u64;

/// One socket: what is under way in it, and which of its ends are still there.
pub(crate) struct Socket {
    pub(crate) shard: usize,
    pub(crate) address: Address,
    /// Whose it is, and the session that it was given, as far as they heard.
    pub(crate) device: usize,
    pub(crate) session: Option<String>,
    /// The session that its hello asks for.
    asked_for: Option<String>,
    /// The server has answered its hello.
    pub(crate) greeted: bool,
    /// From the client to the server.
    pub(crate) up: Vec<u8>,
    /// From the server to the client.
    pub(crate) down: Vec<u8>,
    /// Most bytes in `down`.
    pub(crate) space: usize,
    /// The shard was told that it takes no more; it is owed a word when it does again.
    pub(crate) full: bool,
    /// The shard does not want to read before it says so.
    pub(crate) paused: bool,
    /// The server will write nothing more.
    pub(crate) finished: bool,
    pub(crate) server_left: bool,
    pub(crate) client_left: bool,
}

/// All sockets of a server.
#[derive(Default)]
pub(crate) struct Sockets {
    sockets: BTreeMap<SocketId, Socket>,
    /// Where each one stands that the server knows.
    places: BTreeMap<(usize, u32), SocketId>,
    last: SocketId,
}

impl Sockets {
    /// A new socket to a connection that was just opened.
    pub(crate) fn open(
        &mut self,
        shard: usize,
        address: Address,
        space: usize,
        (device, asked_for): (usize, Option<String>),
    ) -> SocketId {
        self.last += 1;
        let socket = Socket {
            shard,
            address,
            device,
            session: None,
            asked_for,
            greeted: false,
            up: Vec::new(),
            down: Vec::new(),
            space,
            full: false,
            paused: false,
            finished: false,
            server_left: false,
            client_left: false,
        };
        self.sockets.insert(self.last, socket);
        let before = self.places.insert((shard, address.place), self.last);
        assert!(before.is_none(), "place {} was given twice", address.place);
        self.last
    }

    pub(crate) fn find(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(&id)
    }

    pub(crate) fn get(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(&id)
    }

    pub(crate) fn ids(&self) -> Vec<SocketId> {
        self.sockets.keys().copied().collect()
    }

    fn at(&mut self, shard: usize, address: Address) -> Option<&mut Socket> {
        let id = self.places.get(&(shard, address.place))?;
        self.sockets.get_mut(id).filter(|socket| socket.address == address)
    }

    /// The server has answered a hello: whoever had its session is gone.
    pub(crate) fn greeted(&mut self, shard: usize, of: Address) {
        if let Some(socket) = self.at(shard, of) {
            socket.greeted = true;
        }
    }

    /// The newer socket that has taken over the session of this one, if there is one.
    pub(crate) fn heir(&self, shard: usize, of: Address) -> Option<SocketId> {
        let id = *self.places.get(&(shard, of.place))?;
        let old = self.sockets.get(&id).filter(|old| old.address == of && old.session.is_some())?;
        let mut newer = self.sockets.range(id + 1..);
        newer
            .find(|(_, new)| {
                new.greeted && new.device == old.device && new.asked_for == old.session
            })
            .map(|(id, _)| *id)
    }

    /// The server writes. Says how many bytes were taken.
    pub(crate) fn write(&mut self, shard: usize, to: Address, parts: &[IoSlice<'_>]) -> usize {
        let Some(socket) = self.at(shard, to) else { return 0 };
        assert!(!socket.finished, "something is written behind the end");
        let given: usize = parts.iter().map(|part| part.len()).sum();
        // Or a queue that holds nothing would be written for ever.
        assert!(given > 0, "nothing is written");
        let taken = given.min(socket.space.saturating_sub(socket.down.len()));
        let mut left = taken;
        for part in parts {
            let some = &part[..part.len().min(left)];
            socket.down.extend_from_slice(some);
            left -= some.len();
        }
        socket.full = taken < given;
        taken
    }

    /// Puts a live event under way once more: a fault, for the tests of the checks.
    pub(crate) fn double(&mut self, shard: usize, to: Address, frames: &[u8]) {
        if let Some(socket) = self.at(shard, to) {
            socket.down.extend_from_slice(frames);
        }
    }

    pub(crate) fn finish(&mut self, shard: usize, of: Address) {
        if let Some(socket) = self.at(shard, of) {
            socket.finished = true;
        }
    }

    pub(crate) fn resume(&mut self, shard: usize, of: Address) {
        if let Some(socket) = self.at(shard, of) {
            socket.paused = false;
        }
    }

    /// The server's end goes. What the client has not read by then may be lost with it.
    pub(crate) fn close(&mut self, shard: usize, of: Address, random: &mut Random) {
        let Some(socket) = self.at(shard, of) else { return };
        socket.server_left = true;
        if !socket.finished {
            let kept = random.below(socket.down.len() + 1);
            socket.down.truncate(kept);
        }
        let gone = socket.client_left;
        let place = (shard, of.place);
        if let Some(id) = self.places.remove(&place)
            && gone
        {
            self.sockets.remove(&id);
        }
    }

    /// The client's end goes; the server notices later, if it is still there.
    pub(crate) fn hang_up(&mut self, id: SocketId, random: &mut Random) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.client_left = true;
        // Its last words may be cut anywhere.
        let sent = random.below(socket.up.len() + 1);
        socket.up.truncate(sent);
        if socket.server_left {
            self.sockets.remove(&id);
        }
    }

    /// The server is gone without a word.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.places.clear();
        self.sockets.retain(|_, socket| {
            socket.server_left = true;
            let kept = random.below(socket.down.len() + 1);
            socket.down.truncate(kept);
            !socket.client_left
        });
    }
}
