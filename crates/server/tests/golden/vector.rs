//! Vectors: the files, read so strictly that a slip of the pen is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Name and text of every file.
pub(crate) fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/golden/server");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// One file.
pub(crate) struct Vector {
    pub(crate) about: String,
    pub(crate) given: Given,
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    about: String,
    #[serde(rename = "section")]
    _section: String,
    given: Given,
    steps: Vec<Box<RawValue>>,
}

/// What is there before the first step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    #[serde(rename = "users")]
    _users: Vec<String>,
    pub(crate) rooms: BTreeMap<String, Room>,
    /// Sections of the settings file.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Room {
    pub(crate) kind: String,
    /// Their roles.
    pub(crate) members: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) messages: u64,
    /// Bytes of each message.
    pub(crate) bytes: Option<usize>,
    pub(crate) first: Option<u64>,
}

pub(crate) struct Step {
    pub(crate) verb: Verb,
    /// As it stands in the file.
    pub(crate) text: String,
}

/// What happens in a step. A connection is named by a letter.
pub(crate) enum Verb {
    On(String, Act),
    Http(Call),
    Restart(Restart),
}

/// What happens on one connection.
pub(crate) enum Act {
    Hello(BTreeMap<String, Box<RawValue>>),
    Open,
    Say(Box<RawValue>),
    SayRepeat(Vec<Value>),
    Sends(Sends),
    Gets(Value),
    GetsAny(Vec<Value>),
    Until(Value),
    Signal(Value),
    Events(Events),
    Quiet,
    Closed(u16),
    Cut,
    Stalls,
    Reads,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sends {
    pub(crate) room: String,
    pub(crate) count: u64,
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    pub(crate) room: String,
    pub(crate) from: Value,
    pub(crate) to: Value,
}

/// A call over HTTP and its answer.
pub(crate) struct Call {
    pub(crate) request: Request,
    /// Any of the 200s if absent.
    pub(crate) status: Option<u16>,
    pub(crate) gets: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) r#as: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Option<Box<RawValue>>,
    pub(crate) idempotency_key: Option<String>,
}

/// A new start of the server: `true`, or with what is to be trimmed meanwhile.
#[derive(Deserialize)]
#[serde(from = "Again")]
pub(crate) struct Restart {
    pub(crate) first: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Again {
    Trimmed { first: BTreeMap<String, u64> },
    Plain(#[allow(dead_code, reason = "only its type matters")] bool),
}

impl From<Again> for Restart {
    fn from(again: Again) -> Restart {
        match again {
            Again::Trimmed { first } => Restart { first },
            Again::Plain(_) => Restart { first: BTreeMap::new() },
        }
    }
}

/// The keys that a step may have.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    c: Option<String>,
    hello: Option<BTreeMap<String, Box<RawValue>>>,
    open: Option<bool>,
    say: Option<Box<RawValue>>,
    say_repeat: Option<Vec<Value>>,
    sends: Option<Sends>,
    gets: Option<Value>,
    gets_any: Option<Vec<Value>>,
    until: Option<Value>,
    sig: Option<Value>,
    events: Option<Events>,
    quiet: Option<bool>,
    closed: Option<u16>,
    cut: Option<bool>,
    stalls: Option<bool>,
    reads: Option<bool>,
    http: Option<Request>,
    status: Option<u16>,
    restart: Option<Restart>,
}

impl Vector {
    pub(crate) fn read(file: &str, text: &str) -> Result<Vector, String> {
        let File { name, about, given, steps, .. } =
            serde_json::from_str(text).map_err(|why| format!("{file}: {why}"))?;
        if name != file {
            return Err(format!("{file} calls itself {name}"));
        }
        if steps.is_empty() {
            return Err(format!("{file} has no steps"));
        }
        let steps = steps.iter().map(|raw| {
            let verb = Keys::read(raw.get()).map_err(|why| format!("{}: {why}", raw.get()))?;
            Ok(Step { verb, text: raw.get().to_owned() })
        });
        Ok(Vector { about, given, steps: steps.collect::<Result<_, String>>()? })
    }

    /// Whether that connection stops reading at some time.
    pub(crate) fn stalls(&self, connection: &str) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.verb, Verb::On(name, Act::Stalls) if name == connection))
    }
}

impl Keys {
    fn read(text: &str) -> Result<Verb, String> {
        let mut keys: Keys = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let verb = match (keys.c.take(), keys.http.take(), keys.restart.take()) {
            (Some(connection), None, None) => Verb::On(connection, keys.act()?),
            (None, Some(request), None) => {
                let (status, gets) = (keys.status.take(), keys.gets.take());
                Verb::Http(Call { request, status, gets })
            }
            (None, None, Some(restart)) => Verb::Restart(restart),
            _ => return Err("a step has one of c, http and restart".to_owned()),
        };
        if keys.is_empty() { Ok(verb) } else { Err("a step says one thing".to_owned()) }
    }

    fn act(&mut self) -> Result<Act, String> {
        let act = None
            .or_else(|| self.hello.take().map(Act::Hello))
            .or_else(|| self.open.take().map(|_| Act::Open))
            .or_else(|| self.say.take().map(Act::Say))
            .or_else(|| self.say_repeat.take().map(Act::SayRepeat))
            .or_else(|| self.sends.take().map(Act::Sends))
            .or_else(|| self.gets.take().map(Act::Gets))
            .or_else(|| self.gets_any.take().map(Act::GetsAny))
            .or_else(|| self.until.take().map(Act::Until))
            .or_else(|| self.sig.take().map(Act::Signal))
            .or_else(|| self.events.take().map(Act::Events))
            .or_else(|| self.quiet.take().map(|_| Act::Quiet))
            .or_else(|| self.closed.take().map(Act::Closed))
            .or_else(|| self.cut.take().map(|_| Act::Cut))
            .or_else(|| self.stalls.take().map(|_| Act::Stalls))
            .or_else(|| self.reads.take().map(|_| Act::Reads));
        act.ok_or_else(|| "a step of a connection says what happens".to_owned())
    }

    /// Whether all was understood.
    fn is_empty(&self) -> bool {
        let Keys {
            c: None,
            hello: None,
            open: None,
            say: None,
            say_repeat: None,
            sends: None,
            gets: None,
            gets_any: None,
            until: None,
            sig: None,
            events: None,
            quiet: None,
            closed: None,
            cut: None,
            stalls: None,
            reads: None,
            http: None,
            status: None,
            restart: None,
        } = self
        else {
            return false;
        };
        true
    }
}
