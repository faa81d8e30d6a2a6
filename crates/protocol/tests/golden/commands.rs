//! What a client's text means, or which error it earns.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tertulia_protocol::Code;
use tertulia_protocol::command::{self, Command, Rejected, Said};
use tertulia_protocol::limits::SIGNAL_BYTES_MAX;

use super::{BODY_BYTES_MAX, Differs, Repeat, check, one_text, same};
use crate::meaning::means;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    r#in: Option<String>,
    in_repeat: Option<Repeat>,
    means: Option<Map<String, Value>>,
    err: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: Option<u64>,
    code: String,
    field: Option<String>,
}

#[test]
fn what_a_client_means() {
    check("commands.json", |row: &Row| row.name.clone(), run);
}

fn run(row: &Row) -> Result<(), Differs> {
    let got = read(&one_text(row.r#in.as_ref(), row.in_repeat.as_ref()));
    match (&row.means, &row.err) {
        (Some(expected), None) => {
            let got = got.map(|said| means(&said)).map_err(|no| Differs {
                expected: json!(expected).to_string(),
                got: format!("{no:?}"),
            })?;
            let mut expected = expected.clone();
            // Whether rooms were none or not named makes no difference to anyone.
            expected.retain(|key, value| key != "rooms" || *value != json!([]));
            for (key, value) in &mut expected {
                if *value == "*" {
                    *value = got.get(key).cloned().unwrap_or_default();
                }
            }
            same(json!(expected), json!(got))
        }
        (None, Some(err)) => {
            let field = err.field.as_deref().unwrap_or_default();
            let expected = format!("{} for {:?}, msg with {field:?}", err.code, err.id);
            match got {
                Err(no) if no.msg.contains(field) => {
                    let id = no.id.map(u64::from);
                    same(expected, format!("{} for {id:?}, msg with {field:?}", no.code.as_str()))
                }
                got => Err(Differs { expected, got: format!("{got:?}") }),
            }
        }
        _ => panic!("{}: a row expects one thing", row.name),
    }
}

/// Reads, and judges lengths as a server with the default limits does.
fn read(text: &str) -> Result<Said, Rejected> {
    let said = command::read(text)?;
    let (bytes, limit) = match &said.command {
        Command::Send(send) => (send.d.len(), BODY_BYTES_MAX),
        Command::Signal { d, .. } => (d.len(), SIGNAL_BYTES_MAX),
        _ => (0, 0),
    };
    if bytes <= limit {
        return Ok(said);
    }
    let msg = format!("d is {bytes} bytes, the limit is {limit}");
    Err(Rejected { id: said.id, code: Code::TooLarge, msg, object: true, sub: None })
}

#[test]
fn a_sub_that_is_refused_names_its_room() {
    let room_of = |text: &str| command::read(text).unwrap_err().sub.map(|room| room.to_string());
    let r1 = Some("r1".to_owned());
    assert_eq!(room_of(r#"{"t":"sub","id":2,"room":"r1","seq":5}"#), r1);
    assert_eq!(room_of(r#"{"page":0,"room":"r1","id":2,"t":"sub"}"#), r1);
    assert_eq!(room_of(r#"{"t":"sub","id":2,"room":"r 1","seq":5}"#), None);
    assert_eq!(room_of(r#"{"t":"sub","room":"r1"}"#), None, "it is not answered as a sub");
    assert_eq!(room_of(r#"{"t":"unsub","id":2,"room":5}"#), None);
    assert_eq!(room_of(r#"{"t":"log","id":2,"room":"r1"}"#), None);
}
