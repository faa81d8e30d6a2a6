//! Cleaning: what is over goes, however fast it comes.

use serde_json::json;

use tertulia_proof::client::Client;
use tertulia_proof::server::{PATIENCE, wait_for};

use crate::place;

#[test]
fn rooms_made_filled_and_deleted_in_a_loop_leave_nothing_behind() {
    let place = place()
        .set("limits.command_per_second", 0)
        .set("limits.send_per_second", 0)
        .set("limits.dedup_s", 604_800);
    let server = place.open();
    let (mut ada, _) = Client::welcome(&server, &server.token("ada"), json!([]));
    for n in 0..300 {
        let room = format!("r{n}");
        for said in [
            ada.ask(json!({"t": "room", "op": "create", "room": room})),
            ada.send(&room, "c1"),
            ada.ask(json!({"t": "room", "op": "del", "room": room})),
        ] {
            assert_eq!(said["t"], "ok", "{said}");
        }
    }
    let db = rusqlite::Connection::open(place.data.join("tertulia.db")).expect("the database");
    let rows = || {
        let count = "SELECT (SELECT count(*) FROM graves) + (SELECT count(*) FROM events) + \
             (SELECT count(*) FROM dedupe) + (SELECT count(*) FROM members)";
        db.query_row(count, [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    wait_for("nothing is left of them", PATIENCE, || rows() == 0);
}
