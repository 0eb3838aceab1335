//! A folder of a test's own, gone when the test is.

use std::path::Path;

#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("adal-it-").tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
