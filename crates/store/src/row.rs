//! Rows: what is kept, as values.

use tertulia_protocol::{Cid, Epoch, Role, RoomId, RoomKind, Seq, UserId};

/// A room inside: small, dense, never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoomNo(pub u64);

/// Most rooms and most events that fit the events' key, 63 bits in all.
pub const ROOM_NO_MAX: u64 = (1 << 27) - 1;
/// See [`ROOM_NO_MAX`].
pub const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;
const SEQ_BITS: u32 = 36;
const _: () = assert!(ROOM_NO_MAX < 1 << (63 - SEQ_BITS), "the key is a signed 64-bit integer");

/// The key of an event: room first, so that a room's log is one range.
pub(crate) fn event_key(room: RoomNo, seq: Seq) -> i64 {
    (room.0 << SEQ_BITS | seq.min(SEQ_MAX)) as i64
}

pub(crate) fn seq_of_key(key: i64) -> Seq {
    key as u64 & SEQ_MAX
}

/// The checksum of an event's bytes in its place.
pub(crate) fn sum(key: i64, bytes: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, key as u64) as i64
}

/// A room as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its number inside.
    pub no: RoomNo,
    /// Its name on the wire.
    pub id: RoomId,
    /// The life of its log.
    pub epoch: Epoch,
    /// Where its log stands.
    pub head: Head,
    /// Who sees it.
    pub kind: RoomKind,
    /// What people call it.
    pub name: Option<Box<str>>,
    /// The application's own settings, one JSON value.
    pub d: Option<Box<str>>,
    /// Who made it; absent = the application itself.
    pub by: Option<UserId>,
    /// How many members it has.
    pub members: u64,
    /// How many of them are owners.
    pub owners: u64,
}

/// Where a room's log stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The newest event.
    pub seq: Seq,
    /// Messages so far.
    pub n: u64,
    /// The oldest event kept; `seq + 1` if none is.
    pub first: Seq,
    /// When the newest event was committed, ms since 1970 UTC.
    pub ts: u64,
}

/// What is stored about a user in a room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Nothing.
    Stranger,
    /// A member with that role.
    Member(Role),
    /// Was removed: also beats a token's grant, until they join or are added again.
    Removed,
    /// Is kept out.
    Banned,
}

impl Standing {
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Standing::Stranger => None,
            Standing::Member(role) => Some(role.as_str()),
            Standing::Removed => Some("removed"),
            Standing::Banned => Some("banned"),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Standing> {
        match text {
            "removed" => Some(Standing::Removed),
            "banned" => Some(Standing::Banned),
            text => Role::parse(text).map(Standing::Member),
        }
    }
}

/// Who a cid belongs to: a user, or the application itself.
pub type Sender = Option<UserId>;

/// What was answered to a cid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The event it made.
    pub seq: Seq,
    /// Messages so far, on messages.
    pub n: Option<u64>,
    /// When, ms since 1970 UTC.
    pub ts: u64,
    /// Of what was sent: the same cid with another hash is a mistake.
    pub hash: u128,
}

/// One new event.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// The room.
    pub room: RoomNo,
    /// Its number there.
    pub seq: Seq,
    /// When, ms since 1970 UTC.
    pub ts: u64,
    /// Who acted.
    pub by: Option<&'a UserId>,
    /// What kind it is.
    pub kind: &'a str,
    /// The line as it is sent.
    pub bytes: &'a [u8],
}

/// Everything one commit changes: all of it is there after, or nothing.
#[derive(Default, Debug)]
pub struct Changes<'a> {
    /// Rooms made, or with other settings.
    pub rooms: Vec<&'a Room>,
    /// Where the logs of other changed rooms stand now.
    pub heads: Vec<(RoomNo, Head)>,
    /// What happened.
    pub events: Vec<NewEvent<'a>>,
    /// What to answer when it is said again.
    pub remembered: Vec<(RoomNo, &'a Sender, Cid, Remembered)>,
    /// Who is what where.
    pub standings: Vec<(RoomNo, &'a UserId, Standing)>,
    /// Rooms that are no more.
    pub gone: Vec<RoomNo>,
    /// Users whose tokens from before that second are refused.
    pub revoked: Vec<(&'a UserId, u64)>,
}

/// One stored event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its number.
    pub seq: Seq,
    /// The line as it is sent.
    pub bytes: Vec<u8>,
}

/// A range of a room's log to read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Range {
    /// The room.
    pub room: RoomNo,
    /// Behind this one.
    pub after: Seq,
    /// Up to and with this one.
    pub upto: Seq,
    /// At most so many events.
    pub limit: u32,
    /// At most so many bytes, but always one event.
    pub bytes_max: u32,
}

/// An application's key, without the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// What it is called.
    pub name: String,
    /// Hash of the key.
    pub hash: [u8; 32],
    /// What it may do.
    pub scope: String,
    /// When it was made, ms since 1970 UTC.
    pub created: u64,
}
