//! Generate: pages that the program itself knows best. `cargo xtask gen` writes them.

use std::fs;

use crate::run::{Done, read, root};

/// The pages, and what prints each.
const PAGES: &[(&str, &str)] =
    &[("docs/configuration.md", "cargo run --quiet --locked --bin tertulia -- config docs")];

/// Writes every page.
pub(crate) fn write() -> Done {
    for (path, line) in PAGES {
        let text = read(line)?;
        fs::write(root().join(path), text).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}");
    }
    Ok(())
}

/// Names every page that is not what it would be if it were written now.
pub(crate) fn check() -> Done {
    let mut stale = Vec::new();
    for (path, line) in PAGES {
        let now = read(line)?;
        let there = fs::read_to_string(root().join(path)).unwrap_or_default();
        if let Some(line) = first_difference(&there, &now) {
            stale.push(format!("{path}:{line}: out of date; `make gen` writes it anew"));
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(stale.join("\n")) }
}

/// The line on which two texts part, from 1.
fn first_difference(there: &str, now: &str) -> Option<usize> {
    if there == now {
        return None;
    }
    let same = there.lines().zip(now.lines()).take_while(|(one, other)| one == other).count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_differs_is_noticed_where_it_does() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}
