//! The page of one node: everything known about it, most important first.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::draw::{BOLD, DIM, HEADING, Theme};
use super::model::View;
use super::notes::{Tone, of_reason, reasons, tone_of_child, tone_of_level, tone_of_lost};
use super::past::Past;
use super::text::{Glyphs, duration, one_line, percent, rate, size, wrapped};
use crate::engine::losses::amount;
use crate::engine::status::{LossStatus, NodeStatus, ServiceStatus, Status};

/// Width of the queue's bar, in cells.
const BAR: usize = 20;

/// The lines of the page, for a terminal of this width.
pub(super) fn lines(
    view: &View,
    (status, past): (&Status, Option<&Past>),
    glyphs: &Glyphs,
    theme: Theme,
    width: usize,
) -> Vec<Line<'static>> {
    let mut page = Page { view, glyphs, theme, width, lines: Vec::new() };
    page.name(status);
    page.troubles();
    page.ledger();
    if let Some(past) = past {
        page.past(past);
    }
    page.losses(status.uptime);
    page.queue();
    page.process(status.uptime);
    page.peers();
    page.spool();
    page.input();
    page.waiting();
    page.lines
}

struct Page<'a> {
    view: &'a View<'a>,
    glyphs: &'a Glyphs,
    theme: Theme,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn heading(&mut self, text: &str) {
        self.lines.push(Line::styled(format!(" {text} "), HEADING));
    }

    /// A label and its text, wrapped to as many lines as needed.
    fn labelled(&mut self, word: &str, text: &str, style: Style) {
        let pieces = wrapped(text, self.width.saturating_sub(16));
        for (nth, piece) in pieces.into_iter().enumerate() {
            let word = if nth == 0 { word } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(format!(" {word:<14} "), DIM),
                Span::styled(piece, style),
            ]));
        }
    }

    fn name(&mut self, status: &Status) {
        let node = self.view.node;
        let is_subscriber = |other: &&NodeStatus| other.from.contains(&node.name);
        let subscribers =
            status.nodes.iter().filter(is_subscriber).map(|other| other.name.as_str());
        let subscribers = subscribers.collect::<Vec<_>>().join(", ");
        self.lines.push(Line::styled(format!(" {} {}", node.kind, node.name), BOLD));
        if !node.from.is_empty() {
            self.labelled("from", &node.from.join(", "), Style::new());
        }
        if !subscribers.is_empty() {
            self.labelled("feeds", &subscribers, Style::new());
        }
        for (flag, text) in [
            (node.paused, "paused: a queue downstream is full"),
            (node.retired, "removed by a reload; draining"),
        ] {
            if flag {
                self.labelled("state", text, self.theme.of(Tone::Warn));
            }
        }
    }

    /// What is wrong with it, and the remedies.
    fn troubles(&mut self) {
        for trouble in self.view.troubles() {
            let style = self.theme.of(tone_of_level(trouble.level));
            self.labelled(trouble.level.word(), &trouble.what, style);
            if !trouble.remedy.is_empty() {
                self.labelled("", &format!("-> {}", trouble.remedy), Style::new());
            }
        }
    }

    /// A row of the ledger: lines, and bytes if they are counted.
    fn row(
        &mut self,
        word: &str,
        lines: impl Fn(&NodeStatus) -> u64,
        bytes: Option<fn(&NodeStatus) -> u64>,
        style: Style,
    ) {
        let view = self.view;
        let mut text =
            format!(" {word:<17} {:>20} {:>8}", lines(view.node), rate(view.rate(&lines)));
        if let Some(bytes) = bytes {
            text.push_str(&format!(" {:>20} {:>8}", bytes(view.node), rate(view.rate(bytes))));
        }
        self.lines.push(Line::styled(text, style));
    }

    fn ledger(&mut self) {
        let (node, plain) = (self.view.node, Style::new());
        let columns = ["LEDGER", "LINES", "/S", "BYTES", "/S"];
        let [name, lines, line_rate, bytes, byte_rate] = columns;
        self.heading(&format!("{name:<17} {lines:>20} {line_rate:>8} {bytes:>20} {byte_rate:>8}"));
        self.row("in", |node| node.lines_in, Some(|node| node.bytes_in), plain);
        self.row("out", |node| node.lines_out, Some(|node| node.bytes_out), plain);
        if node.not_selected > 0 {
            self.row("not selected", |node| node.not_selected, None, plain);
        }
        let dropped = |node: &NodeStatus| node.dropped.values().sum();
        let style = self.theme.of(tone_of_lost(self.view.rate(dropped), dropped(node)));
        self.row("dropped", dropped, Some(|node| node.bytes_dropped), style);
        for (reason, lines) in reasons(node) {
            let of = |node: &NodeStatus| of_reason(node, reason);
            let style = self.theme.of(tone_of_lost(self.view.rate(of), lines));
            self.row(&format!("  {reason}"), of, None, style);
        }
        self.lines.push(Line::raw(format!(" {:<17} {:>20}", "queued", node.queued)));
        if node.printed.is_some() && node.kind == "filter" {
            self.row("printed", |node| node.printed.unwrap_or(0), None, plain);
        }
        if !node.balanced {
            self.labelled(
                "",
                "THE LEDGER DOES NOT BALANCE: please report this",
                self.theme.of(Tone::Bad),
            );
        }
        let minute = self.glyphs.sparkline(&self.view.last_minute(60));
        self.labelled("last minute", &minute, plain);
    }

    /// Its day and its last hour: rates, and below them where something was lost.
    fn past(&mut self, past: &Past) {
        for (word, span) in [("last day", &past.minutes), ("last hour", &past.seconds)] {
            if span.is_empty() {
                continue;
            }
            let cells = span.cells(self.width.saturating_sub(17));
            self.labelled(word, &self.glyphs.sparkline(&cells.rates), Style::new());
            if cells.lost.iter().any(|lost| *lost) {
                let marks: String =
                    cells.lost.iter().map(|lost| if *lost { '^' } else { ' ' }).collect();
                self.labelled("lost", &marks, self.theme.of(Tone::Bad));
            }
            for text in span.losses() {
                self.labelled("", &text, self.theme.of(Tone::Warn));
            }
        }
    }

    /// Its current losses with their reasons, and its last loss.
    fn losses(&mut self, now: f64) {
        let node = self.view.node;
        for loss in &node.losses {
            let LossStatus { cause, count, unit, .. } = loss;
            let what = format!("{} ({cause})", amount(*count, unit));
            let ago = |at: f64| duration(now - at);
            let text = format!("{what}, the last {} ago", ago(loss.last));
            match loss.ended {
                false => {
                    let text = format!("{text}, the first {} ago", ago(loss.began));
                    self.labelled("losing", &text, self.theme.of(Tone::Bad));
                }
                true => self.labelled("last loss", &text, self.theme.of(Tone::Warn)),
            }
        }
    }

    fn queue(&mut self) {
        let (Some(queue), Some(fill)) = (self.view.node.queue, self.view.fill()) else { return };
        let mut text = format!(
            "{} {}  {} of {}",
            self.glyphs.bar(fill, BAR),
            percent(fill),
            size(queue.used),
            size(queue.limit)
        );
        if let Some(seconds) = self.view.node.stuck_seconds.filter(|seconds| *seconds >= 1.0) {
            text.push_str(&format!(", nothing has left it for {}", duration(seconds)));
        }
        self.labelled("queue", &text, self.theme.of_fill(fill));
    }

    fn process(&mut self, now: f64) {
        let node = self.view.node;
        if let Some(command) = &node.command {
            self.heading("PROCESS");
            self.labelled("command", command, BOLD);
        }
        for child in &node.children {
            let pid = child.pid.map_or_else(|| "none".into(), |pid| pid.to_string());
            let mut text = format!("{pid}  {}  restarts {}", child.state, child.restarts);
            if let Some(end) = &child.last_end {
                text.push_str(&format!("  the last one {end}"));
            }
            self.labelled("pid", &text, self.theme.of(tone_of_child(child)));
            if let Some(pipe) = child.pipe {
                self.labelled("pipe", &size(pipe), Style::default());
            }
        }
        if node.command.is_some() {
            let max = crate::limits::STDERR_LINES_KEPT;
            self.heading(&format!("STDERR, the last {max} lines"));
        }
        let mut last = String::new();
        for complaint in &node.stderr {
            let ago = match now - complaint.at {
                1.0.. => format!("{} ago", duration(now - complaint.at)),
                _ => "just now".into(),
            };
            // Lines with the same age show it once.
            let label = if ago == last { "" } else { &ago };
            self.labelled(label, &complaint.text, Style::new());
            last = ago;
        }
        if node.command.is_some() && node.stderr.is_empty() {
            self.labelled("", "nothing so far", DIM);
        }
    }

    fn peers(&mut self) {
        let node = self.view.node;
        if !node.lanes.is_empty() {
            self.heading("PEERS");
        }
        for lane in &node.lanes {
            match (&lane.peer, &lane.error) {
                (Some(peer), _) => self.labelled("sends to", peer, Style::new()),
                (None, Some(error)) => self.labelled("refused", error, self.theme.of(Tone::Bad)),
                (None, None) => self.labelled("", "not connected", self.theme.of(Tone::Warn)),
            }
            for service in &lane.services {
                self.service(service);
            }
        }
    }

    /// What DNS says of a service among the peers, and since when.
    fn service(&mut self, service: &ServiceStatus) {
        self.labelled("service", &service.name, Style::new());
        if let Some(age) = service.age_seconds {
            let hosts = match service.hosts.is_empty() {
                true => "no host".to_owned(),
                false => service.hosts.join(", "),
            };
            let text = format!("{hosts}, {} ago", duration(age as f64));
            self.labelled("found", &text, Style::new());
        }
        if let Some(error) = &service.error {
            self.labelled("look-up", error, self.theme.of(Tone::Warn));
        }
    }

    fn spool(&mut self) {
        let Some(spool) = &self.view.node.spool else { return };
        self.heading("SPOOL");
        let text = format!(
            "{} lines, {} in {} segments",
            spool.lines(),
            size(spool.bytes),
            spool.segments
        );
        self.labelled("holds", &text, Style::new());
        let text = format!(
            "oldest {}  on disk up to {}  next {}",
            spool.oldest, spool.durable, spool.next
        );
        self.labelled("numbers", &text, Style::new());
        if spool.kept > 0 {
            let text = format!("{} lines that no reader waits for", spool.kept);
            self.labelled("kept", &text, Style::new());
        }
        self.labelled("identity", &spool.identity, Style::new());
        for reader in &spool.readers {
            let text = format!(
                "{}  at {}  lag {} lines, {}, {}",
                reader.name,
                reader.position,
                reader.lag_lines,
                size(reader.lag_bytes),
                duration(reader.lag_seconds)
            );
            self.labelled("reader", &text, Style::new());
        }
    }

    /// What waits at an input's source.
    fn waiting(&mut self) {
        if self.view.node.waiting.is_empty() {
            return;
        }
        self.heading("SOURCE");
        for part in &self.view.node.waiting {
            let text = format!("{}  lag {} lines", part.name, part.lines);
            self.labelled("part", &text, Style::new());
        }
    }

    fn input(&mut self) {
        let node = self.view.node;
        let faults = node.faults.as_ref().map_or(0, |faults| faults.sum());
        let Some(input) = &node.input else {
            if faults > 0 {
                self.labelled("not understood", &faults.to_string(), self.theme.of(Tone::Warn));
            }
            return;
        };
        self.heading("INPUT");
        let counts = [
            ("datagrams", input.datagrams, false),
            ("empty", input.empty_datagrams, false),
            ("kernel drops", input.kernel_drops, true),
            ("oversize", input.oversize, true),
            ("malformed", input.malformed, true),
            ("sequence lost", input.sequence_lost, true),
            ("senders forgotten", input.senders_forgotten, true),
            ("not understood", faults, true),
            ("connections", input.connections, false),
            ("refused", input.refused, true),
            ("deferred", input.deferred, true),
            ("truncated", input.truncated, true),
            ("unread", input.unread, true),
            ("overflows", input.overflows, true),
        ];
        for (word, number, worth_a_look) in counts {
            let tone = if worth_a_look && number > 0 { Tone::Warn } else { Tone::Plain };
            self.labelled(word, &one_line(&number.to_string()), self.theme.of(tone));
        }
    }
}
