//! `[daemon]`

use std::path::PathBuf;
use std::time::Duration;

use super::plan::DaemonPlan;
use crate::limits;
use crate::logger::Verbosity;
use crate::proto::shared::datagrams::address;
use crate::settings::key::{ADDRESS, Key, PATH, Value, words};
use crate::settings::{Report, Section};

/// Where the control socket is, unless the user says otherwise.
pub const CONTROL_DEFAULT: &str = "/run/logweir/control.sock";

/// The keys of `[daemon]`.
pub(super) const KEYS: &[Key] = &[CONTROL, METRICS, STATE, STUCK_AFTER, MEMORY, GRACE, LOG];

const CONTROL: Key = Key::or(
    "control",
    PATH,
    "\"/run/logweir/control.sock\"",
    "Path of the socket for logweir top, tap and ctl.",
);
const METRICS: Key =
    Key::or_else("metrics", ADDRESS, "none", "Where /metrics and /healthz are served over HTTP.");
const STATE: Key = Key::or_else(
    "state",
    PATH,
    "$STATE_DIRECTORY, which systemd sets",
    "The folder for what outlives a restart beside spools. Without one it is lost at a restart.",
);
const STUCK_AFTER: Key = Key::or(
    "stuck_after",
    Value::Time(limits::STUCK_MIN),
    "\"60s\"",
    "A node that has let nothing out of its queue for so long is stuck, and /healthz says so.",
);
const MEMORY: Key = Key::or(
    "memory",
    Value::Size(limits::MEMORY_MIN..=u64::MAX),
    "\"64MiB\"",
    "The one budget of all queues together.",
);
const GRACE: Key = Key::or(
    "grace",
    Value::Time(Duration::ZERO),
    "\"10s\"",
    "How long SIGTERM waits for the queues to drain.",
);

const LOG_WORDS: [&str; 4] = words(&Verbosity::WORDS);
const LOG: Key = Key::or(
    "log",
    Value::Words(&LOG_WORDS),
    "\"info\"",
    "How much the daemon logs, each level with everything more severe.",
);

/// Reads the `[daemon]` table, which may be missing.
pub(super) fn read(section: Option<&Section<'_>>, report: &mut Report<'_>) -> DaemonPlan {
    let mut plan = DaemonPlan {
        control: Some(PathBuf::from(CONTROL_DEFAULT)),
        metrics: None,
        state: None,
        stuck_after: limits::STUCK_DEFAULT,
        memory: limits::MEMORY_DEFAULT,
        grace: limits::GRACE_DEFAULT,
        log: Verbosity::default(),
    };
    let Some(section) = section else { return plan };
    section.refuse_all_but(KEYS, report);
    if let Some(entry) = section.entry(&CONTROL)
        && let Some(path) = entry.system_text(report)
    {
        let max = limits::SOCKET_PATH_MAX;
        if path.len() > max {
            entry.wrong(report, format!("a socket's path can have {max} bytes at most"));
        }
        plan.control = Some(PathBuf::from(path));
    }
    plan.metrics = section.entry(&METRICS).and_then(|entry| address(entry, report));
    plan.state = section.system_text(&STATE, report).map(PathBuf::from);
    plan.stuck_after = section.time(&STUCK_AFTER, report).unwrap_or(plan.stuck_after);
    plan.memory = section.size(&MEMORY, report).unwrap_or(plan.memory);
    plan.grace = section.time(&GRACE, report).unwrap_or(plan.grace);
    if let Some(entry) = section.entry(&LOG) {
        plan.log = entry.word(report, &Verbosity::WORDS).unwrap_or(plan.log);
    }
    plan
}
