//! The keys of processes, `run` and `pipe` alike.

use super::format;
use super::plan::{ConfinePlan, FormatPlan, ProcessPlan, WhenFull};
use super::report::{Report, nearest};
use super::section::Section;
use super::units::show_time;
use crate::limits;

/// Reads the process whose command stands under `key`.
pub(super) fn read(
    section: &Section<'_>,
    key: &str,
    report: &mut Report<'_>,
) -> Option<ProcessPlan> {
    let command = section.get(key)?.system_text(report);
    let mut plan = defaults(String::new());
    if let Some(entry) = section.get("workers") {
        let workers = entry.integer(report, 1..=limits::WORKERS_MOST.into());
        plan.workers = workers.and_then(|n| u16::try_from(n).ok()).unwrap_or(plan.workers);
    }
    plan.queue = queue(section, limits::QUEUE_DEFAULT, report);
    if let Some(entry) = section.get("when_full") {
        let words = [("drop", WhenFull::Drop), ("block", WhenFull::Block)];
        plan.when_full = entry.word(report, &words).unwrap_or(plan.when_full);
    }
    if let Some(entry) = section.get("restart")
        && let Some((first, longest)) = entry.two_times(report)
    {
        if first > longest {
            let (first, longest) = (show_time(first), show_time(longest));
            entry.wrong(
                report,
                format!("the first wait, {first}, is longer than the longest, {longest}"),
            );
        } else if first < limits::RESTART_LEAST {
            let least = show_time(limits::RESTART_LEAST);
            entry.wrong(report, format!("the first wait must be at least {least}"));
        } else {
            plan.restart = (first, longest);
        }
    }
    if let Some(entry) = section.get("stop_grace") {
        plan.stop_grace = entry.time(report).unwrap_or(plan.stop_grace);
    }
    match key {
        "run" => plan.max_line = max_line(section, report),
        _ => plan.format = format::read(section, report)?,
    }
    plan.confine = confine(section, report);
    plan.command = command?.into();
    Some(plan)
}

/// `user`, `nice` and `limits`.
fn confine(section: &Section<'_>, report: &mut Report<'_>) -> ConfinePlan {
    let user = section.get("user").and_then(|entry| entry.system_text(report));
    let nice = section.get("nice").and_then(|entry| entry.integer(report, 0..=19));
    let mut plan = ConfinePlan {
        user: user.map(str::to_string),
        nice: nice.and_then(|nice| u8::try_from(nice).ok()).unwrap_or(0),
        ..ConfinePlan::default()
    };
    let Some(entry) = section.get("limits") else { return plan };
    let Some(table) = entry.table() else {
        entry.wrong(report, "expected a table, as in limits = { memory = \"256MiB\", files = 64 }");
        return plan;
    };
    let names = ["memory", "cpu", "files"];
    let limits = Section::new(entry.path().into(), entry.span.clone(), table);
    for entry in limits.entries.iter().filter(|entry| !names.contains(&entry.key)) {
        let help =
            nearest(entry.key, names).unwrap_or_else(|| "there are: memory, cpu, files".into());
        entry.misplaced(report, "unknown key", Some(help));
    }
    let memory = limits::CHILD_MEMORY_LEAST..=u64::MAX;
    plan.memory = limits.get("memory").and_then(|entry| entry.size(report, memory));
    plan.cpu =
        limits.get("cpu").and_then(|entry| entry.time(report)).map(|time| time.as_secs().max(1));
    let files = limits::CHILD_FILES_LEAST..=u64::MAX;
    plan.files = limits.get("files").and_then(|entry| entry.integer(report, files));
    plan
}

/// A process with nothing but a command.
pub(super) fn defaults(command: String) -> ProcessPlan {
    ProcessPlan {
        command,
        workers: 1,
        queue: limits::QUEUE_DEFAULT,
        when_full: WhenFull::Drop,
        restart: limits::RESTART_DEFAULT,
        stop_grace: limits::STOP_GRACE_DEFAULT,
        max_line: limits::LINE_MAX_DEFAULT,
        format: FormatPlan::default(),
        confine: ConfinePlan::default(),
    }
}

/// The `queue` key.
pub(super) fn queue(section: &Section<'_>, default: u64, report: &mut Report<'_>) -> u64 {
    let entry = section.get("queue");
    entry.and_then(|entry| entry.size(report, limits::QUEUE_LEAST..=u64::MAX)).unwrap_or(default)
}

/// The `max_line` key.
pub(super) fn max_line(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    let bounds = limits::LINE_MAX_LEAST as u64..=limits::LINE_MAX_MOST as u64;
    let size = section.get("max_line").and_then(|entry| entry.size(report, bounds));
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(limits::LINE_MAX_DEFAULT)
}
