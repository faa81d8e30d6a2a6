//! Lookups: what a shard cannot know by itself, asked of the store by a reader and answered as an input.
//!
//! A shard never waits. It parks the command, and the answer sets it going again. Replies to questions
//! that no one has any more are thrown away by their token.

use std::sync::Arc;

use tertulia_protocol::limits::HELLO_REPLAY_BYTES_MAX;
use tertulia_protocol::reply::RoomShown;
use tertulia_protocol::{Role, RoomId, UserId};
use tertulia_store::{Error, Range, Reader, Room, RoomNo, Standing};

use crate::draft::Address;
use crate::membership::{Membership, Version};
use crate::slab::{Gauge, Slab, SlabBuilder};

/// A question and where the answer goes.
#[derive(Debug)]
pub struct Lookup {
    /// The shard that asks.
    pub shard: usize,
    /// For which connection.
    pub from: Address,
    /// Which of its questions.
    pub token: u32,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Who is the user in these rooms, and where do the rooms stand?
    Standings {
        /// The user.
        user: UserId,
        /// The rooms, each held open by `Hub::expect`.
        rooms: Vec<RoomId>,
    },
    /// What stands in these ranges?
    Pages(Vec<Range>),
    /// Which rooms does the user have?
    RoomsOf {
        /// The user.
        user: UserId,
        /// What their token grants besides.
        grants: Vec<(RoomId, Role)>,
        /// Only rooms behind this one.
        after: Option<RoomId>,
        /// At most so many.
        limit: u32,
    },
    /// Whose token is this? Asked where a key has to be fetched first; answered outside the store.
    Identity(Box<str>),
}

/// What was found.
pub enum Answer {
    /// To [`Question::Standings`], in its order.
    Standings(Vec<Known>),
    /// To [`Question::Pages`], in its order and at least one: each page holds at least the first event of its
    /// range. Left out are rooms that cannot be read, and all behind as many bytes as a hello may replay: who
    /// still wants them asks again.
    Pages(Vec<(RoomNo, Arc<Slab>)>),
    /// To [`Question::RoomsOf`].
    RoomsOf {
        /// The rooms, by name.
        rooms: Vec<(Room, Role)>,
        /// There are more behind them.
        more: bool,
    },
    /// To [`Question::Identity`].
    Identity(crate::identity::Verdict),
    /// The store did not answer.
    Failed,
}

/// What is stored about a user in a room.
#[derive(Clone, Debug)]
pub struct Known {
    /// The room's name.
    pub id: RoomId,
    /// The room, if it is there.
    pub room: Option<Room>,
    /// What is stored about the user in it.
    pub standing: Standing,
    /// What the read may have missed.
    pub version: Version,
}

/// Answers a question from the store.
///
/// Cost: for standings two point reads a room, whether or not it is there: the count tells nothing.
/// Errors: none but [`Answer::Failed`]; the error goes to the caller for the log.
pub fn answer(
    question: &Question,
    reader: &mut Reader,
    cache: &Membership,
    gauge: &Gauge,
) -> (Answer, Option<Error>) {
    let found = match question {
        Question::Standings { user, rooms } => standings(reader, cache, user, rooms),
        Question::Pages(ranges) => return pages(reader, ranges, gauge),
        Question::RoomsOf { user, grants, after, limit } => {
            rooms_of(reader, user, grants, after.as_ref(), *limit)
        }
        Question::Identity(_) => Ok(Answer::Failed),
    };
    match found {
        Ok(answer) => (answer, None),
        Err(error) => (Answer::Failed, Some(error)),
    }
}

fn standings(
    reader: &mut Reader,
    cache: &Membership,
    user: &UserId,
    rooms: &[RoomId],
) -> Result<Answer, Error> {
    let mut known = Vec::with_capacity(rooms.len());
    for id in rooms {
        let version = cache.version(id);
        let room = reader.room(id)?;
        let no = room.as_ref().map_or(RoomNo(0), |room| room.no);
        let standing = reader.standing(no, user)?;
        known.push(Known { id: id.clone(), room, standing, version });
    }
    Ok(Answer::Standings(known))
}

/// One room that is gone or damaged does not keep the others from being read.
fn pages(reader: &mut Reader, ranges: &[Range], gauge: &Gauge) -> (Answer, Option<Error>) {
    let (mut pages, mut wrong) = (Vec::with_capacity(ranges.len()), None);
    let mut bytes_left = HELLO_REPLAY_BYTES_MAX;
    for range in ranges {
        if bytes_left == 0 {
            break;
        }
        match page(reader, *range) {
            Ok(page) => {
                let page = page.finish(gauge);
                bytes_left = bytes_left.saturating_sub(page.bytes().len());
                pages.push((range.room, page));
            }
            Err(error @ Error::Damaged(_)) => match reader.has_room(range.room) {
                // Not a loss: the room was deleted meanwhile, and its rows are being cleaned away.
                Ok(false) => {}
                Ok(true) => wrong = Some(error),
                Err(error) => return (Answer::Failed, Some(error)),
            },
            Err(error) => return (Answer::Failed, Some(error)),
        }
    }
    if pages.is_empty() { (Answer::Failed, wrong) } else { (Answer::Pages(pages), wrong) }
}

/// One page. Every range ends at or before a head that was committed, so an empty one is a loss.
fn page(reader: &mut Reader, range: Range) -> Result<SlabBuilder, Error> {
    let mut page = SlabBuilder::after(range.after);
    for event in reader.log(range)? {
        page.push(&event.bytes);
    }
    if page.last() == range.after && range.after < range.upto {
        let what = format!("event {} of room {}", range.after + 1, range.room.0);
        return Err(Error::Damaged(what));
    }
    Ok(page)
}

/// Stored memberships and granted ones as one list by name.
fn rooms_of(
    reader: &mut Reader,
    user: &UserId,
    grants: &[(RoomId, Role)],
    after: Option<&RoomId>,
    limit: u32,
) -> Result<Answer, Error> {
    let mut rooms = reader.rooms_of(user, after, limit + 1)?;
    for (id, role) in grants.iter().filter(|(id, _)| after.is_none_or(|after| id > after)) {
        if let Some((_, stored)) = rooms.iter_mut().find(|(room, _)| room.id == *id) {
            *stored = (*stored).max(*role);
        } else if let Some(room) = reader.room(id)?
            && let Some(role) =
                crate::permission::role(reader.standing(room.no, user)?, Some(*role))
        {
            rooms.push((room, role));
        }
    }
    rooms.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let more = rooms.len() > limit as usize;
    rooms.truncate(limit as usize);
    Ok(Answer::RoomsOf { rooms, more })
}

/// A room as one who has `role` there sees it in a list.
pub fn shown(room: &Room, role: Option<Role>) -> RoomShown {
    RoomShown {
        id: room.id.clone(),
        kind: room.kind,
        name: room.name.clone(),
        epoch: room.epoch,
        head: room.head.seq,
        n: room.head.n,
        role,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tertulia_protocol::{Epoch, RoomKind};
    use tertulia_store::{Changes, Head, Memory, NewEvent, Store};

    use super::*;

    const EVENT_BYTES: usize = 200 * 1024;

    /// Three rooms with two long events each.
    fn store() -> Store {
        let store = Store::in_memory(&Memory::default());
        let rooms: Vec<Room> = (1..=3)
            .map(|number| Room {
                no: RoomNo(number),
                id: RoomId::parse(&format!("r{number}")).unwrap(),
                epoch: Epoch::parse("e1").unwrap(),
                head: Head { seq: 2, n: 2, first: 1, ts: 0 },
                kind: RoomKind::Group,
                name: None,
                d: None,
                by: None,
                members: 0,
                owners: 0,
            })
            .collect();
        let bytes = vec![b'x'; EVENT_BYTES];
        let event = |room: &Room, seq| NewEvent {
            room: room.no,
            seq,
            ts: 0,
            by: None,
            kind: "msg",
            bytes: &bytes,
        };
        let events = rooms.iter().flat_map(|room| [event(room, 1), event(room, 2)]);
        let changes = Changes {
            rooms: rooms.iter().collect(),
            events: events.collect(),
            ..Changes::default()
        };
        store.writer().unwrap().commit(&changes).unwrap();
        store
    }

    fn pages_of(store: &Store, ranges: Vec<Range>) -> Option<Vec<(u64, u64)>> {
        let cache = Membership::new(10, Duration::from_secs(300));
        let mut reader = store.reader().unwrap();
        let question = Question::Pages(ranges);
        match answer(&question, &mut reader, &cache, &Gauge::default()) {
            (Answer::Pages(pages), None) => {
                Some(pages.iter().map(|(room, page)| (room.0, page.last())).collect())
            }
            (Answer::Failed, None) => None,
            (_, error) => panic!("{error:?}"),
        }
    }

    fn whole(room: u64) -> Range {
        Range { room: RoomNo(room), after: 0, upto: 2, limit: 10, bytes_max: 512 * 1024 }
    }

    #[test]
    fn pages_end_where_a_hello_has_enough() {
        let store = store();
        let asked = [1, 2, 3, 1, 2].map(whole);
        // Each page is 400 KiB, and the third passes the mebibyte.
        assert_eq!(pages_of(&store, asked.to_vec()), Some(vec![(1, 2), (2, 2), (3, 2)]));
    }

    #[test]
    fn a_room_that_was_deleted_meanwhile_is_no_damage() {
        let store = store();
        let mut writer = store.writer().unwrap();
        writer.commit(&Changes { gone: vec![RoomNo(2)], ..Changes::default() }).unwrap();
        while writer.sweep(0).unwrap() {}
        assert_eq!(pages_of(&store, vec![whole(2)]), None);
        assert_eq!(pages_of(&store, vec![whole(2), whole(1)]), Some(vec![(1, 2)]));
    }
}
