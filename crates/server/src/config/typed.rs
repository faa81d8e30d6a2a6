//! As typed: what the file, the environment and the flags say, and where they say it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::kind::{Kind, Wrong, called};
use super::setting::{ABSENT, PREFIX, Setting};
use super::table::{SECTIONS, SETTINGS};

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
        let line = |text: String| text.chars().map(visible).collect();
        Mistake { place: line(place.to_string()), value: None, why: line(why.into()) }
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
    file: Option<PathBuf>,
    /// Variables that set something, and what.
    variables: Vec<(String, String)>,
    /// Variables that begin like ours and set nothing.
    strangers: Vec<String>,
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
            let (value, why) = match given {
                Given::Value(value) => {
                    let why = format!("is {}; it takes {}", called(&value), setting.takes());
                    (value, why)
                }
                Given::Text(text) => (T::typed(&text), format!("must be {}", setting.wants())),
            };
            let read = match setting.shape.fits(&value) {
                true => T::read(&value, &setting.bounds),
                false => Err(Wrong::whole(why)),
            };
            match read {
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

    /// Which file and which variables have been looked at, and what a stronger source has set.
    pub(super) fn sources(&self) -> String {
        let file = match &self.file {
            Some(file) => file.display().to_string(),
            None => format!("none, since {FILE} is not here"),
        };
        let variables = self.variables.iter().map(|(variable, setting)| {
            match self.from.get(setting).filter(|source| source.0 != *variable) {
                Some(stronger) => format!("{variable} (but {stronger} is stronger)"),
                None => variable.clone(),
            }
        });
        let variables: Vec<String> = variables.collect();
        let none = if variables.is_empty() { "none" } else { "" };
        let mut text = format!("file: {file}\nenvironment: {none}{}\n", variables.join(", "));
        if !self.strangers.is_empty() {
            let way_out = "a setting's variable names its section, like TERTULIA_SERVER__LISTEN";
            text += &format!("not for settings: {}; {way_out}\n", self.strangers.join(", "));
        }
        text
    }

    fn give(&mut self, setting: String, source: String, given: Given) {
        self.given.entry(setting).or_default().push((Source(source), given));
    }

    fn file(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
        let file = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.mistakes.push(Mistake::new(file, format!("cannot be read: {error}")));
            }
        };
        self.text(path, &text);
    }

    /// What the file at `path` says.
    pub(super) fn text(&mut self, path: &Path, text: &str) {
        let file = path.display();
        let sections: toml::Table = match text.parse() {
            Ok(sections) => sections,
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let why = error.message();
                let mistake = match set_in(text.lines().nth(line - 1).unwrap_or("")) {
                    Some(setting) if why != "duplicate key" => {
                        let why = format!("{why}; it takes {}", setting.takes());
                        Mistake::new(format!("{file}:{line}: {}", setting.key), why)
                    }
                    _ => Mistake::new(format!("{file}:{line}"), why),
                };
                return self.mistakes.push(mistake);
            }
        };
        for (section, keys) in sections {
            let is_known = SECTIONS.iter().any(|(name, _)| *name == section);
            let Value::Table(keys) = keys else {
                let why = if is_known {
                    format!("is a section; write [{section}], and its settings below")
                } else {
                    match nearest("", &section) {
                        Some(setting) => format!(
                            "stands in no section; did you mean {}, below [{}]?",
                            setting.key, setting.section
                        ),
                        None => "stands in no section, like [server]".to_owned(),
                    }
                };
                self.mistakes.push(Mistake::new(format!("{file}: {section}"), why));
                continue;
            };
            if !is_known && keys.is_empty() {
                self.mistakes.push(unknown(format!("{file}: [{section}]"), near_section(&section)));
            }
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let place = format!("{file}: {name}");
                if SETTINGS.iter().any(|setting| setting.name() == name) {
                    self.give(name, place, Given::Value(value));
                } else {
                    let known = nearest(&section, &key).map(Setting::name);
                    let known = known.or_else(|| near_section(&section).filter(|_| !is_known));
                    self.mistakes.push(unknown(place, known));
                }
            }
        }
    }

    pub(super) fn environment(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut variables: Vec<_> = env.into_iter().collect();
        variables.sort();
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else { continue };
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            // Kubernetes gives every container of a namespace with a service "tertulia" variables like
            // TERTULIA_PORT: only what has a section is meant for us.
            let Some((section, key)) = name.split_once("__") else {
                self.strangers.push(variable.to_owned());
                continue;
            };
            let Ok(text) = value.into_string() else {
                self.mistakes.push(Mistake::new(variable, "must be UTF-8"));
                continue;
            };
            let known = |setting: &&Setting| setting.variable() == variable;
            let file = |setting: &&Setting| {
                setting.is_secret() && variable.strip_suffix("_FILE") == Some(&setting.variable())
            };
            if let Some(setting) = SETTINGS.iter().find(|row| known(row) || file(row)) {
                self.variables.push((variable.to_owned(), setting.name()));
            }
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

/// The setting that a line of a file says to set. Nothing else of the line is looked at, since it may be of
/// a secret.
fn set_in(line: &str) -> Option<&'static Setting> {
    let (key, _) = line.split_once('=')?;
    SETTINGS.iter().find(|setting| setting.key == key.trim())
}

/// The section that was probably meant.
fn near_section(section: &str) -> Option<String> {
    let far = |name: &&str| strsim::damerau_levenshtein(name, section);
    let nearest = SECTIONS.iter().map(|(name, _)| *name).min_by_key(far)?;
    (far(&nearest) <= section.len() / 3).then(|| format!("[{nearest}]"))
}

/// The setting that was probably meant: one key in three letters wrong, in this section or another.
fn nearest(section: &str, key: &str) -> Option<&'static Setting> {
    let far = |setting: &&Setting| {
        let letters = strsim::damerau_levenshtein(setting.key, key);
        (letters, setting.section != section)
    };
    SETTINGS.iter().min_by_key(far).filter(|setting| far(setting).0 <= key.len() / 3)
}
