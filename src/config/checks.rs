//! Checks that need all nodes: clashes, waiting, memory, dead ends.

use std::collections::HashMap;
use std::path::{Component, PathBuf};

use super::fit;
use super::flow::{Draft, Flow, OWN_SPOOL, indexes};
use super::keys::Table;
use super::plan::{
    BodyPlan, DaemonPlan, InputPlan, Kind, ProcessPlan, SampleMode, SelectPlan, SpoolFull,
    SpoolPlan, WhenFull,
};
use crate::filter::{patterns, regex};
use crate::limits;
use crate::proto::traits::{Claim, Nature};
use crate::settings::units::show_size;
use crate::settings::{Report, Section, Span};

/// Runs every check.
pub(super) fn all(
    flow: &Flow<'_>,
    daemon: (&DaemonPlan, Option<&Section<'_>>),
    report: &mut Report<'_>,
) {
    count(flow, report);
    clashes(flow, report);
    circles(flow, report);
    spools(flow, report);
    waiting(flow, report);
    acknowledged(flow, report);
    memory(flow, daemon, report);
    fit::lines(flow, daemon.0, report);
    // In a flow with errors, these would only report the effects of a wrong `from`.
    if !report.has_errors() {
        unused(flow, report);
        unspooled(flow, report);
        held(flow, report);
        dead(flow, report);
        patterns(flow, report);
        uncountable(flow, report);
    }
}

/// The number of regex passes over a stream beyond which the user is warned.
const PASSES_MAX: usize = 8;

/// Warns about streams whose regexes are costly, and reports those that cannot be compiled.
fn patterns(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut of_stream: HashMap<usize, Vec<&str>> = HashMap::new();
    for (node, before) in flow.from.iter().enumerate() {
        let select = &flow.drafts[node].select;
        for text in [&select.matches, &select.reject].into_iter().flatten() {
            before.iter().for_each(|from| of_stream.entry(*from).or_default().push(text));
        }
    }
    for (node, draft) in flow.drafts.iter().enumerate() {
        let Some(texts) = of_stream.get(&node) else { continue };
        let (span, path) = (&draft.section.span, &draft.section.path);
        match patterns::cost(texts.iter().copied()) {
            Ok(cost) if cost.passes > PASSES_MAX => drop(report.warn(
                span,
                path,
                format!(
                    "the {} regexes on its lines do not fit into one search: each line is \
                     searched {} times (many words are quicker in one regex with `|`, and \
                     (?-u:\\w) is smaller than \\w)",
                    cost.patterns, cost.passes
                ),
            )),
            Ok(_) => {}
            Err(error) => drop(report.error(span, path, error)),
        }
    }
}

/// The number of inputs for which `{input}` is rendered, so that checking a large flow stays quick.
const INPUTS_RENDERED: usize = 100;

fn count(flow: &Flow<'_>, report: &mut Report<'_>) {
    if indexes(&flow.drafts, Kind::Input).is_empty() {
        report.error_whole("there is no input", "as in [input.squid] with udp = \"0.0.0.0:8420\"");
    }
    // A spool keeps lines for later replay.
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

/// Reports every claim that an earlier node already has.
fn clashes(flow: &Flow<'_>, report: &mut Report<'_>) {
    let mut claims: HashMap<Claim, Vec<(usize, Claim)>> = HashMap::new();
    for (node, draft) in flow.drafts.iter().enumerate() {
        let mut inputs = || {
            let names = flow.inputs_behind(node, INPUTS_RENDERED);
            names.into_iter().map(str::to_string).collect()
        };
        let mut own = draft.body.as_ref().map_or_else(Vec::new, |body| body.claims(&mut inputs));
        own.extend(draft.own_spool.as_ref().map(|spool| Claim::Folder(spool.dir.clone())));
        let own: Vec<_> = own.into_iter().map(tidied).collect();
        let taken = own.iter().filter_map(|claim| {
            let earlier = claims.get(&claim.group())?.iter().find(|(_, one)| one.clashes(claim))?;
            Some((earlier.clone(), claim))
        });
        // If one file has many names, report the first node that has any of them.
        if let Some((earlier, claim)) = taken.min_by_key(|((first, _), _)| *first) {
            clash(flow, (&earlier, (node, claim)), report);
        }
        for claim in own {
            claims.entry(claim.group()).or_default().push((node, claim));
        }
    }
}

/// Reports a clash at the later of two nodes.
fn clash(
    flow: &Flow<'_>,
    ((first, theirs), (later, ours)): (&(usize, Claim), (usize, &Claim)),
    report: &mut Report<'_>,
) {
    let (other, section) = (&flow.drafts[*first].section, &flow.drafts[later].section);
    let (their_key, our_key) = (claiming_key(other, theirs), claiming_key(section, ours));
    let there = other.place(their_key).clone();
    let (place, path) = (section.place(our_key), format!("{}.{our_key}", section.path));
    let message = theirs.taken(&other.path, &report.line(&there, place));
    let finding = match ours.can_be_shared() {
        true => report.warn(place, &path, message),
        false => report.error(place, &path, message),
    };
    finding.label(&there, theirs.label());
}

/// Reports an output that writes a file which an upstream input follows: its lines would loop.
fn circles(flow: &Flow<'_>, report: &mut Report<'_>) {
    let followed: Vec<_> = inputs(flow)
        .flat_map(|(node, input)| input.source.claims().into_iter().map(move |one| (node, one)))
        .filter_map(|(node, claim)| match claim {
            Claim::Followed(meant) => Some((node, meant)),
            _ => None,
        })
        .collect();
    if followed.is_empty() {
        return;
    }
    for (node, draft) in flow.drafts.iter().enumerate() {
        let names = flow.inputs_behind(node, usize::MAX);
        let mut inputs = || names.iter().take(INPUTS_RENDERED).map(ToString::to_string).collect();
        let claims = draft.body.as_ref().map_or_else(Vec::new, |body| body.claims(&mut inputs));
        let circle = claims.iter().find_map(|claim| {
            let Claim::File(path) = claim else { return None };
            let mut before =
                followed.iter().filter(|(input, _)| names.contains(&flow.drafts[*input].name));
            before.find(|(_, meant)| meant.has(path)).map(|(input, _)| *input)
        });
        if let Some(input) = circle {
            let (key, other) = (own_key(&draft.section), &flow.drafts[input].section);
            let path = format!("{}.{key}", draft.section.path);
            let message = format!(
                "[{}] follows this file and its lines come here: they would go round in a circle",
                other.path
            );
            let finding = report.error(draft.section.place(key), &path, message);
            finding.help("write to another file, or leave this one out with `exclude`");
            finding.label(other.place(own_key(other)), "followed here");
        }
    }
}

/// The key that a claim comes from: that of the node's choice, or of its spool.
fn claiming_key(section: &Section<'_>, claim: &Claim) -> &'static str {
    if let Claim::Folder(_) = claim {
        return if section.get("dir").is_some() { "dir" } else { "spool" };
    }
    own_key(section)
}

/// The key that states what an input or an output is.
fn own_key(section: &Section<'_>) -> &'static str {
    let mut keys =
        [Kind::Input, Kind::Output].into_iter().flat_map(|kind| Table::of(kind).chosen_by());
    keys.find(|key| section.get(key).is_some()).unwrap_or("")
}

/// A claim with its path free of `.` and doubled `/`.
fn tidied(claim: Claim) -> Claim {
    let tidy = |path: PathBuf| -> PathBuf {
        path.components().filter(|part| *part != Component::CurDir).collect()
    };
    match claim {
        Claim::UnixPath(path) => Claim::UnixPath(tidy(path)),
        Claim::UnixListener(path) => Claim::UnixListener(tidy(path)),
        Claim::Path(path) => Claim::Path(tidy(path)),
        Claim::File(path) => Claim::File(tidy(path)),
        Claim::Folder(path) => Claim::Folder(tidy(path)),
        other => other,
    }
}

/// Checks the readers of spools, and what spools read from.
fn spools(flow: &Flow<'_>, report: &mut Report<'_>) {
    for (node, draft) in flow.drafts.iter().enumerate() {
        if draft.own_spool.is_some() {
            let own = format!("{}{OWN_SPOOL}", draft.name);
            if let Some(other) = flow.drafts.iter().find(|other| other.name == own) {
                let message =
                    format!("the spool of this output is called `{own}`, and so is a node");
                let place = draft.section.place("spool");
                let finding = report.error(place, &draft.section.path, message);
                finding.label(&other.section.span, "the node");
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
        format!("`{spool}` is a spool, and only outputs can read from a spool")
    } else if flow.from[node].len() > 1 {
        format!(
            "an output that reads from a spool cannot read from anything else (`{spool}` is one)"
        )
    } else if draft.own_spool.is_some() {
        format!("`{spool}` is already a spool: the output needs none of its own")
    } else if process(draft).is_some_and(|process| process.workers > 1) {
        let path = format!("{}.workers", draft.section.path);
        let message = "must be 1 downstream of a spool, whose lines are passed in order";
        report.error(draft.section.place("workers"), &path, message);
        return;
    } else {
        return;
    };
    report.error(place, &path, message);
}

/// The process of a node, if it runs one.
fn process<'d>(draft: &'d Draft<'_>) -> Option<&'d ProcessPlan> {
    draft.body.as_ref().and_then(BodyPlan::process)
}

/// The spool that a node is or has, and the key that controls what happens when it is full.
pub(super) fn spool<'d>(draft: &'d Draft<'_>) -> Option<(&'d SpoolPlan, &'static str)> {
    match &draft.body {
        Some(BodyPlan::Spool(spool)) => Some((spool, "when_full")),
        _ => draft.own_spool.as_ref().map(|spool| (spool, "spool")),
    }
}

/// Checks that `when_full = "block"` is used only if the inputs can wait.
fn waiting(flow: &Flow<'_>, report: &mut Report<'_>) {
    let hasty = upstream(flow, |input| !input.source.nature().can_wait);
    for (node, draft) in flow.drafts.iter().enumerate() {
        let key = match spool(draft) {
            Some((spool, key)) => (spool.when_full == SpoolFull::Block).then_some(key),
            None => {
                let blocks = |process: &ProcessPlan| process.when_full == WhenFull::Block;
                process(draft).is_some_and(blocks).then_some("when_full")
            }
        };
        let (Some(key), Some(mut before)) = (key, hasty[node]) else { continue };
        let mut way = vec![draft.name, flow.drafts[before].name];
        while let Some(next) = hasty[before].filter(|next| *next != before) {
            way.push(flow.drafts[next].name);
            before = next;
        }
        way.reverse();
        let input = &flow.drafts[before];
        let label = nature(input).map_or("", |nature| nature.label);
        let message = format!(
            "\"block\" makes the inputs wait, but the {label} input `{}` cannot ({})",
            way[0],
            way.join(" → ")
        );
        let help = "what comes meanwhile would be lost in the kernel; use when_full = \"drop\", \
                    which counts, and a larger `queue`";
        let path = format!("{}.{key}", draft.section.path);
        let finding = report.error(draft.section.place(key), &path, message);
        finding.help(help).label(&input.section.span, "cannot wait");
    }
}

/// The nature of a node that is an input.
fn nature(draft: &Draft<'_>) -> Option<Nature> {
    match &draft.body {
        Some(BodyPlan::Input(input)) => Some(input.source.nature()),
        _ => None,
    }
}

/// Checks that no spool drops new lines of an input that acknowledges them.
fn acknowledged(flow: &Flow<'_>, report: &mut Report<'_>) {
    let from = upstream(flow, |input| input.source.nature().acknowledged);
    for (node, draft) in flow.drafts.iter().enumerate() {
        let (Some((spool, key)), Some(mut before)) = (spool(draft), from[node]) else { continue };
        if spool.when_full != SpoolFull::DropNewest {
            continue;
        }
        while let Some(next) = from[before].filter(|next| *next != before) {
            before = next;
        }
        let input = &flow.drafts[before];
        let label = nature(input).map_or("", |nature| nature.label);
        let message =
            format!("\"drop-newest\" would drop lines that a {label} client was told are on disk");
        let path = format!("{}.{key}", draft.section.path);
        let finding = report.error(draft.section.place(key), &path, message);
        finding.help("use \"block\", or \"drop-oldest\"");
        finding.label(&input.section.span, "acknowledges its lines");
    }
}

/// Warns where an acknowledgement does not imply durability.
fn unspooled(flow: &Flow<'_>, report: &mut Report<'_>) {
    // True if a spool is at a node or downstream of it.
    let mut spooled = vec![false; flow.drafts.len()];
    for &node in flow.order.iter().rev() {
        spooled[node] |= spool(&flow.drafts[node]).is_some();
        if spooled[node] {
            flow.from[node].iter().for_each(|&before| spooled[before] = true);
        }
    }
    for (node, input) in inputs(flow) {
        if input.source.nature().acknowledged && !spooled[node] {
            let section = &flow.drafts[node].section;
            let message = "there is no spool downstream of this input: its lines are acknowledged \
                           once every output has accepted them, on disk or not";
            let key = own_key(section);
            report.warn(section.place(key), &format!("{}.{key}", section.path), message);
        }
    }
}

/// Warns where repeats are held in memory although their senders were told that they are on disk.
fn held(flow: &Flow<'_>, report: &mut Report<'_>) {
    let from = upstream(flow, |input| input.source.nature().acknowledged);
    for (node, draft) in flow.drafts.iter().enumerate() {
        if draft.squeeze.is_some() && from[node].is_some() {
            let path = format!("{}.squeeze", draft.section.path);
            let message = "the repeats that it holds are in memory only: kill -9 loses their \
                           number, although their sender was told that they are on disk";
            report.warn(draft.section.place("squeeze"), &path, message);
        }
    }
}

/// For each node that lines of such an input reach, the next node upstream towards that input; the
/// input maps to itself.
fn upstream(flow: &Flow<'_>, is: impl Fn(&InputPlan) -> bool) -> Vec<Option<usize>> {
    let mut before = vec![None; flow.drafts.len()];
    for (node, input) in inputs(flow) {
        if is(input) {
            before[node] = Some(node);
        }
    }
    for &node in &flow.order {
        if before[node].is_none() {
            before[node] = flow.from[node].iter().copied().find(|&from| before[from].is_some());
        }
    }
    before
}

/// Warns where an output that knows by a count what its peer has may choose other lines after a
/// restart.
fn uncountable(flow: &Flow<'_>, report: &mut Report<'_>) {
    for (node, draft) in flow.drafts.iter().enumerate() {
        let counts = draft.body.as_ref().is_some_and(BodyPlan::resumes_by_count);
        let is_spool = |from: &usize| flow.drafts[*from].kind == Kind::Spool;
        // The spool of an output's own is behind its selectors.
        if !counts || draft.own_spool.is_some() || !flow.from[node].iter().any(is_spool) {
            continue;
        }
        let sample = draft.select.sample.as_ref();
        let key = match (&draft.select.rate, sample.map(|sample| &sample.mode)) {
            (Some(_), _) => "rate",
            (None, None | Some(SampleMode::Hash { .. })) => continue,
            (None, Some(_)) => "sample",
        };
        let message = "may choose other lines after a restart, and some of those under way then \
                       may be missing or come twice: select before the spool";
        report.warn(draft.section.place(key), &format!("{}.{key}", draft.section.path), message);
    }
}

fn memory(
    flow: &Flow<'_>,
    (daemon, section): (&DaemonPlan, Option<&Section<'_>>),
    report: &mut Report<'_>,
) {
    let bodies = flow.drafts.iter().filter_map(|draft| draft.body.as_ref());
    let queues = bodies.filter_map(BodyPlan::queue).count() as u64;
    let needed = queues * limits::QUEUE_MIN * 2;
    let have = show_size(daemon.memory);
    if daemon.memory < needed {
        let message = format!("{have} is too little for {queues} queues");
        let help = format!("set daemon.memory to {} or more", show_size(needed));
        match section.and_then(|section| section.get("memory")) {
            Some(entry) => entry.wrong_help(report, message, help),
            None => report.error_whole(message, help),
        }
    }
    for draft in &flow.drafts {
        let Some(queue) = draft.body.as_ref().and_then(BodyPlan::queue) else { continue };
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
                kind => format!("nothing reads from this {}", kind.word()),
            };
            report.warn(&draft.section.span, &draft.section.path, message);
        }
    }
}

/// Reports nodes that can never receive or pass on a line.
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
    if select.matches.as_deref().is_some_and(regex::finds_nothing) {
        return Some(("match", "this regex matches no line at all"));
    }
    let reject = select.reject.as_deref()?;
    if regex::finds_all(reject) {
        return Some(("reject", "this regex matches every line, so no line passes"));
    }
    let both = select.matches.as_deref() == Some(reject);
    both.then_some(("reject", "rejects just what `match` selects, so no line passes"))
}
