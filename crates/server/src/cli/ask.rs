//! How a command ends: what it says, and the code that scripts go by.

use std::fmt::Display;
use std::io::Write;
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
        let code = match &error {
            OpenError::InUse { .. } => DEPENDENCY,
            // Of the operator's making, like settings: another version, or another --data, will do.
            OpenError::Newer { .. } => SETTINGS,
            OpenError::Foreign { .. }
            | OpenError::Damaged { .. }
            | OpenError::File { .. }
            | OpenError::Database(_) => DID_NOT_WORK,
        };
        Failure { code, ..Failure::new(error) }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Failure {
        match error {
            LoginError::Open(error) => error.into(),
            error => Failure::new(error),
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
plain! { tertulia_store::Error KeyError MintError NewKeyError SecretError std::io::Error }

/// The result of a command. A reader who went away is told by the exit code.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
