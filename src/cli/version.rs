//! The output of `--version`.

use std::sync::LazyLock;

use crate::url::Url;

/// The commit and date of the build; empty if unknown.
const COMMIT: &str = env!("LOGWEIR_COMMIT");

/// The version, the commit with its date, and the built-in features.
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

/// The output of `--version`; `-V` prints only the version.
pub(super) fn long() -> &'static str {
    &LONG
}
