//! Keys of applications: made on the command line, known to a running server within a second.
//!
//! Only hashes are kept. A key is 32 random bytes, so whoever looks one up by its hash learns nothing from
//! the time it takes.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tertulia_store::{Error, Key, KeyError, Keys};
use tracing::warn;

use super::Inner;
use super::secret::{self, SecretError};
use super::snapshot::Snapshot;

/// How often a server looks for new and revoked keys: twice in the second that is promised.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const PREFIX: &str = "tk_";

/// What an application may do with its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum KeyScope {
    /// Everything, giving out tokens included.
    Admin,
    /// Write and read.
    Send,
    /// Read.
    Read,
}

impl KeyScope {
    /// Every scope, most first.
    pub(crate) const ALL: [KeyScope; 3] = [KeyScope::Admin, KeyScope::Send, KeyScope::Read];

    /// The word in the database and on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            KeyScope::Admin => "admin",
            KeyScope::Send => "send",
            KeyScope::Read => "read",
        }
    }

    /// The scope of that name.
    pub(crate) fn parse(text: &str) -> Option<KeyScope> {
        KeyScope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// An application, as its key makes it known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ApiKey {
    /// What the key is called.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) scope: KeyScope,
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewKeyError {
    /// There is nothing to make it of.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It cannot be kept.
    #[error(transparent)]
    Key(#[from] KeyError),
}

type Hash = [u8; 32];

fn hash(key: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

/// Makes a key and keeps its hash. The key itself is in the answer and nowhere else.
pub(crate) fn create(
    keys: &Keys,
    name: &str,
    scope: KeyScope,
    now_ms: u64,
) -> Result<String, NewKeyError> {
    let key = random()?;
    keep(keys, &key, name, scope, now_ms)?;
    Ok(key)
}

fn random() -> Result<String, SecretError> {
    Ok(format!("{PREFIX}{}", secret::random()?))
}

fn keep(keys: &Keys, key: &str, name: &str, scope: KeyScope, created: u64) -> Result<(), KeyError> {
    let (name, scope) = (name.to_owned(), scope.as_str().to_owned());
    keys.add(&Key { name, hash: hash(key), scope, created })
}

/// Makes the key of a first start and writes it beside the database, if there is none of any kind.
///
/// The answer says whether it did. The file has another name until its key is kept, so that a start that ends in
/// between is finished by the next one, and a key that was revoked does not come back.
pub(super) fn create_first(dir: &Path, keys: &Keys, now_ms: u64) -> Result<bool, NewKeyError> {
    let (path, begun) = (dir.join("admin.key"), dir.join("admin.key.new"));
    let failed = |path: &Path, source| SecretError::File { path: path.to_owned(), source };
    if path.exists() {
        return Ok(false);
    }
    let known = keys.list().map_err(KeyError::from)?;
    let key = match std::fs::read_to_string(&begun) {
        Ok(key) => key.trim_end().to_owned(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&begun, error))?,
        Err(_) if !known.is_empty() => return Ok(false),
        Err(_) => {
            let key = random()?;
            secret::write_new(&begun, &key).map_err(|error| failed(&begun, error))?;
            key
        }
    };
    if known.is_empty() {
        keep(keys, &key, "first-start", KeyScope::Admin, now_ms)?;
    } else if known.iter().all(|known| known.hash != hash(&key)) {
        // Someone made another key meanwhile.
        std::fs::remove_file(&begun).map_err(|error| failed(&begun, error))?;
        return Ok(false);
    }
    secret::rename(&begun, &path).map_err(|error| failed(&path, error))?;
    Ok(true)
}

/// The keys as they were last seen.
#[derive(Default)]
pub(super) struct KnownKeys(Snapshot<HashMap<Hash, ApiKey>>);

impl KnownKeys {
    pub(super) fn find(&self, bearer: &str) -> Option<ApiKey> {
        // Only what looks like a key is hashed: a bearer may be as long as a header can be.
        const CHARS: usize = PREFIX.len() + 43;
        if bearer.len() != CHARS || !bearer.starts_with(PREFIX) {
            return None;
        }
        self.0.get().get(&hash(bearer)).cloned()
    }

    fn put(&self, keys: Vec<Key>) {
        let known = keys.into_iter().filter_map(|key| {
            let scope = KeyScope::parse(&key.scope)?;
            Some((key.hash, ApiKey { name: key.name.into(), scope }))
        });
        self.0.put(known.collect());
    }
}

/// Keeps a [`Login`](super::Login) informed about keys, from a thread of its own.
pub(crate) struct KeyWatch {
    keys: Keys,
    login: Weak<Inner>,
    failing: bool,
}

impl KeyWatch {
    pub(super) fn new(keys: Keys, login: Weak<Inner>) -> KeyWatch {
        KeyWatch { keys, login, failing: false }
    }

    /// Looks again and again, until the login is gone.
    pub(crate) fn run(mut self) {
        while self.look() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Looks once; false when nobody wants to know any more.
    pub(super) fn look(&mut self) -> bool {
        let Some(login) = self.login.upgrade() else { return false };
        match self.keys.list_if_changed() {
            Ok(Some(keys)) => {
                login.keys.put(keys);
                self.failing = false;
            }
            Ok(None) => self.failing = false,
            Err(error) => self.failed(&error),
        }
        true
    }

    /// The keys last seen stay in force; said once, not twice a second.
    fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(error.kind = error.kind(), "new and revoked keys are not seen: {error}");
        }
    }
}
