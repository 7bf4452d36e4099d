//! Drawing of the pages: head, table, footer and help.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::app::{App, Page};
use super::detail;
use super::model::{Sort, drops, kernel_drops};
use super::notes::{Tone, last_loss, notes, tone_of_drops, tone_of_level};
use super::rows::{Row, position, rows};
use super::text::{Glyphs, count, duration, one_line, percent, rate, wrapped};
use crate::engine::status::GoneStatus;

/// The colours and styles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    /// True if colours are used.
    pub(super) colour: bool,
}

impl Theme {
    /// The style of a tone.
    pub(super) fn of(self, tone: Tone) -> Style {
        let plain = Style::new();
        match (tone, self.colour) {
            (Tone::Plain, _) => plain,
            (Tone::Warn, true) => plain.fg(Color::Yellow),
            (Tone::Warn, false) => plain.add_modifier(Modifier::BOLD),
            (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }

    /// The style of a queue that is filled so far (0 to 1).
    pub(super) fn of_fill(self, fill: f64) -> Style {
        self.of(match fill {
            0.9.. => Tone::Bad,
            0.5.. => Tone::Warn,
            _ => Tone::Plain,
        })
    }
}

/// The style of headings.
pub(super) const HEADING: Style = Style::new().add_modifier(Modifier::REVERSED);
/// The style of less important text.
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// The style of names.
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the page.
pub(super) fn draw(frame: &mut Frame, app: &mut App, theme: Theme) {
    let parts = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
    let [top, middle, bottom] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(head(app, theme), top);
    let middle = remedy(frame, middle, app, theme);
    let width = usize::from(middle.width);
    match &app.page {
        Page::Table => table(frame, middle, app, theme),
        Page::Node(key) => {
            let lines = match app.model.view(key) {
                Some(view) => {
                    let past = app.past.as_ref().filter(|past| past.node == key.name);
                    detail::lines(&view, (app.model.status(), past), &app.glyphs, theme, width)
                }
                None => vec![Line::raw(format!(" {} no longer exists", key.name))],
            };
            page(frame, middle, app, lines);
        }
        Page::Help(_) => page(frame, middle, app, help(&app.glyphs, width)),
    }
    frame.render_widget(foot(app), bottom);
}

/// Draws the worst trouble of the selected node with its remedy below the table. Returns what is
/// left of the area.
fn remedy(frame: &mut Frame, area: Rect, app: &App, theme: Theme) -> Rect {
    if app.page != Page::Table || area.height < REMEDY_MIN {
        return area;
    }
    let rows = app.rows();
    let selected = app.selected.as_ref().and_then(|key| position(&rows, key)).unwrap_or(0);
    let Some(view) = rows.get(selected).map(|row| &row.view) else { return area };
    let Some(trouble) = view.troubles().first() else { return area };
    let (word, name) = (trouble.level.word(), &view.node.name);
    let text = format!(" {word}: {name}: {}", trouble.sentence());
    let style = theme.of(tone_of_level(trouble.level));
    let lines = wrapped(&text, usize::from(area.width)).into_iter().take(REMEDY_LINES);
    let lines: Vec<_> = lines.map(|line| Line::styled(line, style)).collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let parts = [Constraint::Min(1), Constraint::Length(height)];
    let [above, below] = Layout::vertical(parts).areas(area);
    frame.render_widget(Paragraph::new(lines), below);
    above
}

/// Draws a page of lines at its scroll position.
fn page(frame: &mut Frame, area: Rect, app: &mut App, lines: Vec<Line>) {
    app.page_height = usize::from(area.height);
    app.scroll = app.scroll.min(lines.len().saturating_sub(app.page_height));
    let shown: Vec<_> = lines.into_iter().skip(app.scroll).take(app.page_height).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

/// The head line: the daemon and its total flow.
fn head(app: &App, theme: Theme) -> Line<'static> {
    if let Some(gone) = &app.gone {
        return Line::styled(format!(" {}", one_line(gone)), theme.of(Tone::Bad));
    }
    let status = app.model.status();
    let views = app.model.views();
    let sum = |rates: Vec<Option<f64>>| {
        rates
            .into_iter()
            .flatten()
            .fold(None, |sum: Option<f64>, rate| Some(sum.unwrap_or(0.0) + rate))
    };
    let inputs = views.iter().filter(|view| view.node.kind == "input");
    let lines = sum(inputs.map(|view| view.rate(|node| node.lines_in)).collect());
    let new_drops = sum(views.iter().map(|view| view.rate(drops)).collect());
    let gone = status.gone.as_ref().map_or(0, GoneStatus::lost);
    let all_drops = gone + views.iter().map(|view| drops(view.node)).sum::<u64>();
    let tone = views.iter().map(tone_of_drops).max().unwrap_or(Tone::Plain);
    let last = last_loss(status).map_or_else(String::new, |loss| format!("  last: {loss}"));
    Line::from(vec![
        Span::styled(format!(" logweir {}", one_line(&status.version)), BOLD),
        Span::raw(format!("  pid {}  up {}", status.pid, duration(status.uptime))),
        Span::raw(format!("  in {} lines/s  ", rate(lines))),
        Span::styled(
            format!("dropped {}, {}/s", count(all_drops), rate(new_drops)),
            theme.of(tone),
        ),
        Span::styled(one_line(&last), theme.of(tone)),
    ])
}

/// The footer: the keys of the current page.
fn foot(app: &App) -> Line<'static> {
    if app.typing {
        let typed = one_line(&app.filter);
        return Line::styled(format!(" filter: {typed}_   Enter keeps it, Esc drops it"), HEADING);
    }
    let arrows = app.glyphs.arrows;
    let keys = match &app.page {
        Page::Table if !app.filter.is_empty() || app.troubled => {
            let troubled = if app.troubled { "!" } else { "" };
            format!(
                " q quit  ? help  Enter details  {arrows} move  filter: {troubled}{} (Esc)",
                app.filter
            )
        }
        Page::Table => format!(
            " q quit  ? help  Enter details  {arrows} move  s sort: {}  / filter",
            app.sort.word()
        ),
        Page::Node(_) => format!(" Esc back  {arrows} scroll  ? help  q quit"),
        Page::Help(_) => format!(" Esc back  {arrows} scroll  q quit"),
    };
    Line::styled(one_line(&keys), DIM)
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Node,
    Worst,
    Lines,
    Bytes,
    Drops,
    NewDrops,
    Out,
    NotSelected,
    Kernel,
    Queue,
    Minute,
    Notes,
}

/// Height of the table from which on the remedy is shown, and the most lines it takes.
const REMEDY_MIN: u16 = 8;
const REMEDY_LINES: usize = 3;
/// Cells that must be free before a further note is shown in part.
const NOTE_MIN: usize = 20;
/// Width of a bar in the queue column, in cells.
const BAR: usize = 4;

/// The columns that fit, with their widths. Names get the width they need, as long as enough is
/// left for urgent notes.
fn columns(width: u16, longest: usize) -> Vec<(Column, u16)> {
    const NOTES_MIN: u16 = 16;
    let minute = 8 + width.saturating_sub(80) / 8;
    // A column, its width, and the terminal width from which it is shown.
    let mut columns: Vec<_> = [
        (Column::Node, 0, 0),
        (Column::Worst, 9, 90),
        (Column::Lines, 8, 24),
        (Column::Bytes, 7, 72),
        (Column::Drops, 7, 36),
        (Column::NewDrops, 7, 100),
        (Column::Out, 7, 150),
        (Column::NotSelected, 8, 150),
        (Column::Kernel, 8, 160),
        (Column::Queue, 9, 48),
        (Column::Minute, minute.min(60), 80),
        (Column::Notes, 0, 60),
    ]
    .into_iter()
    .filter(|(_, _, min)| width >= *min)
    .map(|(column, width, _)| (column, width))
    .collect();
    let gaps = u16::try_from(columns.len()).unwrap_or(u16::MAX).saturating_sub(1);
    let taken = columns.iter().map(|(_, width)| width).sum::<u16>() + gaps;
    let left = width.saturating_sub(taken);
    let has_notes = columns.iter().any(|(column, _)| *column == Column::Notes);
    let for_notes = if has_notes { NOTES_MIN } else { 0 };
    let longest = u16::try_from(longest.max(6)).unwrap_or(u16::MAX);
    let names = longest.min(left.saturating_sub(for_notes)).max(6);
    for (column, width) in &mut columns {
        match column {
            Column::Node => *width = names,
            Column::Notes => *width = left.saturating_sub(names),
            _ => {}
        }
    }
    columns
}

fn table(frame: &mut Frame, area: Rect, app: &mut App, theme: Theme) {
    let rows = rows(&app.model, app.sort, &app.filter, app.troubled, &app.glyphs);
    let longest = rows
        .iter()
        .map(|row| row.label(usize::MAX, &app.glyphs).chars().count())
        .max()
        .unwrap_or(0);
    let columns = columns(area.width, longest);
    let heads = columns.iter().map(|(column, _)| title(*column, app.sort, &app.glyphs));
    let cells = |row: &Row| -> TableRow<'static> {
        let cell = |at: &(Column, u16)| cell(row, at.0, usize::from(at.1), &app.glyphs, theme);
        TableRow::new(columns.iter().map(cell).collect::<Vec<Cell>>())
    };
    let shown = Table::new(rows.iter().map(cells), columns.iter().map(|(_, width)| *width))
        .header(TableRow::new(heads.collect::<Vec<Cell>>()).style(HEADING))
        .row_highlight_style(HEADING);
    let selected = app.selected.as_ref().and_then(|key| position(&rows, key));
    app.table.select(Some(selected.unwrap_or(0)));
    app.page_height = usize::from(area.height).saturating_sub(1);
    frame.render_stateful_widget(shown, area, &mut app.table);
}

/// The title of a column, marked if rows are sorted by it.
fn title(column: Column, sort: Sort, glyphs: &Glyphs) -> Cell<'static> {
    let mark = |of: &[Sort]| if of.contains(&sort) { glyphs.down } else { "" };
    let (title, right) = match column {
        Column::Worst => (format!("WORST{}", mark(&[Sort::Worst])), false),
        Column::Node => (format!("NODE{}", mark(&[Sort::Flow, Sort::Name])), false),
        Column::Lines => (format!("LINES/S{}", mark(&[Sort::Rate])), true),
        Column::Bytes => ("BYTES/S".into(), true),
        Column::Drops => (format!("DROPS{}", mark(&[Sort::Drops])), true),
        Column::NewDrops => ("DROPS/S".into(), true),
        Column::Out => ("OUT/S".into(), true),
        Column::NotSelected => ("UNSEL/S".into(), true),
        Column::Kernel => ("KERNEL/S".into(), true),
        Column::Queue => (format!("QUEUE{}", mark(&[Sort::Queue])), false),
        Column::Minute => ("MINUTE".into(), false),
        Column::Notes => ("STATE".into(), false),
    };
    let line = Line::from(title);
    Cell::from(if right { line.right_aligned() } else { line })
}

fn cell(row: &Row, column: Column, width: usize, glyphs: &Glyphs, theme: Theme) -> Cell<'static> {
    let (view, node) = (&row.view, row.view.node);
    let right = |text: String, style| Cell::from(Line::styled(text, style).right_aligned());
    match column {
        Column::Worst => Cell::from(view.worst().map_or_else(Line::default, |level| {
            Line::styled(level.word(), theme.of(tone_of_level(level)))
        })),
        Column::Node => {
            let style = match (node.retired, node.kind.as_str()) {
                (true, _) => DIM,
                (_, "input") => BOLD,
                _ => Style::new(),
            };
            Cell::from(Line::styled(row.label(width, glyphs), style))
        }
        Column::Lines => right(rate(view.rate(|node| node.lines_in)), Style::new()),
        Column::Bytes => right(rate(view.rate(|node| node.bytes_in)), Style::new()),
        Column::Drops => right(count(drops(node)), theme.of(tone_of_drops(view))),
        Column::Out => right(rate(view.rate(|node| node.lines_out)), Style::new()),
        Column::NotSelected => right(rate(view.rate(|node| node.not_selected)), Style::new()),
        Column::Kernel => match node.kind.as_str() {
            "input" => right(rate(view.rate(kernel_drops)), theme.of(tone_of_drops(view))),
            _ => right(String::new(), Style::new()),
        },
        Column::NewDrops => right(rate(view.rate(drops)), theme.of(tone_of_drops(view))),
        Column::Queue => Cell::from(view.fill().map_or_else(Line::default, |fill| {
            let text = format!("{} {:>4}", glyphs.bar(fill, BAR), percent(fill));
            Line::styled(text, theme.of_fill(fill))
        })),
        Column::Minute => Cell::from(glyphs.sparkline(&view.last_minute(width))),
        Column::Notes => {
            let mut spans = Vec::new();
            let mut left = width;
            for (note, tone) in notes(view, glyphs) {
                let between = if spans.is_empty() { "" } else { ", " };
                let fits = note.chars().count() + between.len() <= left;
                if !fits && !spans.is_empty() && left < NOTE_MIN {
                    break;
                }
                left = left.saturating_sub(between.len());
                let note = glyphs.cut(&note, left);
                left -= note.chars().count().min(left);
                spans.extend([Span::raw(between), Span::styled(note, theme.of(tone))]);
            }
            Cell::from(Line::from(spans))
        }
    }
}

/// The help page.
fn help(glyphs: &Glyphs, width: usize) -> Vec<Line<'static>> {
    let moves = format!("{} j k", glyphs.arrows);
    let keys = [
        (moves.as_str(), "move or scroll; PgUp PgDn by a page, Home End to an end"),
        ("Enter", "a node: its ledger, queue, spool, process, last lines on stderr"),
        ("Esc", "back; in the table, show all names again"),
        ("t w r d u n", "sort by flow (a tree), worst, lines/s, drops, queue, name; s: the next"),
        ("/ or f, !", "show only nodes whose names contain the typed text; with a trouble"),
        ("q, Ctrl-C", "quit; Ctrl-L redraws the screen"),
    ];
    let columns = [
        ("NODE", "below the first node it reads from; (+x): it also reads from x"),
        ("LINES/S", "lines that entered it, BYTES/S their bytes"),
        (
            "DROPS",
            "lines lost here since the daemon's start, those that the kernel dropped \
                   included; red while there are new ones. The node's page says why, and \
                   logweir(1) what to do",
        ),
        ("OUT/S", "lines that left it, and UNSEL/S those not selected, where there is room"),
        ("QUEUE", "the share of its queue that is used"),
        ("MINUTE", "lines/s of the last minute beside its own highest"),
        (
            "STATE",
            "a process' pid or what is wrong with it, and how often it was started \
                   again; the lag of a spool's slowest reader; a forward's peer; \
                   \"paused\": a full queue downstream makes it wait",
        ),
    ];
    let mut lines = Vec::new();
    let mut part = |title: &'static str, entries: &[(&str, &str)]| {
        lines.push(Line::styled(format!(" {title} "), HEADING));
        for (what, meaning) in entries {
            for (nth, piece) in wrapped(meaning, width.saturating_sub(13)).into_iter().enumerate() {
                let what = if nth == 0 { what } else { "" };
                let what = Span::styled(format!(" {what:<11} "), BOLD);
                lines.push(Line::from(vec![what, Span::raw(piece)]));
            }
        }
        lines.push(Line::default());
    };
    part("KEYS", &keys);
    part("COLUMNS", &columns);
    lines.pop();
    lines
}
