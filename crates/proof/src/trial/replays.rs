//! Replays: how long a client that was away for long waits until it has everything. (a part of T09)

use std::time::{Duration, Instant};

use serde_json::json;

use super::resumes::{JUMP_MAX, USER};
use crate::client::{Client, message};
use crate::report::Report;
use crate::server::Server;
use crate::stage::{Scale, Stage};

/// The room that is replayed as a whole.
const LONG: &str = "annals";

/// Everything is replayed by then.
const REPLAY_WITHIN: Duration = Duration::from_secs(2);

/// A long absence: everything of a room at once, and once more from a server that has just started.
pub(super) fn replay(stage: &Stage, report: &mut Report, server: &mut Server, events: u64) {
    const WINDOW: u64 = 64;
    server.room(LONG, "group", &["ada", USER]);
    let mut ada = Client::join(server, "ada", &[]);
    let (mut said, mut answered) = (0, 0);
    while answered < events {
        while said < events && said - answered < WINDOW {
            ada.command(message(LONG, &format!("a{said}")));
            said += 1;
        }
        ada.find(|said| said["t"] == "ok");
        answered += 1;
    }
    report.figure("replayed", events as f64);
    for what in ["replay ms", "replay after a restart ms"] {
        let took = whole(server, events);
        report.figure(what, took.as_millis() as f64);
        if stage.scale != Scale::Short {
            report.expect(took <= REPLAY_WITHIN, || format!("{what}: {took:?}"));
        }
        server.kill();
        *server = server.place.clone().open();
    }
}

/// How long it takes to have all of the room.
fn whole(server: &Server, events: u64) -> Duration {
    let epoch = server.epoch(LONG);
    let token = server.token(USER);
    let from = Instant::now();
    let options = json!({"page": 1000, "jump": JUMP_MAX});
    let rooms = json!([[LONG, epoch.as_str(), 0, options]]);
    let (mut client, said) = Client::welcome(server, &token, rooms);
    let head = said["rooms"][LONG]["head"].as_u64().expect("a head");
    assert!(head >= events, "{said}");
    let (mut last, mut upto) = (0, said["rooms"][LONG]["upto"].as_u64().expect("a number"));
    while last < head {
        if last >= upto {
            let sub = json!({"t": "sub", "room": LONG, "epoch": epoch.as_str(), "seq": last,
                "page": 1000, "jump": JUMP_MAX});
            upto = client.ask(sub)["upto"].as_u64().expect("a number");
        }
        while last < upto {
            let said = client.object();
            assert_eq!(said["seq"], last + 1, "{said}");
            last += 1;
        }
    }
    from.elapsed()
}
