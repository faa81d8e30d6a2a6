//! `token`: for scripts, tests and the first look around.

use clap::Subcommand;
use tertulia_protocol::{Role, RoomId, UserId};

use super::Place;
use super::ask::{self, Failure};
use crate::login::Signer;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print a token, signed with the server's own secret.
    Create {
        #[command(flatten)]
        place: Place,
        /// Whom it speaks for
        #[arg(long, value_parser = user)]
        user: UserId,
        /// A role in an existing room, without membership; may be given again
        #[arg(long, value_name = "ROOM=ROLE", value_parser = grant)]
        room: Vec<(RoomId, Role)>,
        /// How long it lives, like 90s, 15m, 1h or 7d
        #[arg(long, default_value = "1h", value_parser = seconds)]
        ttl: u64,
    },
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::Create { place, user, room, ttl } = self;
        let signer = Signer::open(&place.load()?)?;
        let (token, _) = signer.mint(&user, ttl, &room, ask::now_ms() / 1000)?;
        ask::say(&format!("{token}\n"))
    }
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|why| format!("a user {why}"))
}

fn grant(text: &str) -> Result<(RoomId, Role), String> {
    let (room, role) = text.split_once('=').ok_or("expected ROOM=ROLE")?;
    let room = RoomId::parse(room).map_err(|why| format!("a room {why}"))?;
    let role = Role::parse(role).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("{role:?} is no role, expected one of {}", roles.join(", "))
    })?;
    Ok((room, role))
}

fn seconds(text: &str) -> Result<u64, String> {
    let (digits, each) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) if text.ends_with('s') => (digits, 1),
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) if text.ends_with('h') => (digits, 3_600),
        Some(digits) => (digits, 86_400),
        None => (text, 1),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(each))
        .ok_or_else(|| "expected a number of seconds, or one with s, m, h or d".to_owned())
}
