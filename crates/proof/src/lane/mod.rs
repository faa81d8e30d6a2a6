//! Lane: small scenarios, many on one server, each with a room of its own and an exact outcome.
//!
//! What the trials do for minutes is done here for milliseconds, with every test.

mod churn;
mod closes;
mod cuts;
mod fan_out;
mod removals;
mod resumes;

use serde_json::{Value, json};

use crate::attack::Field;
use crate::client::{Client, message};
use crate::server::Place;

/// Events of one replay on the lane's server.
const PAGE: u64 = 16;

/// Events missed beyond which there is a hole on the lane's server.
const JUMP: u64 = 64;

/// Sends of one connection that wait for an answer.
const WINDOW: usize = 16;

/// One scenario.
pub struct Scenario {
    /// What it does, in a few words.
    pub title: String,
    /// Does it, and looks at what comes of it.
    pub run: Box<dyn Fn(&Field)>,
}

impl Scenario {
    fn new(title: impl Into<String>, run: impl Fn(&Field) + 'static) -> Scenario {
        Scenario { title: title.into(), run: Box::new(run) }
    }
}

/// The server that all of them share: deadlines and pages are short.
pub fn place(place: Place) -> Place {
    place
        .set("server.shards", 2)
        .set("limits.send_per_second", 0)
        .set("limits.hello_s", 1)
        .set("limits.slow_close_s", 1)
        .set("limits.page", PAGE)
        .set("limits.jump", JUMP)
}

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let families = [
        resumes::scenarios(),
        cuts::scenarios(),
        fan_out::scenarios(),
        removals::scenarios(),
        closes::scenarios(),
        churn::scenarios(),
    ];
    families.into_iter().flatten().collect()
}

/// The name of a user that only this scenario knows.
fn name(field: &Field, who: &str) -> String {
    format!("{who}-{}", field.room)
}

/// Makes them a member. Gives their name.
fn member(field: &Field, who: &str) -> String {
    let user = name(field, who);
    let path = format!("/v1/rooms/{}/members/{user}", field.room);
    field.server.done("PUT", &path, r#"{"role":"member"}"#);
    user
}

/// Says `count` messages, as fast as they are answered. Gives their numbers.
fn say(field: &Field, client: &mut Client, cid: &str, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut said = 0;
    while numbers.len() < count {
        while said < count && said - numbers.len() < WINDOW {
            client.command(message(&field.room, &format!("{cid}-{said}")));
            said += 1;
        }
        let answer = client.find(|said| said["id"].is_u64());
        match answer["seq"].as_u64() {
            Some(seq) => numbers.push(seq),
            None => {
                field.expect(false, || format!("{cid}: {answer}"));
                return numbers;
            }
        }
    }
    numbers
}

/// The log's numbers from `first` to `last`.
fn numbers(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

/// The answer of a `sub` from that position.
fn sub(client: &mut Client, field: &Field, epoch: &str, seq: u64, options: &Value) -> Value {
    let mut sub = json!({"t": "sub", "room": field.room, "epoch": epoch, "seq": seq});
    if let Some(options) = options.as_object() {
        options.iter().for_each(|(key, value)| sub[key] = value.clone());
    }
    client.ask(sub)
}

/// The number of an event, if it is one.
fn event(said: &Value) -> Option<u64> {
    if said["t"] == "ev" { said["seq"].as_u64() } else { None }
}
