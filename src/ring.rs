//! Where the secrets of cards' codes, and the key of hashes, come from: the configuration, or a file (beside the database,
//! if that is one).
//!
//! The file is made at the first start where the configuration names no key, and read at every later one, so that codes
//! stay valid. Whoever can read it can make codes: it is the owner's alone. A backup of the database does not hold it.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use adal_domain::{
    hashing::HashingKey,
    hex,
    qr::{KeyRing, KeyRingError},
};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};

use crate::config::{HashingConfig, QrConfig, decode_secret};

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file cannot be read or made.
    #[error("the key ring {}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is there and holds no ring.
    #[error("the key ring {} cannot be read: {why}; restore it, or cards' codes are signed anew once it is removed", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is there and holds no key of hashes.
    #[error("the key of hashes {} cannot be read: {why}; restore it, or limits per phone begin anew once it is removed", path.display())]
    DamagedHashing {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The keys make no ring.
    #[error("qr.keys: {0}")]
    Keys(#[from] KeyRingError),
    /// No random bits.
    #[error("the operating system gives no random bits: {0}")]
    Random(rand::rand_core::OsError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    current: u8,
    keys: BTreeMap<String, String>,
}

/// The ring of the configuration; without one, that of the file, which is made if need be.
///
/// # Errors
/// See [`RingError`].
pub fn load(config: &QrConfig, path: &Path) -> Result<KeyRing, RingError> {
    if !config.keys.is_empty() {
        return ring(config.current, &config.keys).map_err(RingError::Keys);
    }
    if !path.exists() {
        make(path)?;
        tracing::info!(path = %path.display(), "made a key ring for cards' codes: keep it with the backups");
    }
    let text = std::fs::read_to_string(path).map_err(|source| file(path, "cannot read it", source))?;
    let stored: Stored =
        toml::from_str(&text).map_err(|e| RingError::Damaged { path: path.to_owned(), why: e.message().to_owned() })?;
    ring(stored.current, &stored.keys).map_err(|e| RingError::Damaged { path: path.to_owned(), why: e.to_string() })
}

/// `data/adal.db` -> `data/adal.db.qr-keys`.
#[must_use]
pub fn beside(database: &Path) -> PathBuf {
    with_suffix(database, ".qr-keys")
}

/// `data/adal.db` -> `data/adal.db.hashing-key`.
#[must_use]
pub fn hashing_beside(database: &Path) -> PathBuf {
    with_suffix(database, ".hashing-key")
}

fn with_suffix(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn ring(current: u8, keys: &BTreeMap<String, String>) -> Result<KeyRing, KeyRingError> {
    // The configuration was checked; in a file a key that cannot be read counts as one that is too short.
    let keys = keys.iter().filter_map(|(id, key)| {
        id.parse().ok().map(|id| (id, decode_secret(key).unwrap_or_default().into_boxed_slice()))
    });
    KeyRing::new(current, keys.collect())
}

fn make(path: &Path) -> Result<(), RingError> {
    let mut secret = [0; 32];
    OsRng.try_fill_bytes(&mut secret).map_err(RingError::Random)?;
    let stored = Stored { current: 1, keys: BTreeMap::from([("1".to_owned(), hex::encode(&secret))]) };
    let text =
        toml::to_string(&stored).map_err(|e| RingError::Damaged { path: path.to_owned(), why: e.to_string() })?;
    let head = "# Secrets of cards' QR codes. Whoever reads them can make codes. Keep this file with the backups.\n";
    write(path, &format!("{head}{text}"))
}

/// Whole or not at all: written under another name, made durable, then given its name, which nobody may have taken.
fn write(path: &Path, text: &str) -> Result<(), RingError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| file(path, "its folder cannot be made", source))?;
    }
    let partial = path.with_extension(format!("partial.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&partial).and_then(|mut to| {
        to.write_all(text.as_bytes())?;
        to.sync_all()
    });
    written.map_err(|source| file(path, "cannot make it", source))?;
    std::fs::rename(&partial, path).map_err(|source| file(path, "cannot make it", source))?;
    if let Some(folder) = path.parent().and_then(|folder| std::fs::File::open(folder).ok()) {
        // Without this a power cut could leave a database whose secrets are gone. Some file systems refuse it.
        let _ = folder.sync_all();
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHashing {
    key: String,
}

/// The key of hashes of the configuration; without one, that of the file. The file is made at the first start, of the
/// oldest key of the ring, so that servers that share a ring make the same; it stays when the ring is rotated.
///
/// # Errors
/// See [`RingError`].
pub fn hashing(config: &HashingConfig, path: &Path, ring: &KeyRing) -> Result<HashingKey, RingError> {
    if let Some(key) = decode_secret(&config.key).and_then(|key| key.try_into().ok()) {
        return Ok(HashingKey::new(key));
    }
    let damaged = |why: &str| RingError::DamagedHashing { path: path.to_owned(), why: why.to_owned() };
    if !path.exists() {
        let key = ring.hashing_key().ok_or_else(|| damaged("the ring gives none"))?;
        let text = format!(
            "# The key of hashes of phones, payment means and addresses. It is never changed: limits per phone begin anew\n\
             # with another. Keep this file with the backups.\nkey = \"{}\"\n",
            hex::encode(&key)
        );
        write(path, &text)?;
        tracing::info!(path = %path.display(), "made the key of hashes: keep it with the backups");
    }
    let text = std::fs::read_to_string(path).map_err(|source| file(path, "cannot read it", source))?;
    let stored: StoredHashing = toml::from_str(&text).map_err(|e| damaged(e.message()))?;
    let key = decode_secret(&stored.key).and_then(|key| key.try_into().ok());
    key.map(HashingKey::new).ok_or_else(|| damaged("its key is not 32 bytes"))
}

fn file(path: &Path, what: &'static str, source: std::io::Error) -> RingError {
    RingError::File { path: path.to_owned(), what, source }
}

#[cfg(test)]
mod tests {
    use adal_domain::{
        card::Barcode,
        qr::{Intent, QrCode, Step},
    };

    use super::*;

    #[test]
    fn codes_stay_valid_over_a_restart_and_the_file_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = beside(&dir.path().join("adal.db"));
        let config = QrConfig { current: 1, keys: BTreeMap::new(), file: PathBuf::new() };
        let code = QrCode { intent: Intent::Pay, barcode: Barcode::of_number(7), step: Step(9) };
        let text = load(&config, &path).unwrap().encode(code);
        assert_eq!(load(&config, &path).unwrap().decode(&text), Ok(code));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        std::fs::write(&path, "current = 1\n[keys]\n1 = \"abcd\"\n").unwrap();
        assert!(matches!(load(&config, &path), Err(RingError::Damaged { .. })));
    }

    #[test]
    fn the_key_of_hashes_stays_when_the_ring_is_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = hashing_beside(&dir.path().join("adal.db"));
        let ring = |ids: &[u8]| {
            let keys = ids.iter().map(|id| (*id, vec![*id; 32].into_boxed_slice())).collect();
            KeyRing::new(ids[0], keys).unwrap()
        };
        let config = |key: &str| HashingConfig { key: key.to_owned(), file: PathBuf::new() };
        let phone = |config: &HashingConfig, path: &Path, ids: &[u8]| {
            hashing(config, path, &ring(ids)).unwrap().link_key("phone").unwrap()
        };
        let first = phone(&config(""), &path, &[1]);
        assert_eq!(phone(&config(""), &path, &[2]), first, "the first key of the ring is gone");
        // Another server with the same ring makes the same; one that is given another key does not.
        let elsewhere = dir.path().join("elsewhere");
        assert_eq!(phone(&config(""), &elsewhere, &[1, 2]), first);
        assert_ne!(phone(&config(&hex::encode(&[9; 32])), &path, &[1]), first);
        std::fs::write(&path, "key = \"abcd\"\n").unwrap();
        assert!(matches!(hashing(&config(""), &path, &ring(&[1])), Err(RingError::DamagedHashing { .. })));
    }
}
