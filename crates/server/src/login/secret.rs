//! Secrets in the data directory: the one that signs, and the first key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Fewest bytes of a secret that signs: as many as what it makes.
pub(crate) const SECRET_BYTES_MIN: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// A file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold one.
    #[error(
        "{path} has {bytes} bytes, a secret has {SECRET_BYTES_MIN} or more; put it back, or remove the \
         file and every token signed with it is refused"
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// What it has.
        bytes: usize,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// 32 random bytes, as 43 letters that need no quoting anywhere.
pub(super) fn random() -> Result<String, SecretError> {
    let mut bytes = [0; SECRET_BYTES_MIN];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The secret in `dir`, made if there is none. The text itself is the key, so that the file can be handed
/// to an application as it is.
pub(super) fn in_directory(dir: &Path) -> Result<String, SecretError> {
    let path = dir.join("secret");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = write_new(&path, &random()?);
            // Another process may have been faster; then its secret counts.
            if let Err(source) = made
                && source.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(SecretError::File { path, source });
            }
            read(&path)
        }
        _ => read(&path),
    }
}

fn read(path: &Path) -> Result<String, SecretError> {
    let text = fs::read_to_string(path)
        .map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    let secret = text.trim_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(SecretError::Short { path: path.to_owned(), bytes: secret.len() });
    }
    Ok(secret.to_owned())
}

/// Writes a file that its owner alone can read; whole or not at all, and never over another one.
pub(super) fn write_new(path: &Path, line: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory_of(path))?;
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let linked = write(&part, line).and_then(|()| fs::hard_link(&part, path));
    let _ = fs::remove_file(&part);
    linked?;
    File::open(directory_of(path))?.sync_all()
}

/// Gives such a file its name for good.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(directory_of(to))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn write(path: &Path, line: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()
}
