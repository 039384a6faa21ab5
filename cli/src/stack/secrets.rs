//! The secrets of a local stack: made at the first start, kept in the data
//! directory in files that only their owner can read.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use shared::seal::{Secret, token::new_token};

/// Bytes of a master key.
const MASTER_KEY_BYTES: usize = 32;

/// The API token of the environment `default`.
pub fn token(data_dir: &Path) -> anyhow::Result<Secret> {
    keep(&data_dir.join("token"), new_token)
}

/// What credentials and webhook secrets are encrypted with: 32 random bytes, base64.
pub fn master_key(data_dir: &Path) -> anyhow::Result<Secret> {
    keep(&data_dir.join("master.key"), || {
        Secret::new(STANDARD.encode(rand::random::<[u8; MASTER_KEY_BYTES]>()))
    })
}

/// The secret in the file; when there is none, a new one is made and written.
fn keep(path: &Path, make: impl FnOnce() -> Secret) -> anyhow::Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(Secret::new(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(format!("can't read {}", path.display())),
    }
    let secret = make();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{}", secret.expose()))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_readable_by_their_owner_only() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, make) in [
            ("token", token as fn(&Path) -> _),
            ("master.key", master_key),
        ] {
            let first = make(directory.path()).expect("made");
            let again = make(directory.path()).expect("read");
            assert_eq!(first.expose(), again.expose());
            let mode = directory
                .path()
                .join(name)
                .metadata()
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        shared::seal::Sealer::new(master_key(directory.path()).expect("read").expose())
            .expect("a usable key");
    }
}
