//! The keys of a process: a filter's `run` and an output's `pipe`.

use std::time::Duration;

use crate::format::plan::FormatPlan;
use crate::limits;
use crate::settings::key::words;
use crate::settings::units::show_time;
use crate::settings::{Key, Report, Section, Value};

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// New lines are dropped and counted.
    Drop,
    /// The inputs upstream of it wait.
    Block,
}

/// A child process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Run by `/bin/sh -c`.
    pub command: String,
    /// The number of copies that lines are distributed over; at least 1.
    pub workers: u16,
    /// The bound of the queue before it, in bytes, for all workers together.
    pub queue: u64,
    /// What happens when that queue is full.
    pub when_full: WhenFull,
    /// The first and the longest wait before a restart.
    pub restart: (Duration, Duration),
    /// How long each step of the stop sequence waits.
    pub stop_grace: Duration,
    /// The maximum length of a line it prints (`run` only).
    pub max_line: usize,
    /// True if it is to believe that its output is a terminal (`run` only).
    pub unbuffered: bool,
    /// The format of its lines (`pipe` only).
    pub format: FormatPlan,
    /// Its restrictions.
    pub confine: ConfinePlan,
}

impl ProcessPlan {
    /// Describes it on one line, beginning with the key of its command.
    pub fn describe_as(&self, key: &str) -> String {
        let times = if self.workers > 1 { format!(" ×{}", self.workers) } else { String::new() };
        format!("{key}{times} \"{}\"", self.command)
    }
}

/// The restrictions of a child process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfinePlan {
    /// The user it runs as; `None` for the daemon's user.
    pub user: Option<String>,
    /// Its nice value, from 0 to 19 (nice(2)).
    pub nice: u8,
    /// The maximum memory it may map, in bytes.
    pub memory: Option<u64>,
    /// The processor time after which it is killed, in seconds.
    pub cpu: Option<u64>,
    /// The maximum number of open files.
    pub files: Option<u64>,
    /// True if programs it runs may gain privileges (setuid).
    pub may_gain_privileges: bool,
}

/// The keys of every process.
pub const KEYS: &[Key] = &[WORKERS, QUEUE, WHEN_FULL, RESTART, STOP_GRACE, USER, NICE, LIMITS];

/// The keys of a process whose output is read.
pub const PRINTS: &[Key] = &[UNBUFFERED];

const UNBUFFERED: Key = Key::or(
    "unbuffered",
    Value::Bool,
    "false",
    "The process prints to a terminal of its own, so that it does not keep lines back.",
);

const WORKERS: Key = Key::or(
    "workers",
    Value::Integer(1..=limits::WORKERS_MAX as u64),
    "1",
    "The number of copies of the process that lines are distributed over.",
);

const QUEUE: Key = Key::or(
    "queue",
    Value::Size(limits::QUEUE_MIN..=u64::MAX),
    "\"8MiB\"",
    "The bound of the queue before the process, of all its workers together.",
);

const WHEN_FULL_WORDS: [(&str, WhenFull); 2] =
    [("drop", WhenFull::Drop), ("block", WhenFull::Block)];
const WHEN_FULL_NAMES: [&str; 2] = words(&WHEN_FULL_WORDS);
const WHEN_FULL: Key = Key::or(
    "when_full",
    Value::Words(&WHEN_FULL_NAMES),
    "\"drop\"",
    "What happens when the queue is full: new lines are dropped and counted, or the inputs wait.",
);

const RESTART: Key = Key::or(
    "restart",
    Value::TwoTimes,
    "[\"1s\", \"60s\"]",
    "The first and the longest wait before a process that ended is started again.",
);

const STOP_GRACE: Key = Key::or(
    "stop_grace",
    Value::Time(Duration::ZERO),
    "\"5s\"",
    "The time between the steps in which a process is stopped.",
);

const USER: Key = Key::or_else(
    "user",
    Value::Text("Name", r"\S"),
    "the daemon's user",
    "The user that the process runs as, with that user's groups.",
);

const NICE: Key = Key::or("nice", Value::Integer(0..=19), "0", "The process's nice value.");

const LIMITS: Key = Key::or_else(
    "limits",
    Value::Table(LIMIT_KEYS),
    "the daemon's own",
    "Resource limits of the process.",
);

const LIMIT_KEYS: &[Key] = &[MEMORY, CPU, FILES];

const MEMORY: Key = Key::new(
    "memory",
    Value::Size(limits::CHILD_MEMORY_MIN..=u64::MAX),
    "The memory that the process may map.",
);

const CPU: Key = Key::new(
    "cpu",
    Value::Time(Duration::ZERO),
    "The processor time after which the process is ended, and started again.",
);

const FILES: Key = Key::new(
    "files",
    Value::Integer(limits::CHILD_FILES_MIN..=u64::MAX),
    "The files that the process may have open.",
);

/// Reads whether a process whose output is read prints to a terminal.
pub fn unbuffered(section: &Section<'_>, report: &mut Report<'_>) -> bool {
    section.boolean(&UNBUFFERED, report).unwrap_or(false)
}

/// Reads the process whose command is the value of `key`; the caller reads its format or its
/// maximum line length.
pub fn read(section: &Section<'_>, key: &Key, report: &mut Report<'_>) -> Option<ProcessPlan> {
    let command = section.system_text(key, report);
    let mut plan = defaults(String::new());
    plan.workers = section.integer(&WORKERS, report).unwrap_or(plan.workers);
    plan.queue = section.size(&QUEUE, report).unwrap_or(plan.queue);
    let when_full = section.word(&WHEN_FULL, &WHEN_FULL_WORDS, report);
    plan.when_full = when_full.unwrap_or(plan.when_full);
    plan.restart = restart(section, report).unwrap_or(plan.restart);
    plan.stop_grace = section.time(&STOP_GRACE, report).unwrap_or(plan.stop_grace);
    plan.confine = confine(section, report);
    plan.command = command?.into();
    Some(plan)
}

fn restart(section: &Section<'_>, report: &mut Report<'_>) -> Option<(Duration, Duration)> {
    let entry = section.entry(&RESTART)?;
    let (first, longest) = entry.two_times(report)?;
    let problem = if first > longest {
        let (first, longest) = (show_time(first), show_time(longest));
        format!("the first wait, {first}, is longer than the longest, {longest}")
    } else if first < limits::RESTART_MIN {
        format!("the first wait must be at least {}", show_time(limits::RESTART_MIN))
    } else {
        return Some((first, longest));
    };
    entry.wrong(report, problem);
    None
}

/// `user`, `nice` and `limits`.
fn confine(section: &Section<'_>, report: &mut Report<'_>) -> ConfinePlan {
    let mut plan = ConfinePlan {
        user: section.system_text(&USER, report).map(str::to_string),
        nice: section.integer(&NICE, report).unwrap_or(0),
        ..ConfinePlan::default()
    };
    let expected = ", as in limits = { memory = \"256MiB\", files = 64 }";
    let limits = section.entry(&LIMITS);
    let Some(limits) = limits.and_then(|entry| entry.section(LIMIT_KEYS, expected, report)) else {
        return plan;
    };
    plan.memory = limits.size(&MEMORY, report);
    plan.cpu = limits.time(&CPU, report).map(|time| time.as_secs().max(1));
    plan.files = limits.integer(&FILES, report);
    plan
}

/// A process with a command and defaults for everything else.
pub fn defaults(command: String) -> ProcessPlan {
    ProcessPlan {
        command,
        workers: 1,
        queue: limits::QUEUE_DEFAULT,
        when_full: WhenFull::Drop,
        restart: limits::RESTART_DEFAULT,
        stop_grace: limits::STOP_GRACE_DEFAULT,
        max_line: limits::LINE_LENGTH_DEFAULT,
        unbuffered: false,
        format: FormatPlan::default(),
        confine: ConfinePlan::default(),
    }
}
