//! How a command ends: what it says, and the code that scripts go by.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tertulia_store::{KeyError, OpenError};

use crate::config::Mistake;
use crate::login::{LoginError, MintError, NewKeyError, SecretError};

/// Why a command did not do it: lines for standard error, and a code.
#[derive(Debug)]
pub(crate) struct Failure {
    lines: Vec<String>,
    code: u8,
}

const DID_NOT_WORK: u8 = 1;
const DEPENDENCY: u8 = 69;
const SETTINGS: u8 = 78;

impl Failure {
    pub(super) fn new(why: impl Display) -> Failure {
        Failure { lines: vec![format!("tertulia: {why}")], code: DID_NOT_WORK }
    }

    /// Settings that lead to no database.
    pub(super) fn no_data(data: &Path) -> Failure {
        let dir = data.display();
        let what = if data.exists() { "holds no database" } else { "is not there" };
        let way_out = format!(
            "name the one that is served (server.data, --data), or make one with `tertulia serve --data {dir}`"
        );
        Failure { code: SETTINGS, ..Failure::new(format!("{dir} {what}; {way_out}")) }
    }

    /// A file of the data directory that cannot be used.
    fn unusable(path: &Path, source: &io::Error) -> Failure {
        let path = path.display();
        let why = match source.kind() {
            ErrorKind::AlreadyExists => "a file stands where a directory must be".to_owned(),
            _ => source.to_string(),
        };
        let way_out =
            "choose a directory that this process can make, read and write (server.data, --data)";
        Failure::new(format!("{path}: {why}; {way_out}"))
    }

    /// Tells the operator.
    pub(crate) fn told(self) -> ExitCode {
        let mut err = std::io::stderr().lock();
        for line in &self.lines {
            // There is nobody else to tell.
            let _ = writeln!(err, "{line}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Vec<Mistake>> for Failure {
    fn from(mistakes: Vec<Mistake>) -> Failure {
        Failure { lines: mistakes.iter().map(Mistake::to_string).collect(), code: SETTINGS }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        if let OpenError::File { path, source } = &error {
            return Failure::unusable(path, source);
        }
        let code = match &error {
            OpenError::InUse { .. } => DEPENDENCY,
            // Of the operator's making, like settings: another version, or another --data, will do.
            OpenError::Newer { .. } => SETTINGS,
            OpenError::Foreign { .. }
            | OpenError::Damaged { .. }
            | OpenError::Cut { .. }
            | OpenError::File { .. }
            | OpenError::Database(_) => DID_NOT_WORK,
        };
        let way_out = match &error {
            OpenError::Foreign { .. } => "; choose another directory (server.data, --data)",
            _ => "",
        };
        Failure { code, ..Failure::new(format!("{error}{way_out}")) }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Failure {
        match error {
            LoginError::Open(error) => error.into(),
            LoginError::Secret(error) => error.into(),
            LoginError::Key(error) => error.into(),
            LoginError::Client(_) => Failure::new(error),
        }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Failure {
        match error {
            SecretError::File { path, source } => Failure::unusable(&path, &source),
            SecretError::Short { .. } | SecretError::Random => Failure::new(error),
        }
    }
}

impl From<NewKeyError> for Failure {
    fn from(error: NewKeyError) -> Failure {
        match error {
            NewKeyError::Secret(error) => error.into(),
            NewKeyError::Key(error) => error.into(),
        }
    }
}

macro_rules! plain {
    ($($error:ty)*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::new(error)
            }
        }
    )*};
}
plain! { tertulia_store::Error KeyError MintError io::Error }

/// The result of a command. A reader who went away is told by the exit code.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

/// Says that `data` now has a `what`, which nothing there had: it may have been mistyped. Scripts that fill a
/// directory before it is first served need not look.
pub(super) fn remark_made(data: &Path, what: &str, knows: &str) {
    let dir = data.display();
    // Whoever does not read it gets what was asked for all the same.
    let _ = writeln!(
        io::stderr(),
        "tertulia: {dir} held no {what}, so one was made; only a server with --data {dir} {knows}"
    );
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
