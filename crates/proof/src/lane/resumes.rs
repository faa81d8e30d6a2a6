//! Resumes: whatever was missed, the answer says exactly what comes, and exactly that comes. (I3, I10)

use serde_json::{Value, json};

use super::{JUMP, PAGE, Scenario, event, numbers, say, sub};
use crate::attack::Field;
use crate::client::Client;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut cases = Vec::new();
    for gap in [0, 1, PAGE - 1, PAGE, PAGE + 1, JUMP - 1, JUMP, JUMP + 1] {
        cases.push((gap, PAGE, JUMP, json!({})));
    }
    for (gap, page, jump) in
        [(100, PAGE, 100), (100, PAGE, 99), (5, 1, JUMP), (64, 1000, JUMP), (1, 1, 0)]
    {
        cases.push((gap, page, jump, json!({"page": page, "jump": jump})));
    }
    let doors = [Door::Hello, Door::Sub];
    let each = cases.into_iter().flat_map(|case| doors.map(|door| (case.clone(), door)));
    let mut scenarios: Vec<Scenario> = each
        .map(|((gap, page, jump, options), door)| {
            let title = format!("{gap} missed, page {page}, jump {jump}, by {door:?}");
            Scenario::new(title, move |field| resume(field, gap, page, jump, &options, door))
        })
        .collect();
    scenarios.push(Scenario::new("a position of another life of the log", other_life));
    scenarios.push(Scenario::new("a position ahead of the log", ahead));
    scenarios
}

/// How the position comes in.
#[derive(Clone, Copy, Debug)]
enum Door {
    Hello,
    Sub,
}

fn resume(field: &Field, gap: u64, page: u64, jump: u64, options: &Value, door: Door) {
    let (server, room) = (field.server, &field.room);
    let epoch = server.epoch(room);
    let epoch = epoch.as_str();
    let start = server.log(room).expect("a log").len() as u64;
    let mut ann = Client::join(server, &field.alice, &[]);
    say(field, &mut ann, "m", gap as usize);
    field.stores(gap);
    let head = start + gap;
    let token = server.token(&field.mallory);
    let (mut bob, mut answer) = match door {
        Door::Hello => {
            let (bob, said) =
                Client::welcome(server, &token, json!([[room, epoch, start, options]]));
            (bob, said["rooms"][room].clone())
        }
        Door::Sub => {
            let (mut bob, _) = Client::welcome(server, &token, json!([]));
            let answer = sub(&mut bob, field, epoch, start, options);
            (bob, answer)
        }
    };
    let mut expected = start;
    if gap > jump {
        field.expect(answer["hole"] == true, || format!("a hole was expected: {answer}"));
        expected = head;
    }
    let mut heard = Vec::new();
    loop {
        let upto = head.min(expected + page);
        let more = upto < head;
        let is_so = answer["base"] == expected && answer["upto"] == upto && answer["head"] == head;
        let is_so =
            is_so && answer["more"] == json!(more.then_some(true)) && answer["reset"].is_null();
        field.expect(is_so, || format!("{answer}, not base {expected}, upto {upto}, head {head}"));
        if !is_so {
            return;
        }
        while heard.last().copied().unwrap_or(expected.min(upto)) < upto {
            heard.extend(event(&bob.object()));
        }
        expected = upto;
        if !more {
            break;
        }
        answer = sub(&mut bob, field, epoch, upto, options);
    }
    let from = if gap > jump { head } else { start } + 1;
    field.expect(heard == numbers(from, head), || format!("{heard:?} came of {from}..={head}"));
    // And it goes on live.
    let next = say(field, &mut ann, "live", 1);
    field.stores(gap + 1);
    let live = bob.find(|said| said["t"] == "ev");
    field.expect(event(&live) == next.first().copied(), || format!("{live} is not {next:?}"));
}

fn other_life(field: &Field) {
    let mut bob = Client::join(field.server, &field.mallory, &[]);
    let head = field.server.log(&field.room).expect("a log").len() as u64;
    let answer = sub(&mut bob, field, "nolife", 1, &json!({}));
    let is_so = answer["reset"] == true && answer["base"] == head && answer["upto"] == head;
    field.expect(is_so, || format!("a reset to {head} was expected: {answer}"));
}

fn ahead(field: &Field) {
    let mut bob = Client::join(field.server, &field.mallory, &[]);
    let epoch = field.server.epoch(&field.room);
    let head = field.server.log(&field.room).expect("a log").len() as u64;
    let answer = sub(&mut bob, field, epoch.as_str(), head + 1, &json!({}));
    let is_so = answer["reset"] == true && answer["base"] == head && answer["upto"] == head;
    field.expect(is_so, || format!("a reset to {head} was expected: {answer}"));
}
