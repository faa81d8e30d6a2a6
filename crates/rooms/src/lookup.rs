//! Lookups: what a shard cannot know by itself, asked of the store by a reader and answered as an input.
//!
//! A shard never waits. It parks the command, and the answer sets it going again. Replies to questions
//! that no one has any more are thrown away by their token.

use std::sync::Arc;

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
    /// To [`Question::Pages`], in its order: each page holds at least the first event of its range.
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
        Question::Pages(ranges) => pages(reader, ranges, gauge),
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

fn pages(reader: &mut Reader, ranges: &[Range], gauge: &Gauge) -> Result<Answer, Error> {
    let mut pages = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut page = SlabBuilder::after(range.after);
        for event in reader.log(*range)? {
            page.push(&event.bytes);
        }
        // Every range ends at or before a head that was committed, so an empty page is a loss.
        if page.last() == range.after && range.after < range.upto {
            let what = format!("event {} of room {}", range.after + 1, range.room.0);
            return Err(Error::Damaged(what));
        }
        pages.push((range.room, page.finish(gauge)));
    }
    Ok(Answer::Pages(pages))
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
