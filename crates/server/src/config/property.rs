//! Any bytes at all as settings: what is taken keeps every bound and can be printed and read again, what is
//! not is told a line a mistake. For tests and fuzzing only.

use std::path::Path;

use super::setting::Bounds;
use super::*;

/// A file; behind a zero byte an environment, a variable a line.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (file, env) = text.split_once('\0').unwrap_or((text, ""));
    if text.to_ascii_lowercase().contains("_file") {
        // It would read whatever file is named.
        return;
    }
    let secret = secret(file);
    match load(file, env) {
        Ok(config) => {
            within_bounds(&config);
            let printed = config.print();
            hides(secret.as_deref(), &printed);
            printed_again(&config, &printed);
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            for mistake in mistakes {
                let line = mistake.to_string();
                assert!(!line.contains(char::is_control), "more than a line: {line:?}");
                hides(secret.as_deref(), &line);
            }
        }
    }
}

fn load(file: &str, env: &str) -> Result<Config, Vec<Mistake>> {
    let mut typed = Typed::default();
    typed.text(Path::new("tertulia.toml"), file);
    let variables = env.lines().filter_map(|line| line.split_once('='));
    typed.environment(variables.map(|(name, value)| (name.into(), value.into())));
    Config::of(typed).map(|(config, _)| config)
}

fn within_bounds(config: &Config) {
    for (setting, value) in SETTINGS.iter().zip(config.values()) {
        if let (Bounds::Range(min, max), Some(value)) = (&setting.bounds, value) {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            assert!(number.is_some_and(|number| (*min..=*max).contains(&number)), "{value}");
        }
    }
    let number = |name: &str| {
        let place = SETTINGS.iter().position(|setting| setting.name() == name);
        config.values()[place.expect("ORDERED names settings")].as_ref()?.as_integer()
    };
    for (small, large) in ORDERED {
        assert!(number(small) <= number(large), "{small} above {large}");
    }
}

/// What is printed is a settings file that means the same, but for what is not shown.
fn printed_again(config: &Config, printed: &str) {
    if !config.auth.keys.is_empty() {
        return;
    }
    let shown: Vec<&str> = printed.lines().filter(|line| !line.contains("(hidden)")).collect();
    match load(&shown.join("\n"), "") {
        Ok(again) => {
            let again = again.print();
            for line in shown {
                assert!(again.lines().any(|other| other == line), "{line} is not read again");
            }
        }
        Err(mistakes) => panic!("{printed}\n{mistakes:?}"),
    }
}

/// The secret of the file, if it is one that is not found by chance.
fn secret(file: &str) -> Option<String> {
    let table: toml::Table = file.parse().ok()?;
    let secret = table.get("auth")?.get("hs256_secret")?.as_str()?;
    (secret.len() >= 12 && file.matches(secret).count() == 1).then(|| secret.to_owned())
}

fn hides(secret: Option<&str>, text: &str) {
    assert!(!secret.is_some_and(|secret| text.contains(secret)), "it shows the secret: {text}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_as_settings() {
        crate::kept::check("settings", super::check);
    }
}
