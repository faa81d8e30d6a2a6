//! T26, corruption: a file that is not what was written is noticed, and nobody is told what nobody said. (I2, I10)
//!
//! One bit of a stopped server's database or write-ahead log is turned, or the file is cut short; then a server
//! starts on it.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::chance::Chance;
use crate::client::{Client, message};
use crate::report::{Report, Trial};
use crate::server::{Place, Server};
use crate::stage::Stage;

const ROOMS: [&str; 2] = ["attic", "garden"];
const FILES: [&str; 2] = ["tertulia.db", "tertulia.db-wal"];
const MESSAGES: u64 = 400;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T26", title: "one bit turned, or a file cut short", run };

fn run(stage: &Stage, report: &mut Report) {
    let harms: u64 = stage.scale(40, 500, 5_000);
    let mut chance = Chance::new(stage.seed);
    let whole = Whole::made(stage, &mut chance);
    for harm in 0..harms {
        let file = FILES[harm as usize % FILES.len()];
        let place = stage.place();
        whole.copy(&place.data);
        let what = do_harm(&place.data.join(file), &mut chance);
        let what = format!("{file}: {what}");
        let found = whole.look(&place, &what, report);
        report.count(found, 1);
        stage.progress(&format!("{} of {harms}", harm + 1));
    }
    report.figure("harms", harms as f64);
}

/// A stopped server's data, and what stands in it.
struct Whole {
    place: Place,
    rooms: Vec<Logged>,
}

#[derive(PartialEq)]
struct Logged {
    epoch: String,
    log: Vec<String>,
}

impl Whole {
    fn made(stage: &Stage, chance: &mut Chance) -> Whole {
        let place = stage.place().set("limits.send_per_second", 0);
        let mut server = place.open();
        for room in ROOMS {
            server.room(room, "group", &["ada"]);
        }
        let mut ada = Client::join(&server, "ada", &[]);
        for n in 0..MESSAGES {
            let room = ROOMS[chance.below(ROOMS.len() as u64) as usize];
            let mut send = message(room, &format!("c{n}"));
            send["d"]["more"] = json!("x".repeat(chance.below(50).pow(2) as usize));
            let said = ada.ask(send);
            assert_eq!(said["t"], "ok", "{said}");
        }
        let rooms = ROOMS.iter().map(|room| logged(&server, room).expect("a whole log"));
        let rooms = rooms.collect();
        server.kill();
        Whole { place, rooms }
    }

    fn copy(&self, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for name in ["secret", "admin.key"].iter().chain(&FILES) {
            fs::copy(self.place.data.join(name), to.join(name)).expect("a copy");
        }
    }

    /// Starts a server, and says how the harm showed.
    fn look(&self, place: &Place, what: &str, report: &mut Report) -> &'static str {
        let Ok(mut server) = place.try_open() else {
            let said = place.said();
            report.expect(!said.is_empty(), || format!("{what}: ended without a word"));
            return "refused to start";
        };
        let mut found = "made no difference";
        for (room, whole) in ROOMS.iter().zip(&self.rooms) {
            match logged(&server, room) {
                Err(_) if found == "made no difference" => found = "told when read",
                Err(_) => {}
                Ok(now) if now == *whole => {}
                Ok(now) if now.epoch != whole.epoch => found = "another epoch",
                Ok(now) => {
                    let same = now.log.iter().zip(&whole.log).take_while(|(a, b)| a == b).count();
                    report.wrong(format!(
                        "{what}: {room} has {} events of {}, the same up to {same}",
                        now.log.len(),
                        whole.log.len()
                    ));
                }
            }
        }
        server.kill();
        found
    }
}

fn logged(server: &Server, room: &str) -> Result<Logged, String> {
    let shown = server.call("GET", &format!("/v1/rooms/{room}"), "");
    let epoch = shown.json()["epoch"].as_str().map(str::to_owned);
    Ok(Logged { epoch: epoch.ok_or(shown.body)?, log: server.log(room)? })
}

fn do_harm(file: &Path, chance: &mut Chance) -> String {
    let mut bytes = fs::read(file).expect("a file");
    let at = chance.below(bytes.len() as u64) as usize;
    let what = if chance.below(4) == 0 {
        bytes.truncate(at);
        format!("cut short to {at} bytes")
    } else {
        let bit = chance.below(8);
        bytes[at] ^= 1 << bit;
        format!("bit {bit} of byte {at} turned")
    };
    fs::write(file, bytes).expect("room for it");
    what
}
