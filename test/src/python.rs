//! Python for stories that speak to a machine as a stranger does.

use crate::outside;
use std::path::{Path, PathBuf};

/// The interpreter of an environment that holds what `test/python/requirements.txt` lists; without it the story is skipped.
pub fn python() -> Option<PathBuf> {
    outside::find("SIGMA_TEST_PYTHON")
}

/// A program of `test/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}
