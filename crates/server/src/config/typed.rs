//! As typed: what the file, the environment and the flags say, and where they say it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::kind::{Kind, Wrong};
use super::setting::{ABSENT, PREFIX, Setting};
use super::table::SETTINGS;

/// The file that is read if it is there and no other is named.
const FILE: &str = "tertulia.toml";

/// What the command line says.
#[derive(Clone, Default, Debug)]
pub(crate) struct Flags {
    /// The settings file.
    pub(crate) config: Option<PathBuf>,
    /// A flag as typed, the setting it sets, and to what.
    pub(crate) set: Vec<(&'static str, &'static str, String)>,
}

/// One thing that is wrong with the settings.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Mistake {
    place: String,
    value: Option<String>,
    why: String,
}

impl Mistake {
    pub(super) fn new(place: impl fmt::Display, why: impl Into<String>) -> Mistake {
        Mistake { place: place.to_string(), value: None, why: why.into() }
    }

    fn with(mut self, value: &Value) -> Mistake {
        const SHOWN: usize = 60;
        let text = value.to_string();
        // A URL with `@` may hold a password.
        let text =
            if text.contains("://") && text.contains('@') { "(hidden)".into() } else { text };
        let more = if text.chars().count() > SHOWN { "…" } else { "" };
        self.value = Some(text.chars().take(SHOWN).map(visible).chain(more.chars()).collect());
        self
    }
}

/// Keeps one mistake on one line.
fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// One place where something was typed.
#[derive(Clone, Debug)]
pub(super) struct Source(String);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Given {
    Value(Value),
    Text(String),
}

/// Everything typed, weakest source first, and everything found wrong so far.
#[derive(Default)]
pub(super) struct Typed {
    given: BTreeMap<String, Vec<(Source, Given)>>,
    /// Where each setting's value comes from; a default comes from nowhere.
    from: BTreeMap<String, Source>,
    /// Settings of which some value could not be read.
    unread: BTreeSet<String>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Typed {
    /// What the sources say, before any value is looked at.
    pub(super) fn collect(
        flags: &Flags,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Typed {
        let mut typed = Typed::default();
        match &flags.config {
            Some(file) => typed.file(file),
            None if Path::new(FILE).exists() => typed.file(Path::new(FILE)),
            None => {}
        }
        typed.environment(env);
        for (flag, setting, text) in &flags.set {
            typed.give((*setting).to_owned(), (*flag).to_owned(), Given::Text(text.clone()));
        }
        typed
    }

    /// What `setting` is. A value that was overridden is looked at, too: it is a mistake all the same.
    pub(super) fn read<T: Kind>(&mut self, setting: &'static Setting) -> T {
        let mut best = None;
        for (source, given) in self.given.remove(&setting.name()).unwrap_or_default() {
            let value = match given {
                Given::Value(value) => value,
                Given::Text(text) => T::typed(&text),
            };
            match T::read(&value, &setting.bounds) {
                Ok(value) => {
                    best = Some(value);
                    self.from.insert(setting.name(), source);
                }
                Err(wrong) => {
                    self.unread.insert(setting.name());
                    let shown = (!setting.is_secret()).then_some(&value);
                    self.mistakes
                        .extend(wrong.into_iter().map(|wrong| name(&source, wrong, shown)));
                }
            }
        }
        best.or_else(|| default(setting)).expect("a test reads every default of the table")
    }

    /// Whether the value of that setting is what was meant.
    pub(super) fn is_read(&self, name: &str) -> bool {
        !self.unread.contains(name)
    }

    /// Where the value of that setting comes from, to be read in front of it.
    pub(super) fn source(&self, name: &str) -> String {
        match self.from.get(name) {
            Some(source) => source.to_string(),
            None => format!("default: {name}"),
        }
    }

    fn give(&mut self, setting: String, source: String, given: Given) {
        self.given.entry(setting).or_default().push((Source(source), given));
    }

    fn file(&mut self, path: &Path) {
        let file = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.mistakes.push(Mistake::new(file, format!("cannot be read: {error}")));
            }
        };
        let sections: toml::Table = match text.parse() {
            Ok(sections) => sections,
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let why: String = error.message().chars().map(visible).collect();
                return self.mistakes.push(Mistake::new(format!("{file}:{line}"), why));
            }
        };
        for (section, keys) in sections {
            let Value::Table(keys) = keys else {
                let why = "must stand in a section, like [server]";
                self.mistakes.push(Mistake::new(format!("{file}: {section}"), why));
                continue;
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let place = format!("{file}: {name}");
                if SETTINGS.iter().any(|setting| setting.name() == name) {
                    self.give(name, place, Given::Value(value));
                } else {
                    let known = nearest(&section, &key).map(Setting::name);
                    self.mistakes.push(unknown(place, known));
                }
            }
        }
    }

    fn environment(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut variables: Vec<_> = env.into_iter().collect();
        variables.sort();
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else { continue };
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            // Kubernetes gives every container of a namespace with a service "tertulia" variables like
            // TERTULIA_PORT: only what has a section is meant for us.
            let Some((section, key)) = name.split_once("__") else { continue };
            let Ok(text) = value.into_string() else {
                self.mistakes.push(Mistake::new(variable, "must be UTF-8"));
                continue;
            };
            let known = |setting: &&Setting| setting.variable() == variable;
            let file = |setting: &&Setting| {
                setting.is_secret() && variable.strip_suffix("_FILE") == Some(&setting.variable())
            };
            if let Some(setting) = SETTINGS.iter().find(known) {
                self.give(setting.name(), variable.to_owned(), Given::Text(text));
            } else if let Some(setting) = SETTINGS.iter().find(file) {
                self.secret_file(setting, variable, &text);
            } else {
                let near = nearest(&section.to_ascii_lowercase(), &key.to_ascii_lowercase());
                self.mistakes.push(unknown(variable.to_owned(), near.map(Setting::variable)));
            }
        }
    }

    /// A secret that the environment only says the place of. It sorts behind the variable itself.
    fn secret_file(&mut self, setting: &Setting, variable: &str, file: &str) {
        let twice = |(source, _): &(Source, Given)| source.0 == setting.variable();
        if self.given.get(&setting.name()).is_some_and(|given| given.iter().any(twice)) {
            let why = format!("{} is set, too; keep one of the two", setting.variable());
            self.mistakes.push(Mistake::new(variable, why));
        }
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                self.give(setting.name(), variable.to_owned(), Given::Text(text));
            }
            Err(error) => {
                let mistake = Mistake::new(variable, format!("cannot be read: {error}"));
                self.mistakes.push(mistake.with(&Value::String(file.to_owned())));
            }
        }
    }
}

fn default<T: Kind>(setting: &Setting) -> Option<T> {
    if setting.default == ABSENT {
        return T::absent();
    }
    let value = setting.default.parse().ok()?;
    T::read(&value, &setting.bounds).ok()
}

fn name(source: &Source, wrong: Wrong, whole: Option<&Value>) -> Mistake {
    let mistake = Mistake::new(format!("{source}{}", wrong.part), wrong.why);
    let shown = if wrong.part.is_empty() { whole } else { wrong.value.as_ref() };
    match shown {
        Some(value) => mistake.with(value),
        None => mistake,
    }
}

fn unknown(place: String, known: Option<String>) -> Mistake {
    Mistake::new(
        place,
        match known {
            Some(known) => format!("unknown, did you mean {known}?"),
            None => "unknown; `tertulia config docs` shows every setting".to_owned(),
        },
    )
}

/// The setting that was probably meant: one key in three letters wrong, in this section or another.
fn nearest(section: &str, key: &str) -> Option<&'static Setting> {
    let far = |setting: &&Setting| {
        let letters = strsim::damerau_levenshtein(setting.key, key);
        (letters, setting.section != section)
    };
    SETTINGS.iter().min_by_key(far).filter(|setting| far(setting).0 <= key.len() / 3)
}
