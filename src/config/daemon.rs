//! `[daemon]`

use std::path::PathBuf;

use super::plan::DaemonPlan;
use super::report::{Report, nearest};
use super::section::Section;
use super::{input, keys, units};
use crate::limits;
use crate::logger::Verbosity;

/// Where the control socket is, unless the user says otherwise.
pub const CONTROL_DEFAULT: &str = "/run/logweir/control.sock";

/// Reads the `[daemon]` table, which may be missing.
pub(super) fn read(section: Option<&Section<'_>>, report: &mut Report<'_>) -> DaemonPlan {
    let mut plan = DaemonPlan {
        control: Some(PathBuf::from(CONTROL_DEFAULT)),
        metrics: None,
        stuck_after: limits::STUCK_DEFAULT,
        memory: limits::MEMORY_DEFAULT,
        grace: limits::GRACE_DEFAULT,
        log: Verbosity::default(),
    };
    let Some(section) = section else { return plan };
    for entry in &section.entries {
        match entry.key {
            "control" => {
                let Some(path) = entry.system_text(report) else { continue };
                if path.len() > limits::SOCKET_PATH_MOST {
                    let most = limits::SOCKET_PATH_MOST;
                    entry.wrong(report, format!("a socket's path can have {most} bytes at most"));
                }
                plan.control = Some(PathBuf::from(path));
            }
            "metrics" => plan.metrics = input::address(entry, report),
            "stuck_after" => {
                let Some(time) = entry.time(report) else { continue };
                if time < limits::STUCK_LEAST {
                    let least = units::show_time(limits::STUCK_LEAST);
                    entry.wrong(report, format!("must be at least {least}"));
                }
                plan.stuck_after = time;
            }
            "memory" => {
                let memory = entry.size(report, limits::MEMORY_LEAST..=u64::MAX);
                plan.memory = memory.unwrap_or(plan.memory);
            }
            "grace" => plan.grace = entry.time(report).unwrap_or(plan.grace),
            "log" => plan.log = entry.word(report, &Verbosity::WORDS).unwrap_or(plan.log),
            unknown => {
                let help = nearest(unknown, keys::DAEMON);
                let help =
                    help.unwrap_or_else(|| format!("there are: {}", keys::DAEMON.join(", ")));
                entry.misplaced(report, "unknown key", Some(help));
            }
        }
    }
    plan
}
