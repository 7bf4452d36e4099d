//! `logweir spool verify`: reads every byte of a spool and reports what is wrong, and where.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use super::count;
use super::folder::Folder;
use super::walk::Walk;
use crate::ids::Identity;
use crate::spool::cursor::{Cursor, SUFFIX};
use crate::spool::folder::{IDENTITY, QUARANTINE};

/// Read every byte of a spool and report what is damaged, and where
///
/// An incomplete batch at the end of the newest segment is being written if a daemon runs, and is
/// not damage. The exit code is 1 if anything is damaged or missing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The spool's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Checks the spool; returns 1 if anything is wrong.
///
/// # Errors
/// The system's.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&args.dir)?;
    let cursors = folder.cursors()?;
    let mut findings = Findings::default();
    let names = &folder.listing.segments;
    let mut walk = Walk::new(&folder, &mut findings);
    for (at, &name) in names.iter().enumerate() {
        walk.segment(name, names.get(at + 1).map(|later| later.first));
    }
    let Walk { next, lines, bytes, spool, .. } = walk;
    let identity = check_identity(&folder, spool, &mut findings)?;
    check_cursors(&cursors, identity, next, &mut findings);
    check_others(&folder, &mut findings);
    print!("{}, {}", count(names.len() as u64, "segment"), count(lines, "line"));
    if lines > 0 {
        print!(" (from {} to {})", folder.oldest(), next - 1);
    }
    println!(", {}: {}", count(bytes, "byte"), findings.summary());
    Ok(if findings.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A text made safe for a terminal: anyone can choose the names of files.
pub(super) fn shown(text: impl Display) -> String {
    let show = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.to_string().chars().map(show).collect()
}

/// The findings, reported as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The number of problems.
    wrong: u64,
    /// The number of missing lines.
    lost: u64,
}

impl Findings {
    /// Reports a problem.
    pub(super) fn wrong(&mut self, text: impl Display) {
        self.wrong += 1;
        println!("{}", shown(text));
    }

    /// Reports a problem that cost lines.
    pub(super) fn lost(&mut self, lines: u64, text: impl Display) {
        self.lost += lines;
        self.wrong(text);
    }

    /// Reports something that is not a problem.
    pub(super) fn note(&self, text: impl Display) {
        println!("{}", shown(text));
    }

    fn summary(&self) -> String {
        match (self.wrong, self.lost) {
            (0, _) => "sound".into(),
            (wrong, 0) => format!("{} wrong, no line lost", count(wrong, "thing")),
            (wrong, lost) => {
                format!("{} wrong, {} lost", count(wrong, "thing"), count(lost, "line"))
            }
        }
    }
}

/// Checks the spool's identity, in its file and in its newest segment.
fn check_identity(
    folder: &Folder,
    newest: Option<Identity>,
    findings: &mut Findings,
) -> anyhow::Result<Option<Identity>> {
    let written = folder.identity()?;
    match (written, newest) {
        (Some(written), Some(newest)) if written != newest => findings.wrong(format!(
            "{IDENTITY}: is {written}, but the newest segment is of the spool {newest}: put the \
             right files back, or begin anew with `logweir spool trim --new-identity {}`",
            folder.dir.display()
        )),
        (None, Some(newest)) => findings.wrong(format!(
            "{IDENTITY}: is {}: the daemon makes it again from the newest segment, {newest}",
            if folder.listing.has_identity { "damaged" } else { "missing" }
        )),
        (None, None) => {
            findings.wrong(format!("{IDENTITY}: neither a segment nor the file has it"))
        }
        _ => {}
    }
    Ok(newest.or(written))
}

fn check_cursors(
    cursors: &[(String, Option<Cursor>)],
    identity: Option<Identity>,
    next: u64,
    findings: &mut Findings,
) {
    const AGAIN: &str = "its reader begins again at the oldest line kept";
    for (name, cursor) in cursors {
        let Some(cursor) = cursor else {
            findings.wrong(format!("{name}: is damaged: {AGAIN}"));
            continue;
        };
        if identity.is_some_and(|identity| identity != cursor.spool) {
            findings.wrong(format!("{name}: is of another spool ({}): {AGAIN}", cursor.spool));
        } else if cursor.position > next {
            let lost = cursor.position - next;
            findings.lost(
                lost,
                format!("{name}: {lost} lines that were read already are no longer here"),
            );
        }
        if name.strip_suffix(SUFFIX) != Some(&cursor.reader) {
            findings.wrong(format!("{name}: is of another reader ({})", cursor.reader));
        }
    }
}

/// Checks the other files in the folder.
fn check_others(folder: &Folder, findings: &mut Findings) {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().display().to_string();
    for path in &folder.listing.foreign {
        findings.note(format!("{}: is not a spool's file", name(path)));
    }
    for path in folder.listing.leftovers.iter().chain(&folder.listing.twins) {
        findings.note(format!(
            "{}: left by an interrupted step; the daemon removes it when it starts",
            name(path)
        ));
    }
    let aside = std::fs::read_dir(folder.dir.join(QUARANTINE)).map_or(0, Iterator::count);
    if aside > 0 {
        findings.note(format!("{QUARANTINE}/: holds {aside} pieces that were found damaged"));
    }
}
