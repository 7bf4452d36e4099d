//! Passwords and tokens in files: the first line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::limits::SECRET_MAX;

/// The secret in a file.
///
/// # Errors
/// The file cannot be read, or its first line is empty.
pub fn read(path: &Path) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| said(&error))?;
    first_line(file).map_err(|error| said(&error))
}

/// The first line, which is a secret, of at most [`SECRET_MAX`] bytes.
///
/// # Errors
/// It cannot be read, or the line is empty.
pub fn first_line(source: impl Read) -> Result<String, String> {
    let mut text = String::new();
    source.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_string()),
        _ => Err("its first line is to be the password or the token, and it is empty".into()),
    }
}
