//! Setting: one row of the table, and what the table is made into.

use std::fmt;

use super::kind::Shape;

/// What can be said about a setting before anyone has set it.
pub(super) struct Setting {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// As it would be typed; [`ABSENT`] if it is not set unless someone does.
    pub(super) default: &'static str,
    pub(super) shape: Shape,
    pub(super) unit: &'static str,
    pub(super) bounds: Bounds,
    pub(super) reason: &'static str,
}

/// The default of a setting that has none.
pub(super) const ABSENT: &str = "none";

/// What a setting may be.
pub(super) enum Bounds {
    /// A whole number between these two, both included.
    Range(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Anything of this form.
    Form(&'static str),
    /// So many bytes or more, never shown.
    Secret(usize),
}

impl Setting {
    /// As it is called in mistakes and documents.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// As it is called in the environment.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}__{}", self.section, self.key).to_ascii_uppercase()
    }

    /// What is to be said outside of a file.
    pub(super) fn wants(&self) -> String {
        let bounds = &self.bounds;
        match (self.shape, self.unit) {
            (Shape::Number, "s") => format!("a whole number of seconds, {bounds}"),
            (Shape::Number, "ms") => format!("a whole number of milliseconds, {bounds}"),
            (Shape::Number, _) => format!("a whole number, {bounds}"),
            (Shape::Switch | Shape::Text, _) => bounds.to_string(),
            (Shape::List, _) => format!("a list in [ ]: {bounds}"),
        }
    }

    /// What is to be written in a file.
    pub(super) fn takes(&self) -> String {
        let quotes = match self.shape {
            Shape::Number | Shape::Switch => ", without quotes",
            Shape::Text => ", in quotes",
            Shape::List => "",
        };
        format!("{}{quotes}", self.wants())
    }

    /// Whether its value must stay out of sight.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.bounds, Bounds::Secret(_))
    }
}

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "TERTULIA_";

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bounds::Range(min, max) => write!(f, "{min} to {max}"),
            Bounds::Words(words) => match words.split_last() {
                Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
                None => Ok(()),
            },
            Bounds::Form(form) => f.write_str(form),
            Bounds::Secret(bytes) => write!(f, "{bytes} bytes or more, not to be guessed"),
        }
    }
}

/// Makes of one table: the typed sections, [`Config`](super::Config), its reader, and the table as data.
///
/// A row is `key: type = default, unit, bounds, "reason";` with the default as it would be typed.
macro_rules! sections {
    ($(
        #[doc = $about:literal]
        $section:ident: $Section:ident {
            $($key:ident: $type:ty = $default:tt, $unit:literal, $bounds:expr, $reason:literal;)*
        }
    )*) => {
        $(
            #[doc = $about]
            #[derive(Clone, Debug)]
            pub(crate) struct $Section {
                $(#[doc = $reason] pub(crate) $key: $type,)*
            }
        )*

        /// Every setting, checked.
        #[derive(Clone, Debug)]
        pub(crate) struct Config {
            $(#[doc = $about] pub(crate) $section: $Section,)*
        }

        /// The sections and what they are about.
        pub(super) const SECTIONS: &[(&str, &str)] = &[$((stringify!($section), $about),)*];

        /// Every setting, in the order of the table.
        pub(super) static SETTINGS: &[Setting] = &[$($(Setting {
            section: stringify!($section),
            key: stringify!($key),
            default: stringify!($default),
            shape: <$type as Kind>::SHAPE,
            unit: $unit,
            bounds: $bounds,
            reason: $reason,
        },)*)*];

        impl Config {
            /// What was typed, each setting on its own; the default where it was not to be read.
            pub(super) fn read(typed: &mut Typed) -> Config {
                let mut rows = SETTINGS.iter();
                let mut row = || rows.next().expect("one row was made for each field");
                Config { $($section: $Section { $($key: typed.read(row()),)* },)* }
            }

            /// Every setting's value, in the order of the table; `None` if it is not set.
            pub(super) fn values(&self) -> Vec<Option<toml::Value>> {
                vec![$($(Kind::show(&self.$section.$key),)*)*]
            }
        }
    };
}

pub(super) use sections;
