//! Says which commit the program is made of: by the environment (LOGWEIR_COMMIT, LOGWEIR_DATE),
//! by what `git archive` writes into a source archive, or by git. Without any of them the version
//! alone is said.

use std::path::PathBuf;
use std::process::Command;

/// Leaves out the tables by which frames are found when a panic unwinds, or says where it was.
const WITHOUT_FRAMES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame.*) \
                              *(.gcc_except_table) *(.gcc_except_table.*) } } INSERT AFTER .text;";

/// Where `git archive` writes commit and date (.gitattributes says so).
const ARCHIVED: &str = "packaging/commit";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={ARCHIVED}");
    println!("cargo:rerun-if-env-changed=LOGWEIR_COMMIT");
    println!("cargo:rerun-if-env-changed=LOGWEIR_DATE");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        leave_out_frames();
    }
    let commit = by_environment().or_else(by_archive).or_else(by_git).unwrap_or_default();
    println!("cargo:rustc-env=LOGWEIR_COMMIT={commit}");
}

/// A release aborts where it panics, and is stripped: nobody looks up its frames, and the tables of
/// them would be a fourteenth of it. The linkers that are used by default can leave them out.
fn leave_out_frames() {
    println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if ["mold", "gold", "wild"].iter().any(|other| flags.contains(&format!("fuse-ld={other}"))) {
        return;
    }
    let Some(folder) = std::env::var_os("OUT_DIR") else { return };
    let script = PathBuf::from(folder).join("without-frames.ld");
    if std::fs::write(&script, WITHOUT_FRAMES).is_ok() {
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// Commit and date, as in `8d4cf6b 2026-11-27`.
fn by_environment() -> Option<String> {
    let commit = std::env::var("LOGWEIR_COMMIT").ok().filter(|commit| !commit.is_empty())?;
    let date = std::env::var("LOGWEIR_DATE").unwrap_or_default();
    Some(format!("{commit} {date}").trim().to_string())
}

fn by_archive() -> Option<String> {
    let text = std::fs::read_to_string(ARCHIVED).ok()?;
    let text = text.lines().next()?.trim();
    (!text.is_empty() && !text.starts_with('$')).then(|| text.to_string())
}

fn by_git() -> Option<String> {
    // A source folder inside a strange repository is not of its commit.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let own = std::fs::canonicalize(std::env::var_os("CARGO_MANIFEST_DIR")?).ok()?;
    if std::fs::canonicalize(top).ok()? != own {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={log}");
    git(&["log", "-1", "--format=%h %cs"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_string())
}
