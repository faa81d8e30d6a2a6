//! Run: other programs, and where the project stands.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What went wrong, told to a person.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The top folder of the project.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask is a folder of the project").to_owned()
}

/// A command of the words in `line`, in the top folder.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command has a name"));
    command.args(words).current_dir(root());
    command
}

/// Runs `line` and shows what it says.
pub(crate) fn show(line: &str) -> Done {
    println!("$ {line}");
    let status = command(line).status().map_err(|error| format!("{line}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{line}: {status}")) }
}

/// Runs `line`, shows what it says on standard error, and gives that, too.
pub(crate) fn tee(line: &str) -> Done<String> {
    println!("$ {line}");
    let told = |error: std::io::Error| format!("{line}: {error}");
    let mut child = command(line).stderr(Stdio::piped()).spawn().map_err(told)?;
    let mut said = String::new();
    if let Some(words) = child.stderr.take() {
        for words in BufReader::new(words).lines() {
            let words = words.map_err(told)?;
            eprintln!("{words}");
            said += &words;
            said.push('\n');
        }
    }
    let status = child.wait().map_err(told)?;
    if status.success() { Ok(said) } else { Err(format!("{line}: {status}")) }
}

/// What `line` prints; what it says on standard error is shown.
pub(crate) fn read(line: &str) -> Done<String> {
    let output = command(line)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{line}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{line}: {error}"))
}

/// The first line that `line` prints, or nothing if it cannot be run.
pub(crate) fn version(line: &str) -> Option<String> {
    let output = command(line).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
