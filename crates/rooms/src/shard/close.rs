//! Life and death of a connection: pings, deadlines, closes.
//!
//! A close is a word (`bye`), a close frame, then the end of what is written; the socket goes when the
//! other side has read it or two seconds have passed.

use tertulia_protocol::{Close, UserId, frame, reply};

use super::connection::State;
use super::wheel::{Tick, ticks};
use super::{Ports, Shard};
use crate::draft::Address;

/// Time for the other side to read its last words.
const LINGER_S: u64 = 2;

/// Silence beyond `ping_s` after which nobody is believed to be there.
const SILENCE_S: u64 = 20;

/// Closes a second while the server hands over, of all shards together: whoever takes the connections counts
/// them all, however many cores they come from.
const LEAVE_PER_S: u64 = 300;

/// Seconds over which a shard spreads the closes of its connections, where each of `shards` has as many.
fn leaving_s(connections: usize, shards: usize, drain_s: u64) -> u64 {
    let all = connections as u64 * shards as u64;
    (all / LEAVE_PER_S).min(drain_s * 7 / 10)
}

impl Shard {
    /// Tells the connection to go. What is queued goes out first.
    pub(super) fn close(&mut self, place: u32, close: Close, retry_ms: Option<u64>) {
        let connection = &mut self.connections[place as usize];
        if matches!(connection.state, State::Closing(..)) {
            return;
        }
        let by = self.tick.saturating_add(ticks(LINGER_S));
        connection.state = State::Closing(close, by);
        self.leave(place);
        if close.number() >= 4000 {
            self.reply(place, |out| reply::put_bye(out, close, retry_ms));
        }
        let connection = &mut self.connections[place as usize];
        self.links.reply(&mut connection.out, |out| {
            frame::put_close(out, close.number(), close.reason());
        });
        self.counters.closed(close);
        self.touch(place);
        self.look_by(place, by);
    }

    /// Everything that others know of the connection is undone.
    fn leave(&mut self, place: u32) {
        let address = self.address(place);
        while let Some(attachment) = self.connections[place as usize].attachments.last() {
            let room = attachment.room;
            self.detach(place, room);
        }
        let connection = &mut self.connections[place as usize];
        connection.parked = None;
        connection.open.clear();
        if let Some(who) = connection.who.take() {
            self.leave_seat(address, &who.user);
            if let Some(places) = self.users.get_mut(&who.user) {
                places.retain(|other| *other != place);
                if places.is_empty() {
                    self.users.remove(&who.user);
                }
            }
        }
    }

    /// The socket is gone, or the other side has nothing more to say.
    pub fn closed(&mut self, at: Address, ports: &mut impl Ports) {
        if self.is_current(at) {
            self.end(at.place, ports);
        }
    }

    fn end(&mut self, place: u32, ports: &mut impl Ports) {
        self.leave(place);
        let address = self.address(place);
        let mut connection = self.connections.remove(place as usize);
        self.links.clear(&mut connection.out);
        ports.close(address);
        self.counters.connections.set(self.connections.len() as u64);
    }

    /// Answers a WebSocket ping.
    pub(super) fn pong_frame(&mut self, place: u32, payload: &[u8]) {
        let connection = &mut self.connections[place as usize];
        self.links.pong(&mut connection.out, |out| {
            frame::put_control(out, frame::Opcode::Pong, payload);
        });
        self.touch(place);
    }

    /// Looks at the connection by then at the latest.
    pub(super) fn look_by(&mut self, place: u32, when: Tick) {
        let connection = &mut self.connections[place as usize];
        if connection.due > when || connection.due <= self.tick {
            connection.due = self.wheel.enter(place, when);
        }
    }

    /// Looks at the connection at the next tick, since its deadlines have changed.
    pub(super) fn look_again(&mut self, place: u32) {
        self.look_by(place, self.tick);
    }

    /// The wheel has come to a connection: does what is due and says when to look again.
    pub(super) fn look_at(&mut self, place: u32, ports: &mut impl Ports) {
        let now = self.tick;
        let Some(connection) = self.connections.get(place as usize) else { return };
        // An older entry: a newer one for an earlier time has replaced it.
        if connection.due != now {
            return;
        }
        let state = connection.state;
        self.stir(place, ports);
        let next = match state {
            State::Greeting(by) if now >= by => {
                self.close(place, Close::HelloTimeout, None);
                return;
            }
            State::Closing(_, by) if now >= by => return self.end(place, ports),
            State::Greeting(by) | State::Closing(_, by) => Some(by),
            State::Live => self.look_at_live(place, now, ports),
        };
        if let Some(next) = next
            && let Some(connection) = self.connections.get_mut(place as usize)
        {
            connection.due = self.wheel.enter(place, next);
        }
    }

    /// When to look again; `None` if the connection is on its way out.
    fn look_at_live(&mut self, place: u32, now: Tick, ports: &mut impl Ports) -> Option<Tick> {
        let token_due = self.check_token(place, now)?;
        let slow = ticks(self.limits.slow_close_s);
        let connection = &self.connections[place as usize];
        let mut next = token_due;
        if connection.blocked {
            let by = connection.blocked_since.saturating_add(slow);
            if now >= by {
                self.cut_slow(place, ports);
                return None;
            }
            next = next.min(by);
        }
        let ping = ticks(u64::from(connection.ping_s));
        // Whoever is not read cannot be blamed for silence.
        if connection.parked.is_none() && !connection.postponed {
            let by = connection.heard.saturating_add(ping + ticks(SILENCE_S));
            if now >= by {
                self.close(place, Close::PingTimeout, None);
                return None;
            }
            next = next.min(by);
        }
        let quiet_since = connection.heard.min(connection.said).max(connection.pinged);
        let mut ping_at = quiet_since.saturating_add(ping);
        if now >= ping_at {
            self.connections[place as usize].pinged = now;
            self.reply(place, reply::put_ping);
            ping_at = now.saturating_add(ping);
        }
        Some(next.min(ping_at).max(now + 1))
    }

    /// Ends a connection that does not read: there is no use in queueing last words for it.
    fn cut_slow(&mut self, place: u32, ports: &mut impl Ports) {
        self.counters.closed(Close::Slow);
        self.end(place, ports);
    }

    /// Every connection of the user goes.
    pub(super) fn expel(&mut self, user: &UserId, close: Close) {
        for place in self.users.get(user).cloned().unwrap_or_default() {
            self.close(place, close, None);
        }
    }

    /// The server hands over: everyone is told to go, spread over a while so that they do not all come
    /// back at once.
    pub(super) fn drain(&mut self, ports: &mut impl Ports) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let shards = self.hub.inboxes().len();
        let needed_s = leaving_s(self.connections.len(), shards, self.limits.drain_s);
        let spread = u64::from(ticks(needed_s)) + 1;
        let places: Vec<u32> = self.connections.iter().map(|(place, _)| place as u32).collect();
        for place in places {
            let when = self.tick + 1 + (ports.random() % spread) as Tick;
            self.leaving.push((when, self.address(place)));
        }
        self.leaving.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    }

    /// Tells one connection to come back, here or elsewhere.
    pub(super) fn hand_over(&mut self, place: u32, ports: &mut impl Ports) {
        let spread_ms = (self.limits.drain_s * 1000 / 2).max(1000);
        let retry_ms = 500 + ports.random() % spread_ms;
        self.close(place, Close::Drain, Some(retry_ms));
    }

    /// Too much memory is held by slabs that someone has yet to hear: those who did not read for longest
    /// let go.
    pub(super) fn free_slabs(&mut self) {
        let (gauge, limits) = (self.hub.gauge().clone(), self.limits.clone());
        // What stays in tails has a bound of its own, and its compressed forms are at most as much again.
        let tails = || limits.tail_bytes + gauge.deflated_bytes().min(limits.tail_bytes);
        let is_over = || gauge.bytes() > limits.slab_bytes + tails();
        if !is_over() {
            return;
        }
        let mut slow: Vec<(Tick, u32)> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.blocked)
            .map(|(place, connection)| (connection.blocked_since, place as u32))
            .collect();
        slow.sort_unstable();
        for (_, place) in slow {
            if !is_over() {
                return;
            }
            while let Some(attachment) = self.connections[place as usize].attachments.last() {
                let room = attachment.room;
                self.lag(place, room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::leaving_s;

    #[test]
    fn more_cores_do_not_let_everyone_go_faster() {
        for shards in [1, 2, 8, 16] {
            assert_eq!(leaving_s(2000 / shards, shards, 20), 6, "{shards} shards");
        }
        assert_eq!(leaving_s(100, 2, 20), 0, "a few may go at once");
        assert_eq!(leaving_s(10_000, 2, 20), 14, "never longer than most of the time there is");
    }
}
