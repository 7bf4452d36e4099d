//! What can only be checked with all nodes known: clashes, waiting, memory, dead ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::fit;
use super::flow::{Flow, OWN_SPOOL, indexes};
use super::pattern;
use super::plan::{
    BodyPlan, DaemonPlan, InputPlan, Kind, SelectPlan, SourcePlan, SpoolFull, SyslogInPlan,
    TransportPlan, WhenFull,
};
use super::report::{Report, Span};
use super::section::Section;
use super::units::show_size;
use crate::limits;
use crate::output::name::Values;

/// Runs every check.
pub(super) fn all(
    flow: &Flow<'_>,
    daemon: (&DaemonPlan, Option<&Section<'_>>),
    report: &mut Report<'_>,
) {
    count(flow, report);
    udp_addresses(flow, report);
    listeners(flow, report);
    unix_sockets(flow, report);
    stdins(flow, report);
    fifos(flow, report);
    files(flow, report);
    stdouts(flow, report);
    spools(flow, report);
    waiting(flow, report);
    answered(flow, report);
    memory(flow, daemon, report);
    fit::lines(flow, daemon.0, report);
    // In a flow with errors these would tell of what a wrong `from` left behind.
    if !report.has_errors() {
        unused(flow, report);
        unspooled(flow, report);
        dead(flow, report);
    }
}

/// For how many inputs an `{input}` is tried, so that the check of a large flow stays quick.
const INPUTS_RENDERED: usize = 100;

fn count(flow: &Flow<'_>, report: &mut Report<'_>) {
    if indexes(&flow.drafts, Kind::Input).is_empty() {
        report.error_whole("there is no input", "as in [input.squid] with udp = \"0.0.0.0:8420\"");
    }
    // A spool keeps lines for whoever replays them.
    let ends = [Kind::Output, Kind::Spool];
    if ends.iter().all(|kind| indexes(&flow.drafts, *kind).is_empty()) {
        report.error_whole(
            "there is no output",
            "as in [output.all] with file = \"/var/log/all.log\"",
        );
    }
}

fn inputs<'f>(flow: &'f Flow<'_>) -> impl Iterator<Item = (usize, &'f InputPlan)> {
    flow.drafts.iter().enumerate().filter_map(|(node, draft)| match &draft.body {
        Some(BodyPlan::Input(input)) => Some((node, input)),
        _ => None,
    })
}

/// Says at the later of two nodes that it wants what the earlier has.
fn clash(
    flow: &Flow<'_>,
    (first, later): (usize, usize),
    key: &str,
    what: &str,
    report: &mut Report<'_>,
) {
    let other = &flow.drafts[first].section;
    let section = &flow.drafts[later].section;
    // The other may have it by another way of coming in.
    let has = |key: &&str| other.get(key).is_some();
    let other_key = [key, "udp", "syslog", "relp"].into_iter().find(has).unwrap_or(key);
    let line = report.line(other.place(other_key));
    let message = format!("{what} by [{}] on line {line}", other.path);
    report.error(section.place(key), &format!("{}.{key}", section.path), message);
}

/// Reports every item that an earlier node has too.
fn twins<K: Eq + Hash>(
    flow: &Flow<'_>,
    items: impl Iterator<Item = (usize, K)>,
    key: &str,
    what: &str,
    report: &mut Report<'_>,
) {
    let mut firsts = HashMap::new();
    for (node, item) in items {
        let first = *firsts.entry(item).or_insert(node);
        if first != node {
            clash(flow, (first, node), key, what, report);
        }
    }
}

fn udp_addresses(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut ports: HashMap<(u16, bool), Vec<(usize, SocketAddr)>> = HashMap::new();
    for (node, input) in inputs(flow) {
        let Some(udp) = input.source.udp() else { continue };
        let address = udp.address;
        // Port 0 asks for any free port, which is another one each time.
        if address.port() == 0 {
            continue;
        }
        let others = ports.entry((address.port(), address.is_ipv4())).or_default();
        let taken = others.iter().find(|(_, other)| {
            *other == address || other.ip().is_unspecified() || address.ip().is_unspecified()
        });
        if let Some((first, other)) = taken {
            let key = if flow.drafts[node].section.get("udp").is_some() { "udp" } else { "syslog" };
            clash(flow, (*first, node), key, &format!("{other} is bound"), report);
        }
        others.push((node, address));
    }
}

/// Two inputs that take connections on one port.
fn listeners(flow: &Flow<'_>, report: &mut Report<'_>) {
    let addresses = inputs(flow).filter_map(|(node, input)| {
        let address = input.source.listens_on().filter(|address| address.port() != 0)?;
        Some((node, address))
    });
    let key = |node: usize| match flow.drafts[node].section.get("relp") {
        Some(_) => "relp",
        None => "syslog",
    };
    let mut firsts: Vec<(usize, SocketAddr)> = Vec::new();
    for (node, address) in addresses {
        let clashes = |other: &SocketAddr| {
            let all = other.ip().is_unspecified() || address.ip().is_unspecified();
            let same_family = other.is_ipv4() == address.is_ipv4();
            *other == address || other.port() == address.port() && all && same_family
        };
        if let Some((first, other)) = firsts.iter().find(|(_, other)| clashes(other)) {
            clash(flow, (*first, node), key(node), &format!("{other} is bound"), report);
        }
        firsts.push((node, address));
    }
}

/// Two inputs on one Unix socket.
fn unix_sockets(flow: &Flow<'_>, report: &mut Report<'_>) {
    let paths = inputs(flow).filter_map(|(node, input)| match &input.source {
        SourcePlan::Syslog(SyslogInPlan { transport: TransportPlan::Unix(unix), .. }) => {
            Some((node, tidy(&unix.path)))
        }
        _ => None,
    });
    twins(flow, paths, "syslog", "this socket is bound", report);
}

fn stdins(flow: &Flow<'_>, report: &mut Report<'_>) {
    let stdins = inputs(flow).filter(|(_, input)| input.source == SourcePlan::Stdin);
    twins(flow, stdins.map(|(node, _)| (node, ())), "stdin", "standard input is read", report);
}

fn fifos(flow: &Flow<'_>, report: &mut Report<'_>) {
    let fifos = inputs(flow).filter_map(|(node, input)| match &input.source {
        SourcePlan::Fifo(path) => Some((node, tidy(path))),
        _ => None,
    });
    twins(flow, fifos, "fifo", "this FIFO is read", report);
}

/// A path without `.` and doubled `/`.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// Two file outputs clash when both would write one name at the same time: every
/// template is rendered at one instant, for each input that reaches it.
fn files(flow: &Flow<'_>, report: &mut Report<'_>) {
    // An instant no two of whose parts are equal: 2031-11-23 04:56:37 UTC.
    let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_953_176_197);
    let mut firsts: HashMap<PathBuf, usize> = HashMap::new();
    for (node, draft) in flow.drafts.iter().enumerate() {
        let Some(BodyPlan::File(file)) = &draft.body else { continue };
        let names = match file.path.as_str().contains("{input}") {
            true => flow.inputs_behind(node, INPUTS_RENDERED),
            false => vec![""],
        };
        let mut clashes = Vec::new();
        for name in names {
            // A field can be anything: it stands for itself.
            let fields = file.path.fields().iter().map(|field| format!("{{{field}}}").into_bytes());
            let values = Values { input: name.into(), fields: fields.collect() };
            let first = *firsts.entry(tidy(&file.path.render(when, &values))).or_insert(node);
            if first != node {
                clashes.push(first);
            }
        }
        if let Some(first) = clashes.into_iter().min() {
            clash(flow, (first, node), "file", "this file is written", report);
        }
    }
}

fn stdouts(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut first: Option<&Section<'_>> = None;
    for draft in &flow.drafts {
        let Some(BodyPlan::Stdout(_)) = draft.body else { continue };
        match first {
            None => first = Some(&draft.section),
            Some(other) => {
                let message = format!("[{}] writes to standard output too", other.path);
                let section = &draft.section;
                report.warn(section.place("stdout"), &format!("{}.stdout", section.path), message);
            }
        }
    }
}

/// What takes from a spool, and what a spool takes from; and two spools in one folder.
fn spools(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut firsts: HashMap<PathBuf, usize> = HashMap::new();
    for (node, draft) in flow.drafts.iter().enumerate() {
        let spool = match &draft.body {
            Some(BodyPlan::Spool(spool)) => Some((spool, "dir")),
            _ => draft.own_spool.as_ref().map(|spool| (spool, "spool")),
        };
        if let Some((spool, key)) = spool {
            let first = *firsts.entry(tidy(&spool.dir)).or_insert(node);
            if first != node {
                let place = draft.section.place(key);
                let other = &flow.drafts[first].section.path;
                let message = format!("[{other}] has its spool in this folder");
                report.error(place, &format!("{}.{key}", draft.section.path), message);
            }
        }
        if draft.own_spool.is_some() {
            let own = format!("{}{OWN_SPOOL}", draft.name);
            if flow.drafts.iter().any(|other| other.name == own) {
                let message =
                    format!("the spool of this output is called `{own}`, and so is a node");
                report.error(draft.section.place("spool"), &draft.section.path, message);
            }
        }
        takes_from_spool(flow, node, report);
    }
}

fn takes_from_spool(flow: &Flow<'_>, node: usize, report: &mut Report<'_>) {
    let draft = &flow.drafts[node];
    let is_spool = |&&before: &&usize| flow.drafts[before].kind == Kind::Spool;
    let Some(&spool) = flow.from[node].iter().find(is_spool) else { return };
    let spool = flow.drafts[spool].name;
    let (place, path) = (draft.section.place("from"), format!("{}.from", draft.section.path));
    let message = if draft.kind != Kind::Output {
        format!("`{spool}` is a spool, and only outputs take from a spool")
    } else if flow.from[node].len() > 1 {
        format!("an output that takes from a spool takes from nothing else (`{spool}` is one)")
    } else if draft.own_spool.is_some() {
        format!("`{spool}` is a spool already: the output needs none of its own")
    } else if matches!(&draft.body, Some(BodyPlan::Pipe(pipe)) if pipe.workers > 1) {
        let path = format!("{}.workers", draft.section.path);
        let message = "must be 1 behind a spool, whose lines are passed in order";
        report.error(draft.section.place("workers"), &path, message);
        return;
    } else {
        return;
    };
    report.error(place, &path, message);
}

/// `when_full = "block"` makes the inputs wait, and UDP cannot.
fn waiting(flow: &Flow<'_>, report: &mut Report<'_>) {
    let udp = udp_behind(flow);
    for (node, draft) in flow.drafts.iter().enumerate() {
        let (blocks, key) = match &draft.body {
            Some(BodyPlan::Run(process) | BodyPlan::Pipe(process)) => {
                (process.when_full == WhenFull::Block, "when_full")
            }
            Some(BodyPlan::Spool(spool)) => (spool.when_full == SpoolFull::Block, "when_full"),
            _ => (false, "when_full"),
        };
        let own = draft.own_spool.as_ref().is_some_and(|s| s.when_full == SpoolFull::Block);
        if !blocks && !own {
            continue;
        }
        let key = if own { "spool" } else { key };
        let Some(mut before) = udp[node] else { continue };
        let mut way = vec![draft.name, flow.drafts[before].name];
        while let Some(next) = udp[before].filter(|next| *next != before) {
            way.push(flow.drafts[next].name);
            before = next;
        }
        way.reverse();
        let message = format!(
            "\"block\" makes the inputs wait, but the UDP input `{}` cannot ({})",
            way[0],
            way.join(" → ")
        );
        let help = "what comes meanwhile would be lost in the kernel; use when_full = \"drop\", \
                    which counts, and a larger `queue`";
        let path = format!("{}.{key}", draft.section.path);
        report.error_help(draft.section.place(key), &path, message, help);
    }
}

/// A spool that drops new lines cannot stand behind an input whose clients are told that their
/// lines are on disk.
fn answered(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut behind = vec![false; flow.drafts.len()];
    for (node, input) in inputs(flow) {
        behind[node] = matches!(input.source, SourcePlan::Relp(_));
    }
    for &node in &flow.order {
        behind[node] |= flow.from[node].iter().any(|&before| behind[before]);
        let draft = &flow.drafts[node];
        let (spool, key) = match &draft.body {
            Some(BodyPlan::Spool(spool)) => (Some(spool), "when_full"),
            _ => (draft.own_spool.as_ref(), "spool"),
        };
        let drops = spool.is_some_and(|spool| spool.when_full == SpoolFull::DropNewest);
        if drops && behind[node] {
            let message = "\"drop-newest\" would drop lines that a RELP client is told are on disk";
            let help = "use \"block\", or \"drop-oldest\"";
            let path = format!("{}.{key}", draft.section.path);
            report.error_help(draft.section.place(key), &path, message, help);
        }
    }
}

/// Says where an answer to a client means less than that its lines are on disk.
fn unspooled(flow: &Flow<'_>, report: &mut Report<'_>) {
    for (node, input) in inputs(flow) {
        let SourcePlan::Relp(_) = input.source else { continue };
        let mut reached = vec![false; flow.drafts.len()];
        reached[node] = true;
        for &at in &flow.order {
            reached[at] |= flow.from[at].iter().any(|&before| reached[before]);
        }
        let spooled = flow.drafts.iter().zip(&reached).any(|(draft, reached)| {
            *reached && (draft.kind == Kind::Spool || draft.own_spool.is_some())
        });
        if !spooled {
            let section = &flow.drafts[node].section;
            let message = "there is no spool behind this input: its lines are acknowledged once \
                           they are handed to every output, on disk or not";
            report.warn(section.place("relp"), &format!("{}.relp", section.path), message);
        }
    }
}

/// For each node that lines of a UDP input come to, the next node on the way back to
/// that input; the input is its own.
fn udp_behind(flow: &Flow<'_>) -> Vec<Option<usize>> {
    let mut behind = vec![None; flow.drafts.len()];
    for (node, input) in inputs(flow) {
        if input.source.udp().is_some() {
            behind[node] = Some(node);
        }
    }
    for &node in &flow.order {
        if behind[node].is_none() {
            behind[node] = flow.from[node].iter().copied().find(|&before| behind[before].is_some());
        }
    }
    behind
}

/// How large the queue before a node may grow, if it has one.
pub(super) fn queue(body: &BodyPlan) -> Option<u64> {
    match body {
        BodyPlan::Input(_) | BodyPlan::Pass => None,
        BodyPlan::Run(process) | BodyPlan::Pipe(process) => Some(process.queue),
        BodyPlan::File(file) => Some(file.queue),
        BodyPlan::Udp(udp) => Some(udp.queue),
        BodyPlan::Stdout(stdout) => Some(stdout.queue),
        BodyPlan::Forward(forward) => Some(forward.queue),
        BodyPlan::Spool(spool) => Some(spool.queue),
    }
}

fn memory(
    flow: &Flow<'_>,
    (daemon, section): (&DaemonPlan, Option<&Section<'_>>),
    report: &mut Report<'_>,
) {
    let bodies = flow.drafts.iter().filter_map(|draft| draft.body.as_ref());
    let queues = bodies.filter_map(queue).count() as u64;
    let needed = queues * limits::QUEUE_LEAST * 2;
    let have = show_size(daemon.memory);
    if daemon.memory < needed {
        let message = format!("{have} are too little for {queues} queues");
        let help = format!("set daemon.memory to {} or more", show_size(needed));
        match section.and_then(|section| section.get("memory")) {
            Some(entry) => entry.wrong_help(report, message, help),
            None => report.error_whole(message, help),
        }
    }
    for draft in &flow.drafts {
        let Some(queue) = draft.body.as_ref().and_then(queue) else { continue };
        if let Some(entry) = draft.section.get("queue")
            && queue > daemon.memory
        {
            let message = format!("can never be this full: daemon.memory is {have}");
            report.warn(&entry.span, entry.path(), message);
        }
    }
}

fn unused(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut taken = vec![false; flow.drafts.len()];
    for &node in flow.from.iter().flatten() {
        taken[node] = true;
    }
    for (node, draft) in flow.drafts.iter().enumerate() {
        if draft.kind != Kind::Output && !taken[node] {
            let message = match draft.kind {
                Kind::Spool => "nothing reads this spool: its lines are kept for replay, until \
                                `max_age` or `max_size` drops them"
                    .into(),
                kind => format!("nothing takes from this {}", kind.word()),
            };
            report.warn(&draft.section.span, &draft.section.path, message);
        }
    }
}

/// Says which nodes can never get or give a line.
fn dead(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut dead = vec![false; flow.drafts.len()];
    for &node in &flow.order {
        let draft = &flow.drafts[node];
        let from = &flow.from[node];
        let starved = !from.is_empty() && from.iter().all(|&before| dead[before]);
        let why = selects_nothing(&draft.select);
        dead[node] = starved || why.is_some();
        if let Some((key, why)) = why {
            let place: &Span = draft.section.place(key);
            report.warn(place, &format!("{}.{key}", draft.section.path), why);
        } else if starved && draft.kind == Kind::Output {
            let message = "no line can ever reach this output";
            report.warn(&draft.section.span, &draft.section.path, message);
        }
    }
}

fn selects_nothing(select: &SelectPlan) -> Option<(&'static str, &'static str)> {
    if select.matches.as_deref().is_some_and(pattern::finds_nothing) {
        return Some(("match", "this regex matches no line at all"));
    }
    let reject = select.reject.as_deref()?;
    if pattern::finds_all(reject) {
        return Some(("reject", "this regex matches every line, so no line passes"));
    }
    let both = select.matches.as_deref() == Some(reject);
    both.then_some(("reject", "rejects just what `match` selects, so no line passes"))
}
