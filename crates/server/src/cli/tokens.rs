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
        /// User that it speaks for
        #[arg(long, value_parser = user)]
        user: UserId,
        /// Role in a room that is there, without membership; may be given again [default: none]
        #[arg(long, value_name = "ROOM=ROLE", value_parser = grant)]
        room: Vec<(RoomId, Role)>,
        /// How long it is good: seconds, or a number with s, m, h or d; at most limits.token_ttl_max_s
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
        ttl: u64,
    },
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::Create { place, user, room, ttl } = self;
        let config = place.load()?;
        let is_first =
            config.auth.hs256_secret.is_none() && !super::holds(&config.server.data, "secret");
        let signer = Signer::open(&config)?;
        let (token, _) = signer.mint(&user, ttl, &room, ask::now_ms() / 1000)?;
        if is_first {
            ask::remark_made(&config.server.data, "secret", "takes this token");
        }
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
