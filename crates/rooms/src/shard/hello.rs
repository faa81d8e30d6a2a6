//! Hello and auth: who is there, for how long, and in whose place. (3 authorise)
//!
//! Nothing behind a hello is read before the identity is settled, and no new connection of a session
//! speaks before the old one is gone.

use tertulia_protocol::command::{CommandId, Hello};
use tertulia_protocol::reply::{self, Denied, HelloOk, Promised};
use tertulia_protocol::{Close, Code, Role, RoomId, SessionId};

use super::connection::{State, Who};
use super::hand::Hand;
use super::session::Flow;
use super::wheel::{Tick, ticks};
use super::{Ports, Shard};
use crate::identity::{Identity, LEEWAY_S, Verdict, refusal};
use crate::lookup::Question;
use crate::people::Seat;
use crate::permission;
use crate::rates::Bucket;
use crate::refusal::Refusal;
use crate::session::Session;

/// Optional behaviour that is there.
const FEATURES: [&str; 2] = ["typing", "signal"];

/// Bounds of `ping_s` that a client may ask for.
const PING_S: std::ops::RangeInclusive<u64> = 10..=60;

/// The client is told so long before its token ends.
const WARN_BEFORE_S: u64 = 60;

/// Why it is not known whose token it is.
enum Identify {
    Refused(Close),
    Ask(Question),
}

impl Shard {
    pub(super) fn hello(
        &mut self,
        place: u32,
        id: CommandId,
        hello: &Hello,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        if hand.identity.is_none() {
            let bearer = || self.connections[place as usize].bearer.clone();
            let Some(token) = hello.token.clone().or_else(bearer) else {
                return self.refuse_identity(place, id, Close::NoToken);
            };
            match self.identify(&token, hand, ports) {
                Ok(identity) => {
                    hand.identity = Some(identity);
                    // Not before: a hello that has to ask is run again, and needs the token once more.
                    self.connections[place as usize].bearer = None;
                }
                Err(Identify::Refused(close)) => return self.refuse_identity(place, id, close),
                Err(Identify::Ask(question)) => return Flow::Ask(question),
            }
        }
        if !hand.seated {
            let identity = hand.identity.clone().expect("it was settled just now");
            hand.seated = true;
            match self.take_seat(place, id, hello.session, identity, ports) {
                Flow::Done => {}
                other => return other,
            }
        }
        let mut subs = hello.rooms.clone();
        let refused = subs.split_off(subs.len().min(self.limits.rooms_per_connection));
        let settled = match self.settle(place, &subs, hand) {
            Ok(settled) => settled,
            Err(question) => return Flow::Ask(question),
        };
        self.count_authorised(since_ns, settled.len() as u64, ports);
        ports.greeted(self.address(place));
        let connection = &mut self.connections[place as usize];
        connection.state = State::Live;
        let ping_s = hello.ping_s.unwrap_or(self.limits.ping_s);
        connection.ping_s = ping_s.clamp(*PING_S.start(), *PING_S.end()) as u8;
        if let Some(want) = &hello.want {
            connection.wants_typing = want.iter().any(|kind| &**kind == "typing");
        }
        let ping_s = u64::from(connection.ping_s);
        let who = connection.who.as_ref().expect("the seat was taken");
        let (user, session) = (who.user.clone(), who.session.id());
        let mut rooms: Vec<(RoomId, Result<reply::Attached, Denied>)> = Vec::new();
        for (sub, one) in subs.iter().zip(&settled) {
            let result = one.as_ref().map(|ready| ready.attached()).map_err(Refusal::denied);
            rooms.push((sub.room.clone(), result));
        }
        let too_many = Denied { code: Code::TooManyRooms, retry_ms: None };
        rooms.extend(refused.into_iter().map(|sub| (sub.room, Err(too_many))));
        let (now, limits) = (ports.wall_ms(), self.promised());
        self.reply(place, |out| {
            let feat = &FEATURES;
            HelloOk { user: &user, session, now, ping_s, feat, limits, rooms: &rooms }.put(out, id);
        });
        for (sub, one) in subs.iter().zip(settled) {
            if let Ok(ready) = one {
                self.attach(place, &sub.room, ready);
            }
        }
        self.look_again(place);
        self.pump(place, ports);
        Flow::Done
    }

    /// Whose token it is: found out just now, or by whoever had to fetch a key for it.
    fn identify(
        &mut self,
        token: &str,
        hand: &mut Hand,
        ports: &mut impl Ports,
    ) -> Result<Identity, Identify> {
        // An answer that came from elsewhere is older than this moment: the token may have been revoked since.
        let verdict = match (ports.identify(token), hand.verdict.take()) {
            (Verdict::MustAsk, Some(answer)) => answer,
            (verdict, _) => verdict,
        };
        match verdict {
            Verdict::Known(identity) => Ok(identity),
            Verdict::Refused(close) => Err(Identify::Refused(close)),
            Verdict::MustAsk if hand.failed => Err(Identify::Refused(Close::TokenInvalid)),
            Verdict::MustAsk => Err(Identify::Ask(Question::Identity(token.into()))),
        }
    }

    fn promised(&self) -> Promised {
        Promised {
            frame: self.limits.frame_bytes as u64,
            msg: self.limits.body_bytes as u64,
            rooms: self.limits.rooms_per_connection as u64,
            inflight: self.limits.inflight as u64,
            dedup_s: self.limits.dedup_s,
            page: self.limits.page,
            jump: self.limits.jump,
        }
    }

    pub(super) fn refuse_identity(&mut self, place: u32, id: CommandId, close: Close) -> Flow {
        let (code, why) = refusal(close);
        self.counters.refused(code);
        self.reply(place, |out| reply::put_err(out, Some(id), code, why, None));
        self.close(place, close, None);
        Flow::Done
    }

    /// Gives the connection its user and session. Waits while another connection with it goes.
    fn take_seat(
        &mut self,
        place: u32,
        id: CommandId,
        presented: Option<SessionId>,
        identity: Identity,
        ports: &mut impl Ports,
    ) -> Flow {
        let known = presented.and_then(Session::of);
        let known = known.filter(|session| self.people.has_session(&identity.user, *session));
        let session = known.unwrap_or_else(|| Session::new(ports.random()));
        let address = self.address(place);
        let seat = Seat { shard: self.id, address, session };
        let user = identity.user.clone();
        let Ok(old) = self.people.enter(&user, seat, self.limits.connections_per_user) else {
            let limit = self.limits.connections_per_user;
            let why = format!("{limit} connections are open, close one first");
            self.reply(place, |out| reply::put_err(out, Some(id), Code::Forbidden, &why, None));
            self.close(place, Close::ConnectionLimit, None);
            return Flow::Gone;
        };
        let expires = self.tick_of(identity.exp_s, ports);
        let who = Who {
            user: user.clone(),
            session,
            grants: identity.grants.into(),
            expires,
            warned: false,
            commands: Bucket::default(),
            too_fast: 0,
        };
        self.connections[place as usize].who = Some(Box::new(who));
        self.users.entry(user).or_default().push(place);
        match old {
            None => Flow::Done,
            Some(old) => self.take_over(place, &old),
        }
    }

    /// The tick at which a token's life ends: read once, so that a clock that is set changes nothing.
    fn tick_of(&self, exp_s: u64, ports: &impl Ports) -> Tick {
        let left_s = exp_s.saturating_add(LEEWAY_S).saturating_sub(ports.wall_ms() / 1000);
        self.tick.saturating_add(ticks(left_s))
    }

    pub(super) fn auth(
        &mut self,
        place: u32,
        id: CommandId,
        token: &str,
        hand: &mut Hand,
        ports: &mut impl Ports,
    ) -> Flow {
        let identity = match self.identify(token, hand, ports) {
            Ok(identity) => identity,
            Err(Identify::Refused(close)) => return self.refuse_identity(place, id, close),
            Err(Identify::Ask(question)) => return Flow::Ask(question),
        };
        let expires = self.tick_of(identity.exp_s, ports);
        let connection = &mut self.connections[place as usize];
        let who = connection.who.as_mut().expect("only someone who said hello renews");
        if who.user != identity.user {
            let why = "token is for another user";
            self.reply(place, |out| {
                reply::put_err(out, Some(id), Code::Unauthorized, why, None);
            });
            self.close(place, Close::IdentityChanged, None);
            return Flow::Done;
        }
        (who.expires, who.warned) = (expires, false);
        let old = std::mem::replace(&mut who.grants, identity.grants.into());
        let new = who.grants.clone();
        let changed = changed_grants(&old, &new);
        self.reply(place, |out| reply::put_auth_ok(out, id, identity.exp_s * 1000, &changed));
        for (room, role) in changed {
            if role.is_none() {
                self.grant_lost(place, &room);
            }
        }
        self.look_again(place);
        Flow::Done
    }

    /// A token grants a room no more: its connection hears it no more, unless a membership is stored.
    fn grant_lost(&mut self, place: u32, id: &RoomId) {
        let Some(room) = self.rooms_by_id.get(id).copied() else { return };
        let who = self.connections[place as usize].who.as_ref();
        let user = who.expect("only someone who said hello renews").user.clone();
        let no = self.rooms[room as usize].no;
        match self.cache.get(no, &user, self.now_ns) {
            Some(standing) if permission::role(standing, None).is_some() => {}
            Some(_) => self.drop_room(place, room, Code::Forbidden),
            // It is not at hand whether one is stored: the client asks again and is told.
            None => self.lag(place, room),
        }
    }

    /// Looks at how long the token still lives: a word before its end, a close at it.
    pub(super) fn check_token(&mut self, place: u32, now: Tick) -> Option<Tick> {
        let who = self.connections[place as usize].who.as_mut()?;
        let left = who.expires.saturating_sub(now);
        if left == 0 {
            self.close(place, Close::TokenExpired, None);
            return None;
        }
        let warning = ticks(WARN_BEFORE_S);
        if left > warning {
            return Some(who.expires - warning);
        }
        let expires = who.expires;
        if !std::mem::replace(&mut who.warned, true) {
            let in_ms = u64::from(left) * super::wheel::TICK.as_millis() as u64;
            self.reply(place, |out| reply::put_auth_due(out, in_ms));
        }
        Some(expires)
    }
}

/// Rooms whose granted role is another one now.
fn changed_grants(old: &[(RoomId, Role)], new: &[(RoomId, Role)]) -> Vec<(RoomId, Option<Role>)> {
    let role = |grants: &[(RoomId, Role)], room: &RoomId| {
        grants.iter().find(|(granted, _)| granted == room).map(|(_, role)| *role)
    };
    let lost = old.iter().filter(|(room, _)| role(new, room).is_none());
    let lost = lost.map(|(room, _)| (room.clone(), None));
    let given = new.iter().filter(|(room, now)| role(old, room) != Some(*now));
    lost.chain(given.map(|(room, now)| (room.clone(), Some(*now)))).collect()
}
