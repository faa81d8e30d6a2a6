//! Scenarios: what a crowd does, and what must hold afterwards.

mod many_rooms;
mod one_room;
mod reconnect;
mod slow_client;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::Client;
use crate::clock::{MS_NS, SECOND_NS, own_cpu_ns};
use crate::crowd::Crowd;
use crate::error::Error;
use crate::journal::{ClientIndex, Journal, RoomIndex};
use crate::options::{Options, Scenario};
use crate::progress::Progress;
use crate::report::{Report, Spent};
use crate::seat::Seat;
use crate::server::Server;

/// Between the plan and its first act.
const LEAD_NS: u64 = 200 * MS_NS;

/// Carries out what the options ask for, against the server they name.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let server = Server::open(options)?;
    let mut report = match options.scenario {
        Scenario::OneRoom => one_room::run(options, &server),
        Scenario::ManyRooms => many_rooms::run(options, &server),
        Scenario::SlowClient => slow_client::run(options, &server),
        Scenario::Reconnect => reconnect::run(options, &server),
    };
    if !report.as_ref().is_ok_and(Report::is_good) {
        server.repeat_words();
    }
    let closed = server.close();
    if let (Ok(report), Err(error)) = (&mut report, closed) {
        report.wrong.push(error.to_string());
    }
    report
}

/// Makes the rooms, users and memberships of a crowd: the `c`-th client belongs to the room `rooms[c]`.
fn invite(options: &Options, server: &Server, rooms: &[RoomIndex]) -> Result<Crowd, Error> {
    // A server that ran before knows the names of earlier crowds.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = format!("{:x}", since.as_millis());
    let room_name = |room: RoomIndex| format!("load-{tag}-r{room}");
    let api = server.api();
    for room in 0..rooms.iter().max().map_or(0, |last| last + 1) {
        api.room(&room_name(room))?;
    }
    let mut clients = Vec::with_capacity(rooms.len());
    for (client, &room) in (0..).zip(rooms) {
        let user = format!("load-{tag}-u{client}");
        let room = room_name(room);
        api.member(&room, &user)?;
        let token = api.token(&user, &format!("load-{tag}-{client}"))?;
        clients.push(Client::new(Seat::new(client, &room, &token)));
    }
    let progress = Progress::over(options.scenario.word(), options.time());
    Crowd::new(server.addr, &server.host, clients, Journal::new(rooms), options.seed, progress)
        .map_err(Error::io("making a poll"))
}

/// The time in which a crowd sends, and what it costs.
struct Sending {
    from_ns: u64,
    until_ns: u64,
    own_cpu_ns: u64,
    server_cpu: Option<Duration>,
}

impl Sending {
    /// Plans the sends of the first `senders` clients.
    fn plan(
        options: &Options,
        server: &Server,
        crowd: &mut Crowd,
        senders: ClientIndex,
    ) -> Sending {
        let from_ns = crowd.now_ns() + LEAD_NS;
        let until_ns = from_ns + options.seconds * SECOND_NS;
        crowd.plan_sends(0..senders, options.rate(), from_ns, until_ns);
        crowd.progress.begin(from_ns);
        Sending { from_ns, until_ns, own_cpu_ns: own_cpu_ns(), server_cpu: server.cpu() }
    }

    /// Sends until the end, waits for what is under way, and judges.
    fn finish(
        self,
        options: &Options,
        server: &Server,
        crowd: &mut Crowd,
        rooms: u32,
    ) -> Result<Report, Error> {
        crowd.run_until(self.until_ns)?;
        let spent = self.spent(server, crowd.now_ns());
        crowd.settle(options.patience())?;
        Ok(Report::of(options, rooms, crowd, spent))
    }

    fn spent(&self, server: &Server, now_ns: u64) -> Spent {
        let server_cpu = server.cpu().zip(self.server_cpu);
        Spent {
            time: Duration::from_nanos(now_ns - self.from_ns),
            own_cpu: Duration::from_nanos(own_cpu_ns() - self.own_cpu_ns),
            server_cpu: server_cpu.map(|(after, before)| after.saturating_sub(before)),
        }
    }
}
