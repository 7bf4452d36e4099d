//! What `--version` says.

use std::sync::LazyLock;

use crate::url::Url;

/// Commit and date that the program was made of; empty where nobody could tell.
const COMMIT: &str = env!("LOGWEIR_COMMIT");

/// The version, the commit with its date, and what is built in.
static LONG: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    let commit = match COMMIT.split_once(' ') {
        Some((commit, date)) => format!(" (commit {commit}, {date})"),
        None if COMMIT.is_empty() => String::new(),
        None => format!(" (commit {COMMIT})"),
    };
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{version}{commit}\nfeatures: tls, zstd, {build} build\nsends to: {}", Url::forms())
});

/// What `--version` says; `-V` says the version alone.
pub(super) fn long() -> &'static str {
    &LONG
}
