//! Names: what people read, and nothing that would deceive them.
//!
//! A name is not what anything is known by, so that two may be the same or look it. But it must be seen, and be
//! what it looks like: no character turns the text around it, none is there without a trace.
//!
//! Never: changes a name; it is kept as it was given, or refused.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::limits::ROOM_NAME_CHARS_MAX;

/// Characters of the category Cf that leave no trace or turn what is beside them, and the separators of lines
/// and paragraphs. Those that are drawn, like the Arabic number sign, are letters for us.
const UNSEEN: [RangeInclusive<char>; 15] = [
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{13430}'..='\u{13438}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0001}'..='\u{e0001}',
    '\u{e0020}'..='\u{e007f}',
];

/// Joins what is beside it, or keeps it apart: Persian words and many emoji need them.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Letters by their category that are drawn as nothing.
const BLANKS: [char; 6] = ['\u{34f}', '\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// Whether `name` can be a room's. Errors: why not, to be read behind the field's name.
pub(crate) fn check(name: &str) -> Result<(), Cow<'static, str>> {
    let chars = name.chars().count();
    if chars == 0 || chars > ROOM_NAME_CHARS_MAX {
        let why = format!("has {chars} characters, it may have 1 to {ROOM_NAME_CHARS_MAX}");
        return Err(why.into());
    }
    if name.chars().any(char::is_control) {
        return Err("may not hold control characters".into());
    }
    if let Some(unseen) = name.chars().find(|c| UNSEEN.iter().any(|range| range.contains(c))) {
        return Err(format!("may not hold U+{:04X}, which is not seen", u32::from(unseen)).into());
    }
    let shows = |c: char| !c.is_whitespace() && !JOINERS.contains(&c) && !BLANKS.contains(&c);
    if !name.chars().any(shows) {
        return Err("must hold something that is seen".into());
    }
    if name.starts_with(JOINERS) || name.ends_with(JOINERS) {
        return Err("may not begin or end with a joiner".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_a_name() {
        for name in
            ["garden", "Zoë", "میخواهم", "👩\u{200d}💻 at work", "می\u{200c}خواهم", "a  b", "²"]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert_eq!(check(&"x".repeat(ROOM_NAME_CHARS_MAX)), Ok(()));
    }

    #[test]
    fn what_deceives_or_is_not_seen_is_none() {
        let long = "x".repeat(ROOM_NAME_CHARS_MAX + 1);
        for (name, why) in [
            ("", "has 0 characters"),
            (long.as_str(), "has 129 characters"),
            ("a\nb", "control"),
            ("a\u{85}b", "control"),
            ("\u{202e}gnp.exe", "U+202E"),
            ("a\u{2066}b", "U+2066"),
            ("gar\u{200b}den", "U+200B"),
            ("a\u{e0041}", "U+E0041"),
            ("a\u{2028}b", "U+2028"),
            (" \u{a0}", "seen"),
            ("\u{200d}\u{200d}", "seen"),
            ("\u{3164}", "seen"),
            ("garden\u{200d}", "joiner"),
        ] {
            let refused = check(name).expect_err(name);
            assert!(refused.contains(why), "{name:?}: {refused}");
        }
    }
}
