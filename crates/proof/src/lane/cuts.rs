//! Cuts: a connection that ends anywhere, also in the middle of a frame, costs no event and doubles none. (I3)

use std::io::Read;

use serde_json::json;

use super::{Scenario, event, member, numbers};
use crate::attack::Field;
use crate::chance::Chance;
use crate::client::{Client, message};

pub(super) fn scenarios() -> Vec<Scenario> {
    let cases = [(1, 10), (3, 10), (10, 5), (1, 40)];
    let readers = cases.map(|(readers, cuts)| {
        let title = format!("{readers} readers, cut {cuts} times while someone speaks");
        Scenario::new(title, move |field| read_and_cut(field, readers, cuts))
    });
    let writer = Scenario::new("a sender who is cut in the middle of a frame", half_a_frame);
    readers.into_iter().chain([writer]).collect()
}

/// Between two cuts the speaker says a few; each reader takes a part of what comes, and is cut.
fn read_and_cut(field: &Field, readers: usize, cuts: u64) {
    let (server, room) = (field.server, &field.room);
    let mut chance = Chance::new(field.stage.seed ^ cuts << 8 ^ readers as u64);
    let epoch = server.epoch(room);
    let names: Vec<String> = (0..readers).map(|n| member(field, &format!("reader{n}"))).collect();
    let start = server.log(room).expect("a log").len() as u64;
    field.stores(readers as u64);
    let mut heard: Vec<Vec<u64>> = vec![Vec::new(); readers];
    let mut ann = Client::join(server, &field.alice, &[]);
    let mut said = 0;
    for cut in 0..=cuts {
        let mut seats: Vec<Client> = Vec::new();
        for (name, heard) in names.iter().zip(&heard) {
            let last = heard.last().copied().unwrap_or(start);
            let rooms = json!([[room, epoch.as_str(), last, {"page": 1000, "jump": 1000}]]);
            seats.push(Client::welcome(server, &server.token(name), rooms).0);
        }
        let count = chance.below(5);
        for _ in 0..count {
            ann.command(message(room, &format!("m{said}")));
            said += 1;
        }
        (0..count).for_each(|_| _ = ann.find(|said| said["id"].is_u64()));
        field.stores(readers as u64 + said);
        let head = start + said;
        for (seat, heard) in seats.iter_mut().zip(&mut heard) {
            // The last time everything is read; before, any part of it.
            let here = head - heard.last().copied().unwrap_or(start);
            let wanted = if cut == cuts { here } else { chance.below(here + 1) };
            let mut got = 0;
            while got < wanted {
                if let Some(seq) = event(&seat.object()) {
                    heard.push(seq);
                    got += 1;
                }
            }
            // A part of a frame, if one is there; it is thrown away with the connection.
            seat.stream.set_nonblocking(true).expect("a socket that is open");
            _ = seat.stream.read(&mut [0; 7]);
        }
    }
    for (name, heard) in names.iter().zip(&heard) {
        let all = numbers(start + 1, start + said);
        field.expect(*heard == all, || format!("{name} heard {heard:?} of {}", all.len()));
    }
}

/// What came in half was not said; the same cid is free.
fn half_a_frame(field: &Field) {
    let mut ann = Client::join(field.server, &field.alice, &[]);
    let mut frame = vec![0x81, 0x80 | 100, 0, 0, 0, 0];
    frame.extend_from_slice(
        format!(r#"{{"t":"send","id":1,"room":"{}","cid":"c"#, field.room).as_bytes(),
    );
    ann.put(&frame);
    drop(ann);
    let mut ann = Client::join(field.server, &field.alice, &[]);
    let said = ann.send(&field.room, "c");
    field.stores(1);
    field.expect(said["t"] == "ok" && said["dup"].is_null(), || format!("{said}"));
}
