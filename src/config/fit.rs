//! Lines that are longer than a queue on their way: such a line is dropped whenever it comes.

use super::checks;
use super::flow::Flow;
use super::plan::{BodyPlan, DaemonPlan, Kind, SpoolFull, WhenFull};
use crate::limits;
use crate::output::budget::Budget;
use crate::settings::Report;
use crate::settings::units::show_size;

/// The longest line that comes to a node, from which node, and whether it is acknowledged.
#[derive(Clone, Copy)]
struct Longest {
    bytes: u64,
    from: usize,
    acknowledged: bool,
}

/// Warns about queues too small for the longest line they can receive.
pub(super) fn lines(flow: &Flow<'_>, daemon: &DaemonPlan, report: &mut Report<'_>) {
    let bodies = flow.drafts.iter().filter_map(|draft| draft.body.as_ref());
    let queues = bodies.filter_map(BodyPlan::queue).count();
    // A line is paid for by the queue's share, or by what there is to borrow when all others are
    // empty.
    let share = Budget::share(daemon.memory, queues);
    let memory = Budget::common(daemon.memory).max(share);
    let mut longest: Vec<Option<Longest>> = vec![None; flow.drafts.len()];
    for &node in &flow.order {
        let before = flow.from[node].iter().filter_map(|&before| longest[before]);
        let comes = before.max_by_key(|longest| longest.bytes);
        longest[node] = leaves(flow, node).or(comes);
        let Some(comes) = comes else { continue };
        let Some(room) = room(flow, node, comes.acknowledged) else { continue };
        let room = room.min(memory).saturating_sub(limits::BATCH_OVERHEAD);
        // The newline takes a byte.
        if comes.bytes >= room {
            warn(flow, node, comes, room, report);
        }
    }
}

fn warn(flow: &Flow<'_>, node: usize, comes: Longest, room: u64, report: &mut Report<'_>) {
    let section = &flow.drafts[node].section;
    let (place, path) = match section.get("queue") {
        Some(entry) => (&entry.span, entry.path()),
        None => (&section.span, section.path.as_str()),
    };
    let message = format!(
        "lines of `{}` may be {} long, and one of {} or more never fits into the queue before \
         this: it is always dropped",
        flow.drafts[comes.from].name,
        show_size(comes.bytes),
        show_size(room)
    );
    report.warn(place, path, message);
}

/// The longest line that a node makes itself.
fn leaves(flow: &Flow<'_>, node: usize) -> Option<Longest> {
    let (max_line, acknowledged) = match flow.drafts[node].body.as_ref()? {
        BodyPlan::Input(input) => {
            let nature = input.source.nature();
            let longest = nature.longest_line.unwrap_or(usize::MAX);
            (input.max_line.min(longest), nature.acknowledged)
        }
        BodyPlan::Run(process) => (process.max_line, false),
        _ => return None,
    };
    Some(Longest { bytes: max_line as u64, from: node, acknowledged })
}

/// How much the queue before a node takes in, where it drops what does not fit: one that makes
/// others wait takes in a line of any length.
fn room(flow: &Flow<'_>, node: usize, acknowledged: bool) -> Option<u64> {
    let draft = &flow.drafts[node];
    let body = draft.body.as_ref()?;
    if let Some((spool, _)) = checks::spool(draft) {
        let waits = acknowledged || spool.when_full == SpoolFull::Block;
        return (!waits).then_some(spool.queue);
    }
    let from_spool = flow.from[node].iter().any(|&from| flow.drafts[from].kind == Kind::Spool);
    match body.process() {
        // What is in a spool waits there.
        _ if from_spool => None,
        Some(process) => match process.when_full {
            WhenFull::Drop => Some(process.queue / u64::from(process.workers)),
            WhenFull::Block => None,
        },
        None => body.queue(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// The nodes that are warned of, with the length that no longer fits.
    fn warned(text: &str) -> Vec<String> {
        let checked = parse(text, "t").unwrap_or_else(|refusal| panic!("{refusal}"));
        let said = checked.warnings.iter().filter(|found| found.message.contains("never fits"));
        said.map(|found| {
            let from = found.message.split('`').nth(1).unwrap();
            let least = found.message.split(" or more").next().unwrap();
            format!("{} {from} {}", found.key, least.rsplit(' ').next().unwrap())
        })
        .collect()
    }

    #[test]
    fn the_longest_line_is_that_of_the_nearest_that_makes_lines() {
        const FLOW: &str = "[input.u]\nudp = \"[::]:1\"\nmax_line = \"16MiB\"\n\
            [input.s]\nstdin = true\nmax_line = \"10MiB\"\n\
            [filter.short]\nfrom = \"s\"\nrun = \"cut\"\nmax_line = \"1KiB\"\n";
        for (output, want) in [
            // A datagram is never longer, whatever the key says.
            ("from = \"u\"\nfile = \"/o\"\nqueue = \"65KiB\"", &[][..]),
            ("from = \"u\"\nfile = \"/o\"\nqueue = \"63KiB\"", &["output.o.queue u 64416B"]),
            ("file = \"/o\"\nqueue = \"10MiB\"", &["output.o.queue s 10485664B"]),
            ("file = \"/o\"\nqueue = \"11MiB\"", &[]),
            ("from = \"short\"\nfile = \"/o\"\nqueue = \"4KiB\"", &[]),
            // The queue is dealt out to the workers.
            ("pipe = \"x\"\nworkers = 4\nqueue = \"40MiB\"", &["output.o.queue s 10485664B"]),
            ("pipe = \"x\"\nworkers = 4\nqueue = \"44MiB\"", &[]),
        ] {
            let found = warned(&format!("{FLOW}[output.o]\n{output}\n"));
            let found: Vec<_> = found.iter().filter(|said| said.starts_with("output")).collect();
            assert_eq!(found, want, "{output}");
        }
        // By its default, and by the memory that there is.
        let by_memory = ["filter.f s 786336B", "output.o f 786336B"];
        assert_eq!(warned(&format!("[daemon]\nmemory = \"1MiB\"\n{PLAIN}")), by_memory);
        assert_eq!(warned(PLAIN), ["filter.f s 8388512B"]);
    }

    const PLAIN: &str = "[input.s]\nstdin = true\nmax_line = \"10MiB\"\n\
        [filter.f]\nrun = \"cat\"\nmax_line = \"1MiB\"\n[output.o]\nfrom = \"f\"\nfile = \"/o\"\n";

    #[test]
    fn a_queue_that_makes_others_wait_takes_a_line_of_any_length() {
        let spool = |input: &str, more: &str| {
            warned(&format!(
                "[input.i]\n{input}\n[spool.s]\ndir = \"/s\"\nqueue = \"1MiB\"\n{more}\n\
                 [output.o]\nfrom = \"s\"\nfile = \"/o\"\nqueue = \"1MiB\"\n"
            ))
        };
        let stdin = "stdin = true\nmax_line = \"2MiB\"";
        assert_eq!(spool(stdin, ""), ["spool.s.queue i 1048480B"]);
        assert_eq!(spool(stdin, "when_full = \"block\""), [""; 0]);
        assert_eq!(spool("relp = \"[::]:1\"\nmax_message = \"2MiB\"", ""), [""; 0]);
        let pipe = |more: &str| {
            warned(&format!(
                "[input.i]\n{stdin}\n[output.o]\npipe = \"x\"\nqueue = \"1MiB\"\n{more}\n"
            ))
        };
        assert_eq!(pipe(""), ["output.o.queue i 1048480B"]);
        assert_eq!(pipe("when_full = \"block\""), [""; 0]);
    }
}
