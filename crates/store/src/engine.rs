//! Engines: what a database has to offer to keep rooms. Private, so that callers cannot tell them apart.

use tertulia_protocol::{Cid, Role, RoomId, UserId};

use crate::error::Error;
use crate::row::{Changes, Range, Remembered, Room, RoomNo, Sender, Standing, StoredEvent};

/// What can be read. Every answer is of one moment.
pub(crate) trait Read: Send {
    fn room(&mut self, id: &RoomId) -> Result<Option<Room>, Error>;
    fn has_room(&mut self, room: RoomNo) -> Result<bool, Error>;
    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Error>;
    fn log(&mut self, range: Range) -> Result<Vec<StoredEvent>, Error>;
    fn rooms_of(
        &mut self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<(Room, Role)>, Error>;
    fn members(
        &mut self,
        room: RoomNo,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, Role)>, Error>;
    fn revoked(&mut self) -> Result<Vec<(UserId, u64)>, Error>;
    fn ping(&mut self) -> Result<(), Error>;
}

/// What only the writer needs.
pub(crate) trait Write: Read {
    fn remembered(
        &mut self,
        room: RoomNo,
        sender: &Sender,
        cid: &Cid,
    ) -> Result<Option<Remembered>, Error>;
    fn highest_cid(&mut self, room: RoomNo, sender: &Sender) -> Result<Option<Cid>, Error>;
    fn rooms_made_by(&mut self, user: &UserId) -> Result<u64, Error>;
    fn hold(&mut self) -> Result<(), Error>;
    fn release(&mut self) -> Result<(), Error>;
    fn last_room_no(&mut self) -> Result<RoomNo, Error>;
    fn commit(&mut self, changes: &Changes<'_>) -> Result<(), Error>;
    fn probe(&mut self) -> Result<(), Error>;
    fn sweep(&mut self, forget_before: u64) -> Result<bool, Error>;
}

macro_rules! reads {
    ($name:ident) => {
        impl $name {
            /// The room of that name.
            pub fn room(&mut self, id: &RoomId) -> Result<Option<Room>, Error> {
                self.0.room(id)
            }

            /// Whether the room of that number is there, and was not deleted.
            pub fn has_room(&mut self, room: RoomNo) -> Result<bool, Error> {
                self.0.has_room(room)
            }

            /// What is stored about `user` in `room`.
            pub fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Error> {
                self.0.standing(room, user)
            }

            /// Events of `range`, oldest first, none missing in between.
            ///
            /// Shape: each `seq` is one more than the last; fewer than asked for means that a bound of
            /// `range` was reached.
            /// Cost: one range scan of the clustered key.
            /// Errors: [`Error::Damaged`] if a row is not what was written or is not there, as those of a room
            /// that was deleted since its number was learned.
            pub fn log(&mut self, range: Range) -> Result<Vec<StoredEvent>, Error> {
                self.0.log(range)
            }

            /// Rooms that `user` is a member of, by name, behind `after`.
            pub fn rooms_of(
                &mut self,
                user: &UserId,
                after: Option<&RoomId>,
                limit: u32,
            ) -> Result<Vec<(Room, Role)>, Error> {
                self.0.rooms_of(user, after, limit)
            }

            /// Members of `room`, by name, behind `after`.
            pub fn members(
                &mut self,
                room: RoomNo,
                after: Option<&UserId>,
                limit: u32,
            ) -> Result<Vec<(UserId, Role)>, Error> {
                self.0.members(room, after, limit)
            }

            /// Users whose tokens were revoked, with the second before which.
            pub fn revoked(&mut self) -> Result<Vec<(UserId, u64)>, Error> {
                self.0.revoked()
            }

            /// Whether the database answers.
            pub fn ping(&mut self) -> Result<(), Error> {
                self.0.ping()
            }
        }
    };
}

/// Reads what is committed. Holds no snapshot between two calls.
pub struct Reader(pub(crate) Box<dyn Read>);
reads!(Reader);

/// Writes, one batch after the other, and sees its own writes.
pub struct Writer(pub(crate) Box<dyn Write>);
reads!(Writer);

impl Writer {
    /// What was answered to `cid` of `sender` in `room`.
    pub fn remembered(
        &mut self,
        room: RoomNo,
        sender: &Sender,
        cid: &Cid,
    ) -> Result<Option<Remembered>, Error> {
        self.0.remembered(room, sender, cid)
    }

    /// The highest of the cids that `sender` is remembered by in `room`, by their bytes, or a higher one if that
    /// cannot be told.
    ///
    /// Cost: one look into the key.
    pub fn highest_cid(&mut self, room: RoomNo, sender: &Sender) -> Result<Option<Cid>, Error> {
        self.0.highest_cid(room, sender)
    }

    /// How many rooms that are still there `user` made.
    pub fn rooms_made_by(&mut self, user: &UserId) -> Result<u64, Error> {
        self.0.rooms_made_by(user)
    }

    /// From now on everything is read as it stands at the first read, until [`Writer::release`]: a batch of
    /// questions costs as little as one. Nothing can be committed meanwhile.
    pub fn hold(&mut self) -> Result<(), Error> {
        self.0.hold()
    }

    /// Ends a [`Writer::hold`].
    pub fn release(&mut self) -> Result<(), Error> {
        self.0.release()
    }

    /// The newest room's number, deleted ones included.
    pub fn last_room_no(&mut self) -> Result<RoomNo, Error> {
        self.0.last_room_no()
    }

    /// Makes `changes` durable, all of them or none.
    ///
    /// Cost: one transaction, one sync.
    /// Errors: nothing of `changes` is there.
    pub fn commit(&mut self, changes: &Changes<'_>) -> Result<(), Error> {
        self.0.commit(changes)
    }

    /// Writes something that nobody reads, to see whether anything can be written (again).
    pub fn probe(&mut self) -> Result<(), Error> {
        self.0.probe()
    }

    /// Does a small step of cleaning: rows of deleted rooms, and cids from before that time (ms since 1970),
    /// some of both. True if there is more to do at once.
    ///
    /// Cost: a few milliseconds, and at most two syncs.
    pub fn sweep(&mut self, forget_before: u64) -> Result<bool, Error> {
        self.0.sweep(forget_before)
    }
}
