//! Mobs: who comes by the hundred and says too little, nothing, or goes at once. (A18, A19, A23)

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

use super::{Attack, Field, PLAIN};
use crate::client::{Client, upgrade_request};
use crate::mob::{Mob, Outcome};
use crate::network::{Cable, Network};
use crate::server::{PATIENCE, raise_file_limit, wait_for};
use crate::stage::Scale;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A18", title: "a request byte by byte, or none", ground: &PLAIN, run: slow_heads },
    Attack { id: "A19", title: "an upgrade and no hello", ground: &PLAIN, run: no_hello },
    Attack { id: "A23", title: "who goes away without a word", ground: &PLAIN, run: vanish },
];

/// The head of a request that is long enough for the time it is given.
const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: nowhere\r\nX-Slow: yes";

/// `limits.unauthenticated_per_address` as it comes.
const STRANGERS_MAX: usize = 100;

fn slow_heads(field: &Field) {
    let many = field.stage.scale(300, 2_000, 2_000);
    raise_file_limit(2 * many + 1_000);
    let mut mob = Mob::new();
    for n in 0..2 * many {
        mob.add(field.server.public, b"", if n % 2 == 0 { HEAD } else { b"" });
    }
    // Three bytes at least.
    let outcome = wait(field, mob, field.head_within(), field.head_within() * 3 / 10);
    let silent = outcome.last_words.iter().filter(|words| words.is_empty()).count();
    field.expect(silent == outcome.last_words.len(), || "someone got an answer".to_owned());
}

fn no_hello(field: &Field) {
    let many = field.stage.scale(300, 2_000, 2_000);
    raise_file_limit(2 * many);
    let closes = || field.server.metric("tertulia_closes_total{code=\"4002\"}");
    let before = closes();
    let mut mob = Mob::new();
    for _ in 0..many {
        let upgrade = upgrade_request(field.server.public, "");
        mob.add(field.server.public, upgrade.as_bytes(), b"");
    }
    let outcome = wait(field, mob, field.hello_within(), PATIENCE);
    let told = outcome.last_words.iter().filter(|words| tells_hello_timeout(words)).count();
    field.expect(told as u64 == many, || format!("{told} of {many} were told 4002"));
    let closes = closes() - before;
    field.expect(closes == many, || format!("{closes} of {many} were closed for it"));
    strangers_of_one_address(field);
}

/// Lets them wait until they are cut, and looks at whoever else comes in meanwhile.
fn wait(field: &Field, mob: Mob, within: Duration, drip_every: Duration) -> Outcome {
    let outcome = mob.wait_until_cut(within + PATIENCE, drip_every, || _ = field.alice());
    let Outcome { cut_within, left, longest, others, .. } = outcome;
    field.expect(left == 0, || format!("{left} were not cut"));
    let latest = within + field.leeway();
    field.expect(cut_within < latest, || format!("the last one was cut after {cut_within:?}"));
    let patience = field.stage.scale(Duration::from_secs(2), OTHERS_WAIT, OTHERS_WAIT);
    field.expect(longest < patience && others > 5, || {
        format!("someone else waited up to {longest:?}, and came in {others} times")
    });
    outcome
}

/// How long others may wait meanwhile.
const OTHERS_WAIT: Duration = Duration::from_millis(500);

fn tells_hello_timeout(words: &[u8]) -> bool {
    let close = [0x88, 0, 0x0f, 0xa2];
    let has_close = words.windows(4).any(|four| (four[0], &four[2..]) == (close[0], &close[2..]));
    has_close && String::from_utf8_lossy(words).contains("\"code\":4002")
}

/// Nobody is counted who comes from the server's own machine, so this one stands on another.
fn strangers_of_one_address(field: &Field) {
    let network = Network::make();
    let server = network.serve(field.stage.place()).open();
    server.room("garden", "group", &["ada"]);
    let mut far = server.public;
    far.set_ip(network.there(Cable::B));
    let mut strangers: Vec<Client> = (0..STRANGERS_MAX)
        .map(|_| Client::upgrade(server.public, "").expect("not yet too many"))
        .collect();
    let refused = |what: &str| {
        let status =
            Client::upgrade(server.public, "").map_or_else(|answer| answer.status, |_| 101);
        field.expect(status == 503, || format!("a stranger {what}: {status}, not 503"));
    };
    refused("too many");
    let other = Client::upgrade(far, "");
    field.expect(other.is_ok(), || format!("another address: {:?}", other.err()));
    // Whoever says who it is makes room for one.
    let said = strangers[0].ask(json!({"t": "hello", "token": server.token("ada"), "rooms": []}));
    field.expect(said["t"] == "ok", || format!("one of the strangers: {said}"));
    match Client::upgrade(server.public, "") {
        Ok(stranger) => strangers.push(stranger),
        Err(answer) => field.expect(false, || format!("after a hello: {answer:?}")),
    }
    refused("too many again");
    // And whoever goes.
    drop(strangers.pop());
    let came_in = || Client::upgrade(server.public, "").is_ok();
    wait_for("a place when a stranger has gone", PATIENCE, came_in);
}

fn vanish(field: &Field) {
    let many = field.stage.scale(500, 10_000, 10_000);
    let server = field.server;
    let before = server.descriptors();
    let upgrade = upgrade_request(server.public, "").into_bytes();
    for n in 0..many {
        let mut stream = TcpStream::connect(server.public).expect("a connection");
        // Nothing, half a request, or a whole one whose answer finds nobody.
        let said = [0, upgrade.len() / 2, upgrade.len()][n % 3];
        stream.write_all(&upgrade[..said]).expect("a fresh socket takes it");
        // Closing it means a reset.
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
        drop(stream);
    }
    wait_for("all descriptors are back", 3 * PATIENCE, || server.descriptors() <= before);
    if field.stage.scale != Scale::Short {
        host_vanishes(field);
    }
}

/// The shortest that a client may ask for, in seconds.
const PING_S: u64 = 10;

/// A client whose cable is pulled out: no end comes, so silence has to tell.
fn host_vanishes(field: &Field) {
    let network = Network::make();
    let server = network.serve(field.stage.place()).open();
    server.room("garden", "group", &["ada"]);
    let mut far = server.public;
    far.set_ip(network.there(Cable::B));
    let mut client = Client::upgrade(far, "").expect("an upgrade");
    let hello = json!({"t": "hello", "token": server.token("ada"), "rooms": [["garden"]], "ping_s": PING_S});
    let said = client.ask(hello);
    field.expect(said["ping_s"] == PING_S, || format!("hello: {said}"));
    let descriptors = server.descriptors();
    network.pull(Cable::B);
    drop(client);
    let from = Instant::now();
    let closes = || server.metric("tertulia_closes_total{code=\"4201\"}");
    let silence = Duration::from_secs(PING_S + 20);
    wait_for("silence is noticed", silence + PATIENCE, || closes() == 1);
    let took = from.elapsed();
    let around = silence - field.leeway()..silence + field.leeway();
    field.expect(around.contains(&took), || format!("it was noticed after {took:?}"));
    wait_for("its socket is gone", PATIENCE, || server.descriptors() < descriptors);
}
