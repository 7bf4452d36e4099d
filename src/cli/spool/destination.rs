//! Where a replay goes: another host, or a file.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;

use crate::driver::clients::{Client, Options, Stop, connect, file};
use crate::url::Url;

/// What stands before the path of a file.
const FILE: &str = "file://";

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// To another host.
    Url(Url),
    /// To the end of a file.
    File(PathBuf),
}

impl Destination {
    /// How it is written.
    pub(super) fn forms() -> String {
        format!("{} or {FILE}/path", Url::forms())
    }

    /// What is wrong with a URL, and that a file can be written too.
    fn with_file(error: String) -> String {
        match error.contains("protocol") {
            true => format!("{error} or {FILE}/path"),
            false => error,
        }
    }

    /// Connects, or opens the file.
    ///
    /// # Errors
    /// The system's, TLS', or the peer's refusal.
    pub(super) fn open(&self, options: &Options, stop: &Stop) -> anyhow::Result<Box<dyn Client>> {
        let opened = match self {
            Self::Url(url) => connect(url, options, stop),
            Self::File(path) => file::open(path),
        };
        opened.with_context(|| self.to_string())
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(FILE) {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => {
                Ok(Self::File(path.into()))
            }
            Some(_) => Err(format!("write the whole path of a file, as in {FILE}/srv/lines")),
            None => match text.parse() {
                Ok(url) => Ok(Self::Url(url)),
                Err(error) => Err(Self::with_file(error)),
            },
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
        }
    }
}
