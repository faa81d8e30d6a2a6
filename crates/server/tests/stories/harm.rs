//! Harm: attacks that would do it are noticed, each for its own reason.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use tertulia_proof::attack::bystander::PLAZA;
use tertulia_proof::attack::{Attack, Field, PLAIN};
use tertulia_proof::process::MIB;
use tertulia_proof::report::Report;
use tertulia_proof::trial::attacks;

use crate::trials::stage;

/// Rows that do harm, and the words with which that is noticed.
const HARM: &[(&str, &Attack)] = &[
    (
        "X01: 4 events are stored, not 3 and 0",
        &attack("X01", |field| {
            field.alice().send(&field.room, "c1");
        }),
    ),
    ("X02: 3 events are stored, not 3 and 1", &attack("X02", |field| field.stores(1))),
    ("X03: could not go on: no way", &attack("X03", |_| panic!("no way"))),
    (
        "X04: a good ping: ",
        &attack("X04", |field| field.expect_close("a good ping", &mut pong(field), 1002)),
    ),
    (
        "X05: the bystander waited",
        &attack("X05", |field| {
            field.server.signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(1500));
            field.server.signal(Signal::CONT);
            field.alice();
        }),
    ),
    ("X06: memory grew by", &attack("X06", hold_heads)),
    // More than may be on their way out when the ground is looked at before.
    ("plain: ", &attack("X07", |field| std::mem::forget([(); 8].map(|()| field.mallory())))),
    (
        "bystander: bystander3: ",
        &attack("X08", |field| {
            field.server.done("DELETE", &format!("/v1/rooms/{PLAZA}/members/bystander3"), "");
        }),
    ),
];

const fn attack(id: &'static str, run: fn(&Field)) -> Attack {
    Attack { id, title: "harm", ground: &PLAIN, run }
}

/// A connection that ends well.
fn pong(field: &Field) -> tertulia_proof::client::Client {
    let mut client = field.mallory();
    client.put(&tertulia_proof::attack::wire::close(1000));
    client
}

/// Makes the server keep 1,400 heads of 60,000 bytes that are never finished.
fn hold_heads(field: &Field) {
    let head = [b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: ".to_vec(), vec![b'x'; 60_000]].concat();
    let before = field.server.memory();
    let heads = (0..1400).map(|_| {
        let mut stream = TcpStream::connect(field.server.public).expect("a connection");
        stream.write_all(&head).expect("it is read");
        stream
    });
    let heads: Vec<TcpStream> = heads.collect();
    field.server.until("they are read", |server| server.memory() > before + 70 * MIB);
    drop(heads);
}

#[test]
fn t21_an_attack_that_does_harm_is_noticed() {
    let rows: Vec<&Attack> = HARM.iter().map(|(_, row)| *row).collect();
    let mut report = Report::default();
    attacks::try_rows(&stage(), &mut report, &rows);
    for (words, _) in HARM {
        let is_noticed = report.wrongs().iter().any(|wrong| wrong.starts_with(words));
        assert!(is_noticed, "{words} is not among {:#?}", report.wrongs());
    }
    // Beside other tests the machine itself may let a bystander wait: then the time is noise.
    let is_noise =
        |wrong: &&String| wrong.contains(": the bystander waited") && !wrong.starts_with("X05: ");
    let noticed = report.wrongs().iter().filter(|wrong| !is_noise(wrong)).count();
    assert_eq!(noticed, HARM.len(), "{:#?}", report.wrongs());
    let mut report = Report::default();
    let fatal = attack("X09", |field| field.server.signal(Signal::KILL));
    attacks::try_rows(&stage(), &mut report, &[Box::leak(Box::new(fatal))]);
    let is_noticed = report.wrongs().last().is_some_and(|last| last == "X09: the server is gone");
    assert!(is_noticed, "{:#?}", report.wrongs());
}
