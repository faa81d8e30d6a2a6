//! `key`: the keys of applications. A running server sees changes within a second.

use clap::{Subcommand, ValueEnum};
use tertulia_store::{Key, KeyError, Keys};

use super::Place;
use super::ask::{self, Failure};
use crate::login::{self, KeyScope};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print a new key. It is shown this once and stored as a hash.
    Create {
        #[command(flatten)]
        place: Place,
        /// Name to list and revoke it by: 1 to 64 of A-Z a-z 0-9 . _ -
        #[arg(long, value_parser = name)]
        name: String,
        /// What it may do
        #[arg(long)]
        scope: Scope,
    },
    /// Show the keys' names, scopes and days of birth.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Refuse a key from now on; a running server does so within a second.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Name of the key, as `tertulia key list` shows it
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Scope {
    /// Everything, giving out tokens included
    Admin,
    /// Send messages as one of the members
    Send,
    /// Read
    Read,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Command::Create { place, name, scope } => {
                let scope = match scope {
                    Scope::Admin => KeyScope::Admin,
                    Scope::Send => KeyScope::Send,
                    Scope::Read => KeyScope::Read,
                };
                let data = place.load()?.server.data;
                let is_first = !super::holds(&data, "tertulia.db");
                let key = login::create(&Keys::open(&data)?, &name, scope, ask::now_ms())?;
                if is_first {
                    ask::remark_made(&data, "database", "knows this key");
                }
                ask::say(&format!("{key}\n"))
            }
            Command::List { place } => {
                let mut text = String::new();
                for key in open(place)?.list()? {
                    text += &format!("{}\t{}\t{}\n", key.name, key.scope, day(key.created));
                }
                ask::say(&text)
            }
            Command::Revoke { place, name } => {
                let keys = open(place)?;
                let found = keys.list()?.into_iter().find(|key| key.name == name);
                let Key { name, scope, .. } = found.ok_or(KeyError::Unknown(name))?;
                keys.revoke(&name)?;
                ask::say(&format!(
                    "revoked {name} of scope {scope}; a running server refuses it within a second\n"
                ))
            }
        }
    }
}

fn open(place: Place) -> Result<Keys, Failure> {
    Ok(Keys::open(&place.load_with_data()?)?)
}

const NAME_CHARS_MAX: usize = 64;

fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("a name has 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . _ -"))
}

/// The day, in UTC, as in 2026-11-22.
///
/// Source: days to civil dates, <https://howardhinnant.github.io/date_algorithms.html>.
fn day(ms: u64) -> String {
    let days = ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_798_675_199_999, "2026-12-30"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(day(ms), expected);
        }
    }
}
