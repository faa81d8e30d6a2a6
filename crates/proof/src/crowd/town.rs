//! Town: rooms by the hundred, and how a crowd moves in.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Crowd, Told};
use crate::server::Server;

/// Calls that make rooms at once, so that one commit stores many.
const CALLERS: usize = 8;

/// Members that are on their way in at once, and joins that wait for an answer.
const WAVE: usize = 256;

/// Public rooms of these names.
pub fn make_rooms(server: &Server, rooms: &[String]) {
    std::thread::scope(|threads| {
        for own in rooms.chunks(rooms.len().div_ceil(CALLERS).max(1)) {
            threads.spawn(|| own.iter().for_each(|room| server.room(room, "public", &[])));
        }
    });
}

impl Crowd {
    /// Those from `first` on come in, so many at a time, and join and hear their rooms. Errors: what has not
    /// happened in time.
    pub fn move_in(
        &mut self,
        first: usize,
        rooms_of: impl Fn(usize) -> Vec<String>,
        within: Duration,
    ) -> Result<(), String> {
        let until = Instant::now() + within;
        let (mut coming, mut joins, mut joined, mut refused) = (first, 0, 0, None);
        let mut fresh = Vec::new();
        let mut inside = first;
        while joined < joins || coming < self.len() || inside < self.len() {
            if let Some(refused) = refused {
                return Err(refused);
            }
            if Instant::now() > until {
                return Err(format!(
                    "{inside} came in and {joined} of {joins} joins were answered"
                ));
            }
            while coming < self.len() && coming < inside + WAVE && joins < joined + WAVE {
                self.come(coming, Instant::now());
                coming += 1;
            }
            let wait = Instant::now() + Duration::from_millis(10);
            self.turn(wait, |who, told| match told {
                Told::Welcome => fresh.push(who),
                Told::Ok(_) => joined += 1,
                Told::Err(what) => refused = Some(format!("a join was refused: {what:?}")),
                Told::Gone(gone) => refused = Some(format!("{who} is gone: {gone:?}")),
                Told::Event(_) | Told::Lag => {}
            });
            for who in fresh.drain(..) {
                inside += 1;
                for room in rooms_of(who) {
                    self.command(who, json!({"t": "room", "room": room, "op": "join"}));
                    joins += 1;
                }
            }
        }
        for who in first..self.len() {
            rooms_of(who).iter().for_each(|room| self.hear(who, room));
        }
        let left = until.saturating_duration_since(Instant::now());
        let all = |crowd: &Crowd| {
            (first..crowd.len()).all(|who| crowd.lasts(who).all(|(_, last)| last.is_some()))
        };
        let heard = self.run_until(left, |_, _| (), all);
        if heard { Ok(()) } else { Err("not everyone hears their rooms".to_owned()) }
    }
}
