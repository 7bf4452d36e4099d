//! The folders that spools of this daemon have locked, as a reload finds them.
//!
//! A spool that left the plan keeps its folder until its lines are written and its threads have
//! closed it. A reload that asks for that folder again waits for this, beside the loop.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::ids::NodeId;

/// How often a waiting reload looks whether the folder is free.
const LOOK: Duration = Duration::from_millis(5);

/// Shared by all that keeps a spool open; the last one drops it after the folder's lock.
#[derive(Debug, Default)]
pub(super) struct Open(Arc<()>);

/// The folders of the spools that were opened.
#[derive(Debug, Default)]
pub(super) struct SpoolFolders(Vec<Entered>);

#[derive(Debug)]
struct Entered {
    node: NodeId,
    name: String,
    dir: PathBuf,
    open: Weak<()>,
}

impl SpoolFolders {
    /// A node's spool was opened in this folder.
    pub(super) fn enter(&mut self, (node, name): (NodeId, &str), dir: &Path, open: &Open) {
        self.0.retain(|entered| entered.open.strong_count() > 0);
        let (name, dir, open) = (name.into(), dir.into(), Arc::downgrade(&open.0));
        self.0.push(Entered { node, name, dir, open });
    }

    /// The folders that are locked now; each for at most `patience` once its spool has left the
    /// plan.
    pub(super) fn locked(&self, engine: &Engine, patience: Duration) -> Vec<LockedFolder> {
        let in_force = engine.names();
        let locked = |entered: &Entered| LockedFolder {
            dir: entered.dir.clone(),
            spool: entered.name.clone(),
            in_force: in_force.values().any(|node| *node == entered.node),
            open: entered.open.clone(),
            patience,
        };
        self.0.iter().filter(|entered| entered.open.strong_count() > 0).map(locked).collect()
    }
}

/// A folder that a spool of this daemon has locked.
#[derive(Debug)]
pub(super) struct LockedFolder {
    dir: PathBuf,
    spool: String,
    /// Whether the spool is in the plan in force.
    in_force: bool,
    open: Weak<()>,
    patience: Duration,
}

/// Waits until no spool of this daemon that has left the plan has `dir` locked.
///
/// # Errors
/// One sentence for the user: a spool of the plan in force has it, or one does not end.
pub(super) fn wait_until_free(dir: &Path, locked: &[LockedFolder]) -> Result<(), String> {
    for folder in locked.iter().filter(|folder| folder.dir == dir) {
        let (dir, spool) = (dir.display(), &folder.spool);
        if folder.in_force {
            return Err(format!(
                "{dir}: is the folder of {spool} until the new configuration is in force: reload \
                 without this spool first, or restart"
            ));
        }
        let start = Instant::now();
        while folder.open.strong_count() > 0 {
            if start.elapsed() >= folder.patience {
                return Err(format!(
                    "{dir}: {spool}, which was removed, is still writing its last lines there: \
                     reload again when its disk answers"
                ));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(open: &Open, in_force: bool) -> Vec<LockedFolder> {
        let (dir, spool) = (PathBuf::from("/spool"), "all.spool".to_string());
        let (open, patience) = (Arc::downgrade(&open.0), Duration::from_millis(20));
        vec![LockedFolder { dir, spool, in_force, open, patience }]
    }

    #[test]
    fn a_folder_that_nobody_has_is_free() {
        let open = Open::default();
        assert_eq!(wait_until_free(Path::new("/other"), &locked(&open, false)), Ok(()));
        let closed = locked(&open, false);
        drop(open);
        assert_eq!(wait_until_free(Path::new("/spool"), &closed), Ok(()));
    }

    #[test]
    fn a_removed_spool_that_closes_meanwhile_is_waited_for() {
        let open = Open::default();
        let mut locked = locked(&open, false);
        locked[0].patience = Duration::from_secs(60);
        let closing = std::thread::spawn(move || drop(open));
        assert_eq!(wait_until_free(Path::new("/spool"), &locked), Ok(()));
        closing.join().unwrap();
    }

    #[test]
    fn a_spool_in_force_or_one_that_does_not_end_is_named() {
        let open = Open::default();
        let error = wait_until_free(Path::new("/spool"), &locked(&open, true)).unwrap_err();
        assert!(error.starts_with("/spool: is the folder of all.spool until"), "{error}");
        let error = wait_until_free(Path::new("/spool"), &locked(&open, false)).unwrap_err();
        assert!(error.starts_with("/spool: all.spool, which was removed, is still"), "{error}");
    }
}
