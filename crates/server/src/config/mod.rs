//! Settings: what the operator decided, checked before any port opens.
//!
//! Two stages: as typed (flags over environment over file over defaults), then checked against one
//! table, which also makes the defaults, `config print` and `config docs`. All mistakes of all sources
//! are found and told together.
//!
//! Never: changes after the start, or shows a secret.

mod kind;
mod list;
#[cfg(any(test, fuzzing))]
pub(crate) mod property;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod typed;

use std::ffi::OsString;
use std::fmt::Write;

use toml::Value;

pub(crate) use kind::LogFormat;
pub(crate) use table::{Config, Limits};
pub(crate) use typed::{Flags, Mistake};

use setting::ABSENT;
use table::{ORDERED, SECTIONS, SETTINGS};
use typed::Typed;

impl Config {
    /// The settings that the sources make together, or everything that is wrong with them.
    pub(crate) fn load(
        flags: &Flags,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<Mistake>> {
        Config::load_from(flags, env).map(|(config, _)| config)
    }

    /// Which sources make settings without a mistake, a line for each kind of them.
    pub(crate) fn check(
        flags: &Flags,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<String, Vec<Mistake>> {
        Config::load_from(flags, env).map(|(_, sources)| sources)
    }

    fn load_from(
        flags: &Flags,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Config, String), Vec<Mistake>> {
        Config::of(Typed::collect(flags, env))
    }

    fn of(mut typed: Typed) -> Result<(Config, String), Vec<Mistake>> {
        let config = Config::read(&mut typed);
        let contradictions = config.contradictions(&typed);
        let sources = typed.sources();
        let mut mistakes = typed.mistakes;
        mistakes.extend(contradictions);
        if mistakes.is_empty() { Ok((config, sources)) } else { Err(mistakes) }
    }

    /// What does not go together, though each is fine alone.
    fn contradictions(&self, typed: &Typed) -> Vec<Mistake> {
        let mut found = Vec::new();
        let values = self.values();
        let value = |name: &str| {
            let place = SETTINGS.iter().position(|setting| setting.name() == name)?;
            values[place].as_ref()?.as_integer().filter(|_| typed.is_read(name))
        };
        for (small, large) in ORDERED {
            if let (Some(less), Some(more)) = (value(small), value(large))
                && less > more
            {
                let why = format!("must not be above {more} ({})", typed.source(large));
                found.push(Mistake::new(format!("{} = {less}", typed.source(small)), why));
            }
        }
        let (listen, admin) = (self.server.listen, self.server.admin_listen);
        if listen == admin && listen.port() != 0 {
            let why = format!("must not be the same as {}", typed.source("server.listen"));
            let place = format!("{} = {admin}", typed.source("server.admin_listen"));
            found.push(Mistake::new(place, why));
        }
        let no_issuer = self.auth.issuer.is_none() && typed.is_read("auth.issuer");
        if self.auth.jwks_url.is_some() && no_issuer {
            let why = "needs auth.issuer, so that its keys vouch for that issuer alone";
            found.push(Mistake::new(typed.source("auth.jwks_url"), why));
        }
        found
    }

    /// What the rooms keep to.
    pub(crate) fn limits(&self) -> tertulia_rooms::limits::Limits {
        macro_rules! same {
            ($($key:ident)*) => {
                tertulia_rooms::limits::Limits { drain_s: self.server.drain_seconds, $($key: self.limits.$key,)* }
            };
        }
        same! {
            frame_bytes body_bytes rooms_per_connection inflight dedup_s page page_max jump jump_max
            log_limit log_limit_max send_per_second send_burst command_per_second command_burst
            outbound_bytes outbound_objects cork_listeners deflate_from_bytes replay_bytes slab_bytes
            tail_events tail_room_bytes tail_bytes slow_close_s hello_s ping_s connections_per_user connections_per_shard
            commit_queue commit_batch shard_queue lookup_queue active_rooms membership_ttl_s
            membership_entries rooms_per_user typing_every_ms typing_ttl_ms head_check_ms
        }
    }

    /// All settings as a file would have them, secrets hidden.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        for (place, value) in self.values().into_iter().enumerate() {
            let setting = &SETTINGS[place];
            if place == 0 || SETTINGS[place - 1].section != setting.section {
                let gap = if place == 0 { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{}]", setting.section);
            }
            let _ = match value {
                Some(value) => writeln!(text, "{} = {value}", setting.key),
                None => writeln!(text, "# {} is not set", setting.key),
            };
        }
        text
    }
}

/// Every setting with its default, bounds and reason, as Markdown.
pub(crate) fn docs() -> String {
    let mut text = String::from(INTRODUCTION);
    for (section, about) in SECTIONS {
        let _ = write!(
            text,
            "\n## [{section}]\n{about}\n\n\
             | key | default | unit | bounds | environment | reason |\n|---|---|---|---|---|---|\n"
        );
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            let default = match setting.default {
                ABSENT => "not set".to_owned(),
                typed => {
                    let value = typed.parse().unwrap_or_else(|_| Value::String(typed.to_owned()));
                    format!("`{value}`")
                }
            };
            let file = if setting.is_secret() { ", also with `_FILE`" } else { "" };
            let (key, unit, bounds) = (setting.key, setting.unit, &setting.bounds);
            let (variable, reason) = (setting.variable(), setting.reason);
            let _ = writeln!(
                text,
                "| `{key}` | {default} | {unit} | {bounds} | `{variable}`{file} | {reason} |"
            );
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration
`tertulia` needs no settings: every one has a default.
Flags win over the environment, the environment over `tertulia.toml` (or the file of `--config`), that over the defaults.
A secret can also stand in a file of its own, named by a variable that ends in `_FILE`.
Paths are relative to the working directory.
`tertulia config check` says which file and variables it has read and names every mistake, `tertulia config print` shows what is in force with secrets hidden.
A server with mistakes in its settings does not start; it ends with code 78.
This page is written by `tertulia config docs`.
";
