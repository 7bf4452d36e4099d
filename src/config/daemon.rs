//! `[daemon]`

use std::path::PathBuf;
use std::time::Duration;

use super::plan::{DaemonPlan, MetricsAt, MetricsPlan};
use crate::limits;
use crate::logger::Verbosity;
use crate::proto::shared::datagrams::address;
use crate::settings::key::{Key, PATH, Value, words};
use crate::settings::{Entry, Report, Section};

/// The path of the control socket unless configured otherwise.
pub const CONTROL_DEFAULT: &str = "/run/logweir/control.sock";

/// The keys of `[daemon]`.
pub(super) const KEYS: &[Key] =
    &[CONTROL, METRICS, METRICS_TOKEN, STATE, STUCK_AFTER, MEMORY, GRACE, LOG];

const CONTROL: Key = Key::or(
    "control",
    PATH,
    "\"/run/logweir/control.sock\"",
    "Path of the socket for logweir top, tap and ctl.",
);
const METRICS: Key = Key::or_else(
    "metrics",
    Value::Text("IP address and port, or unix:// and a path", r"^(unix:///\S+|\S+:[0-9]+)$"),
    "none",
    "Where the page, /metrics and /healthz are served over HTTP.",
);
const METRICS_TOKEN: Key = Key::or_else(
    "metrics_token",
    PATH,
    "none: anyone who can connect may read",
    "The file whose first line is the token that clients of `metrics` must show.",
);
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
    "A node whose queue has released nothing for this long is stuck, and /healthz reports it.",
);
const MEMORY: Key = Key::or(
    "memory",
    Value::Size(limits::MEMORY_MIN..=u64::MAX),
    "\"64MiB\"",
    "The memory budget shared by all queues.",
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
    "The log level; each level includes everything more severe.",
);

/// Reads the `[daemon]` table, which may be absent.
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
    let at = section.entry(&METRICS).and_then(|entry| metrics_at(entry, report));
    let token = section.system_text(&METRICS_TOKEN, report).map(PathBuf::from);
    if let Some(entry) = section.entry(&METRICS_TOKEN)
        && section.entry(&METRICS).is_none()
    {
        entry.misplaced(report, "needs `metrics`: there is nothing to close without it");
    }
    plan.metrics = at.map(|at| MetricsPlan { at, token });
    plan.state = section.system_text(&STATE, report).map(PathBuf::from);
    plan.stuck_after = section.time(&STUCK_AFTER, report).unwrap_or(plan.stuck_after);
    plan.memory = section.size(&MEMORY, report).unwrap_or(plan.memory);
    plan.grace = section.time(&GRACE, report).unwrap_or(plan.grace);
    if let Some(entry) = section.entry(&LOG) {
        plan.log = entry.word(report, &Verbosity::WORDS).unwrap_or(plan.log);
    }
    plan
}

/// Reads an address, or `unix://` and a path.
fn metrics_at(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<MetricsAt> {
    let Some(path) = entry.as_str().and_then(|text| text.strip_prefix("unix://")) else {
        return address(entry, report).map(MetricsAt::Tcp);
    };
    let max = limits::SOCKET_PATH_MAX;
    if !path.starts_with('/') || path.contains('\0') {
        let help = "as in unix:///run/logweir/metrics.sock";
        entry.wrong_help(report, "is not a whole path", help);
        return None;
    }
    if path.len() > max {
        entry.wrong(report, format!("a socket's path can have {max} bytes at most"));
        return None;
    }
    Some(MetricsAt::Unix(PathBuf::from(path)))
}
