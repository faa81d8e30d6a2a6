//! Judgement: what one draft does to its room, or why it does nothing.
//!
//! The order of the questions is part of the protocol: what was committed before is answered first, so
//! that a limit or a lost membership never makes it look failed.

use tertulia_protocol::command::Settings;
use tertulia_protocol::event::{Content, Why};
use tertulia_protocol::reply::Stored;
use tertulia_protocol::{Role, RoomId, RoomKind, UserId};
use tertulia_store::{Error, Head, ROOM_NO_MAX, Remembered, Room, SEQ_MAX, Standing, Writer};

use super::active::Active;
use super::batch::Batch;
use super::{Committer, unavailable};
use crate::draft::{Author, Done, Draft, Outcome, Say, Wish};
use crate::permission::{self, Action, Actor};
use crate::refusal::Refusal;

/// Most events that one draft makes: who joins with a role makes two.
const EVENTS_OF_A_DRAFT: u64 = 2;

/// A draft in its room, and what is needed to judge it.
struct Case<'a> {
    batch: &'a mut Batch,
    writer: &'a mut Writer,
    active: &'a mut Active,
    author: &'a Author,
    unread: &'a mut Option<Error>,
}

impl Committer {
    /// What `draft` does, on top of all that the batch has done.
    pub(super) fn judge(&mut self, batch: &mut Batch, draft: &Draft) -> Outcome {
        if let Wish::Revoke { user, before_s } = &draft.wish {
            batch.revoke(user, *before_s);
            return Ok(Done::Changed { epoch: None, seq: None, dup: false });
        }
        let found = if batch.is_deleted(&draft.room) {
            None
        } else {
            let found = self.rooms.find(&mut self.writer, &draft.room);
            found.map_err(|error| not_read(&mut self.unread, error))?
        };
        if found.as_ref().is_some_and(|active| active.room.head.seq + EVENTS_OF_A_DRAFT > SEQ_MAX) {
            return Err(Refusal::Forbidden("the room's log is full, make another room"));
        }
        let Some(active) = found else {
            return match (&draft.veto, &draft.wish) {
                (Some(veto), _) => Err(veto.clone()),
                (None, Wish::Create(settings)) => {
                    self.create(batch, &draft.room, &draft.author, settings)
                }
                (None, _) => Err(Refusal::NotFound),
            };
        };
        let (writer, unread) = (&mut self.writer, &mut self.unread);
        let mut case = Case { batch, writer, active, author: &draft.author, unread };
        if let Wish::Say(say) = &draft.wish {
            let outcome = case.say(say, draft.veto.as_ref());
            self.counters
                .dups
                .add(u64::from(matches!(&outcome, Ok(Done::Said(Stored { dup: true, .. })))));
            return outcome;
        }
        if let Some(veto) = &draft.veto {
            return Err(veto.clone());
        }
        let outcome = case.change(&draft.wish);
        if draft.wish == Wish::Delete && outcome.is_ok() {
            self.rooms.remove(&draft.room);
        }
        outcome
    }

    fn create(
        &mut self,
        batch: &mut Batch,
        id: &RoomId,
        author: &Author,
        settings: &Settings,
    ) -> Outcome {
        let by = author.user();
        if let Some(user) = by {
            let limit = self.limits.rooms_per_user;
            let stored = self.writer.rooms_made_by(user);
            let stored = stored.map_err(|error| not_read(&mut self.unread, error))?;
            if stored + batch.made_by(user) >= limit {
                return Err(Refusal::TooManyRooms { limit });
            }
        }
        if batch.last_no().0 >= ROOM_NO_MAX {
            return Err(Refusal::TooManyRooms { limit: ROOM_NO_MAX });
        }
        let room = Room {
            no: batch.next_no(by),
            id: id.clone(),
            epoch: (self.epochs)(),
            head: Head { seq: 0, n: 0, first: 1, ts: 0 },
            kind: settings.kind.unwrap_or(RoomKind::Group),
            name: settings.name.clone(),
            d: settings.d.as_ref().map(|d| d.as_str().into()),
            by: by.cloned(),
            members: 0,
            owners: 0,
        };
        batch.undelete(id);
        let active = self.rooms.insert(room);
        let kind = active.room.kind;
        let content =
            Content::Room { kind, name: active.room.name.clone(), d: active.room.d.clone() };
        let seq = batch.append(active, by, None, &content);
        batch.put_room(active);
        if let Some(user) = by {
            batch.append(active, by, None, &Content::Join { u: user.clone() });
            batch.put_standing(active, user, Standing::Stranger, Standing::Member(Role::Owner));
        }
        Ok(Done::Changed { epoch: Some(active.room.epoch), seq: Some(seq), dup: false })
    }
}

impl Case<'_> {
    fn say(&mut self, say: &Say, veto: Option<&Refusal>) -> Outcome {
        let sender = self.author.user().cloned();
        let hash = say.hash();
        let known = self.active.remembered(self.writer, &sender, say.cid);
        if let Some(known) = known.map_err(|error| not_read(self.unread, error))? {
            return if known.hash == hash {
                self.said(known, true)
            } else {
                Err(Refusal::CidReuse)
            };
        }
        if let Some(veto) = veto {
            return Err(veto.clone());
        }
        // Before anything about the log: whoever may not see the room is told nothing of its epoch.
        self.may(Action::Send)?;
        if say.epoch.is_some_and(|epoch| epoch != self.active.room.epoch) {
            return Err(Refusal::Reset);
        }
        let head = self.active.room.head.seq;
        for (field, seq) in [("re", say.re), ("thread", say.thread)] {
            if let Some(seq) = seq.filter(|seq| *seq > head) {
                return Err(Refusal::BadRequest(format!(
                    "{field} is {seq}, the newest event is {head}"
                )));
            }
        }
        if let Some(prev) = say.prev {
            let before = self.active.remembered(self.writer, &sender, prev);
            before.map_err(|error| not_read(self.unread, error))?.ok_or(Refusal::Order)?;
        }
        let content = Content::Said {
            kind: say.kind.clone(),
            re: say.re,
            thread: say.thread,
            d: say.d.clone(),
        };
        let seq = self.batch.append(self.active, sender.as_ref(), Some(say.cid), &content);
        let head = self.active.room.head;
        let n = content.is_message().then_some(head.n);
        let remembered = Remembered { seq, n, ts: head.ts, hash };
        self.batch.remember(self.active, &sender, say.cid, remembered);
        self.said(remembered, false)
    }

    fn said(&self, known: Remembered, dup: bool) -> Outcome {
        let Remembered { seq, n, ts, .. } = known;
        Ok(Done::Said(Stored { epoch: self.active.room.epoch, seq, n, ts, dup }))
    }

    /// Everything that is not said but done.
    fn change(&mut self, wish: &Wish) -> Outcome {
        match wish {
            Wish::Create(settings) => self.create_again(settings),
            Wish::Set(settings) => self.set(settings),
            Wish::Delete => self.delete(),
            Wish::Join => self.join(),
            Wish::Leave => self.leave(),
            Wish::Put(user, role) => self.put(user, *role),
            Wish::Role(user, role) => match self.standing(user)? {
                Standing::Member(_) => self.put(user, *role),
                target => {
                    self.may(Action::Manage { target, role: Some(*role) })?;
                    Err(Refusal::NotFound)
                }
            },
            Wish::Kick(user) => self.remove(user, Why::Kicked),
            Wish::Ban(user) => self.remove(user, Why::Banned),
            Wish::Unban(user) => self.unban(user),
            Wish::Say(_) | Wish::Revoke { .. } => unreachable!("judged before"),
        }
    }

    /// The same wish twice is one room; anything else under that name is someone else's.
    fn create_again(&mut self, settings: &Settings) -> Outcome {
        let room = &self.active.room;
        let same = room.by.as_ref() == self.author.user()
            && room.kind == settings.kind.unwrap_or(RoomKind::Group)
            && room.name == settings.name
            && room.d.as_deref() == settings.d.as_ref().map(|d| d.as_str());
        if same { self.as_it_was() } else { Err(Refusal::Conflict) }
    }

    fn set(&mut self, settings: &Settings) -> Outcome {
        self.may(Action::Set)?;
        let room = &mut self.active.room;
        let kind = settings.kind.unwrap_or(room.kind);
        // What is not named stays as it is.
        let name = settings.name.clone().or_else(|| room.name.clone());
        let d = settings.d.as_ref().map(|d| d.as_str().into()).or_else(|| room.d.clone());
        if (room.kind, &room.name, &room.d) == (kind, &name, &d) {
            return self.as_it_was();
        }
        (room.kind, room.name, room.d) = (kind, name.clone(), d.clone());
        self.batch.put_room(self.active);
        self.tell(Content::Room { kind, name, d })
    }

    fn delete(&mut self) -> Outcome {
        self.may(Action::Delete)?;
        self.batch.delete(self.active);
        Ok(Done::Changed { epoch: None, seq: None, dup: false })
    }

    fn join(&mut self) -> Outcome {
        let Author::User { user, .. } = self.author else {
            return Err(Refusal::BadRequest("user is missing: a key is no member".into()));
        };
        self.may(Action::Join)?;
        match self.standing(user)? {
            Standing::Member(_) => self.as_it_was(),
            // Only someone who may come in by themselves gets a stored membership this way; a grant in a
            // private room stays what it is.
            _ if !self.active.room.kind.is_open() => self.as_it_was(),
            old => {
                self.batch.put_standing(self.active, user, old, Standing::Member(Role::Member));
                self.tell(Content::Join { u: user.clone() })
            }
        }
    }

    fn leave(&mut self) -> Outcome {
        let Author::User { user, .. } = self.author else {
            return Err(Refusal::BadRequest("user is missing: a key is no member".into()));
        };
        match self.standing(user)? {
            Standing::Member(role) => {
                self.keep_an_owner(role, None)?;
                let old = Standing::Member(role);
                self.batch.put_standing(self.active, user, old, Standing::Stranger);
                self.tell(Content::Leave { u: user.clone(), why: Why::Left })
            }
            _ => {
                self.may(Action::Read)?;
                self.as_it_was()
            }
        }
    }

    fn put(&mut self, user: &UserId, role: Role) -> Outcome {
        let old = self.standing(user)?;
        self.may(Action::Manage { target: old, role: Some(role) })?;
        if old == Standing::Member(role) {
            return self.as_it_was();
        }
        if let Standing::Member(old) = old {
            self.keep_an_owner(old, Some(role))?;
        }
        self.batch.put_standing(self.active, user, old, Standing::Member(role));
        let joined = match old {
            Standing::Member(_) => None,
            _ => Some(self.tell(Content::Join { u: user.clone() })),
        };
        match joined {
            // Everyone takes a new member for a plain one until told otherwise.
            Some(outcome) if role == Role::Member => outcome,
            _ => self.tell(Content::Role { u: user.clone(), role }),
        }
    }

    fn remove(&mut self, user: &UserId, why: Why) -> Outcome {
        let old = self.standing(user)?;
        self.may(Action::Manage { target: old, role: None })?;
        let new = if why == Why::Banned { Standing::Banned } else { Standing::Removed };
        if old == new || old == Standing::Banned {
            return self.as_it_was();
        }
        if let Standing::Member(role) = old {
            self.keep_an_owner(role, None)?;
        }
        self.batch.put_standing(self.active, user, old, new);
        self.tell(Content::Leave { u: user.clone(), why })
    }

    fn unban(&mut self, user: &UserId) -> Outcome {
        let old = self.standing(user)?;
        self.may(Action::Manage { target: old, role: None })?;
        if old == Standing::Banned {
            self.batch.put_standing(self.active, user, old, Standing::Stranger);
        }
        let dup = old != Standing::Banned;
        Ok(Done::Changed { epoch: Some(self.active.room.epoch), seq: None, dup })
    }

    /// The last owner stays one: nobody else could ever hand the room on.
    fn keep_an_owner(&self, old: Role, new: Option<Role>) -> Result<(), Refusal> {
        if old == Role::Owner && new != Some(Role::Owner) && self.active.room.owners <= 1 {
            return Err(Refusal::Forbidden("the last owner stays; make another one first"));
        }
        Ok(())
    }

    fn may(&mut self, action: Action) -> Result<(), Refusal> {
        let actor = match self.author {
            Author::Application => Actor::Application,
            Author::User { user, grant } => {
                Actor::User { standing: self.standing(user)?, grant: *grant }
            }
        };
        permission::check(actor, self.active.room.kind, action)
    }

    fn standing(&mut self, user: &UserId) -> Result<Standing, Refusal> {
        let standing = self.active.standing(self.writer, user);
        standing.map_err(|error| not_read(self.unread, error))
    }

    fn tell(&mut self, content: Content) -> Outcome {
        let seq = self.batch.append(self.active, self.author.user(), None, &content);
        Ok(Done::Changed { epoch: Some(self.active.room.epoch), seq: Some(seq), dup: false })
    }

    fn as_it_was(&self) -> Outcome {
        Ok(Done::Changed { epoch: Some(self.active.room.epoch), seq: None, dup: true })
    }
}

/// Keeps the first error of a batch for the log, and says what the client is told.
fn not_read(unread: &mut Option<Error>, error: Error) -> Refusal {
    let refusal = unavailable(&error);
    unread.get_or_insert(error);
    refusal
}
