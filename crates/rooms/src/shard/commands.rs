//! Commands that hear, say or change something. (3 authorise, 4 submit)

use std::sync::Arc;

use tertulia_protocol::RoomId;
use tertulia_protocol::command::{Command, CommandId, RoomOp, Send, Sub};
use tertulia_protocol::limits::SIGNAL_BYTES_MAX;
use tertulia_protocol::{Close, reply};

use super::connection::State;
use super::hand::Hand;
use super::inbox::{Ack, Signal};
use super::session::{Flow, TOO_FAST_MAX};
use super::{Ports, Shard};
use crate::counters::Verb;
use crate::draft::{Author, Done, Draft, Reply, Say, Wish};
use crate::permission::Action;
use crate::refusal::Refusal;

impl Shard {
    pub(super) fn sub(
        &mut self,
        place: u32,
        id: CommandId,
        sub: &Sub,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        if !self.is_half_empty(place) {
            return Flow::Drain;
        }
        let limit = self.limits.rooms_per_connection;
        let attached = self.rooms_by_id.get(&sub.room).copied();
        let connection = &mut self.connections[place as usize];
        let again = attached.is_some_and(|room| connection.attachment(room).is_some());
        if !again && connection.attachments.len() >= limit {
            self.refuse(place, Some(id), &Refusal::TooManyRooms { limit: limit as u64 });
            return Flow::Done;
        }
        let settled = match self.settle(place, std::slice::from_ref(sub), hand) {
            Ok(mut settled) => settled.pop().expect("one sub, one answer"),
            Err(question) => return Flow::Ask(question),
        };
        self.count_authorised(since_ns, 1, ports);
        match settled {
            Ok(ready) => {
                let attached = ready.attached();
                self.reply(place, |out| attached.put(out, id));
                self.attach(place, &sub.room, ready);
                self.pump(place, ports);
            }
            Err(refusal) => {
                if let Some(room) = attached {
                    self.detach(place, room);
                }
                self.refuse(place, Some(id), &refusal);
            }
        }
        Flow::Done
    }

    pub(super) fn unsub(&mut self, place: u32, id: CommandId, room: &RoomId) -> Flow {
        if let Some(room) = self.rooms_by_id.get(room).copied() {
            self.detach(place, room);
        }
        self.reply(place, |out| reply::put_ok(out, id));
        Flow::Done
    }

    pub(super) fn send(
        &mut self,
        place: u32,
        id: CommandId,
        send: &Send,
        ports: &mut impl Ports,
    ) -> Flow {
        let author = self.author(place, &send.room);
        let user = author.user().expect("a connection acts as a user");
        // A limit may not hide that the same was committed before, so the committer says it.
        let veto = self.people.veto(user, send.d.len(), &self.limits, self.now_ns);
        let who = self.connections[place as usize].who.as_mut();
        let who = who.expect("only someone who said hello gets here");
        who.too_fast = if veto.is_some() { who.too_fast + 1 } else { 0 };
        if who.too_fast > TOO_FAST_MAX {
            self.close(place, Close::Rate, None);
            return Flow::Gone;
        }
        let wish = Wish::Say(Say {
            cid: send.cid,
            kind: send.kind.clone(),
            re: send.re,
            thread: send.thread,
            prev: send.prev,
            epoch: send.epoch,
            d: send.d.clone(),
        });
        self.submit(place, id, &send.room, author, wish, veto, ports)
    }

    #[allow(clippy::too_many_arguments, reason = "typing and signal share the way")]
    pub(super) fn transient(
        &mut self,
        place: u32,
        id: Option<CommandId>,
        room: &RoomId,
        command: &Command,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        let allowed = match self.allowed(place, room, Action::Send, hand) {
            Ok(allowed) => allowed,
            Err(question) => return Flow::Ask(question),
        };
        self.count_authorised(since_ns, 1, ports);
        let view = match allowed {
            Ok(allowed) => allowed.view,
            Err(refusal) => {
                self.refuse(place, id, &refusal);
                return Flow::Done;
            }
        };
        match command {
            Command::Typing { on, .. } => {
                let author = self.author(place, room);
                let user = author.user().expect("a connection acts as a user");
                self.hub.typing(room, user, *on, self.now_ns / 1_000_000);
            }
            Command::Signal { kind, d, .. } if d.len() <= SIGNAL_BYTES_MAX => {
                let signal = Signal::of_application(room, view.no, kind, d.as_str());
                self.hub.signal(room, &Arc::new(signal));
            }
            _ => {
                let bytes = if let Command::Signal { d, .. } = command { d.len() } else { 0 };
                let refusal = Refusal::TooLarge { bytes, limit: SIGNAL_BYTES_MAX };
                self.refuse(place, id, &refusal);
                return Flow::Done;
            }
        }
        self.confirm(place, id);
        Flow::Done
    }

    pub(super) fn change_room(
        &mut self,
        place: u32,
        id: CommandId,
        room: &RoomId,
        op: &RoomOp,
        ports: &mut impl Ports,
    ) -> Flow {
        let wish = match op.clone() {
            RoomOp::Create(settings) => Wish::Create(settings),
            RoomOp::Set(settings) => Wish::Set(settings),
            RoomOp::Del => Wish::Delete,
            RoomOp::Join => Wish::Join,
            RoomOp::Leave => Wish::Leave,
            RoomOp::Kick(user) => Wish::Kick(user),
            RoomOp::Ban(user) => Wish::Ban(user),
            RoomOp::Unban(user) => Wish::Unban(user),
            RoomOp::Role(user, role) => Wish::Role(user, role),
            RoomOp::Get => unreachable!("answered by get_room"),
        };
        let author = self.author(place, room);
        self.submit(place, id, room, author, wish, None, ports)
    }

    #[allow(clippy::too_many_arguments, reason = "a draft has that many parts")]
    fn submit(
        &mut self,
        place: u32,
        id: CommandId,
        room: &RoomId,
        author: Author,
        wish: Wish,
        veto: Option<Refusal>,
        ports: &mut impl Ports,
    ) -> Flow {
        let started_ns = ports.now_ns();
        let reply = Reply::Command { shard: self.id, to: self.address(place), id };
        let room = room.clone();
        let draft = Draft { room, author, wish, veto, reply, submitted_ns: started_ns };
        if ports.submit(draft) {
            self.connections[place as usize].open.push(id);
            self.news_follow = true;
        } else {
            let why = "too much waits to be committed, try again";
            self.refuse(place, Some(id), &Refusal::Unavailable(why));
        }
        let took = ports.now_ns().saturating_sub(started_ns);
        self.counters.verb(Verb::Submit).observe(took, 1);
        Flow::Done
    }

    /// What came of a draft.
    pub(super) fn acked(&mut self, ack: Ack, ports: &mut impl Ports) {
        let Ack { to, id, outcome } = ack;
        // Behind a close frame nothing is said; the client asks again on its next connection.
        if !self.is_current(to) || self.connections[to.place as usize].state != State::Live {
            return;
        }
        self.connections[to.place as usize].open.retain(|open| *open != id);
        self.stir(to.place, ports);
        match outcome {
            Ok(Done::Said(stored)) => self.reply(to.place, |out| stored.put(out, id)),
            Ok(Done::Changed { epoch, seq, dup }) => {
                self.reply(to.place, |out| reply::put_changed_ok(out, id, epoch, seq, dup));
            }
            Err(refusal) => self.refuse(to.place, Some(id), &refusal),
        }
    }

    fn author(&self, place: u32, room: &RoomId) -> Author {
        let connection = &self.connections[place as usize];
        let who = connection.who.as_ref().expect("only someone who said hello gets here");
        Author::User { user: who.user.clone(), grant: connection.grant(room) }
    }

    pub(super) fn ping(
        &mut self,
        place: u32,
        id: Option<CommandId>,
        heads: bool,
        ports: &mut impl Ports,
    ) -> Flow {
        let Some(id) = id else { return Flow::Done };
        if !self.is_half_empty(place) {
            return Flow::Drain;
        }
        let now = ports.wall_ms();
        let attachments = &self.connections[place as usize].attachments;
        let heads: Option<Vec<_>> = heads.then(|| {
            let rooms = attachments.iter().map(|attachment| {
                let room = &self.rooms[attachment.room as usize];
                let head = self.hub.view(&room.id).map_or(room.position, |view| view.head.seq);
                (room.id.clone(), room.epoch, head)
            });
            rooms.collect()
        });
        self.reply(place, |out| reply::put_pong(out, id, now, heads.map(Vec::into_iter)));
        Flow::Done
    }
}
