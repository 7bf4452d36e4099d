//! The state of the screen, and what each key does to it. Pure: takes keys and snapshots.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;

use super::model::{Key, Model, Sort};
use super::past::Past;
use super::rows::{Row, rows};
use super::text::Glyphs;

/// The current page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// All nodes.
    Table,
    /// One node.
    Node(Key),
    /// The keys and columns explained; holds the page to return to.
    Help(Box<Self>),
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct App {
    /// The state of the daemon.
    pub(super) model: Model,
    /// The characters used for drawing.
    pub(super) glyphs: Glyphs,
    /// The page.
    pub(super) page: Page,
    /// The sort order of the rows.
    pub(super) sort: Sort,
    /// Only nodes whose names contain this are shown.
    pub(super) filter: String,
    /// True if only nodes with a trouble are shown.
    pub(super) troubled: bool,
    /// True while keys are typed into `filter`.
    pub(super) typing: bool,
    /// The selected node, which Enter shows.
    pub(super) selected: Option<Key>,
    /// The visible rows of the table.
    pub(super) table: TableState,
    /// The first visible line of a page.
    pub(super) scroll: usize,
    /// Number of visible lines of a page; set by drawing.
    pub(super) page_height: usize,
    /// The past of the node whose page is shown, once it is known.
    pub(super) past: Option<Past>,
    /// Why there is no news from the daemon, if there is none.
    pub(super) gone: Option<String>,
    /// True once the user has quit.
    pub(super) done: bool,
}

impl App {
    /// The table page of a daemon.
    pub(super) fn new(model: Model, glyphs: Glyphs) -> Self {
        Self {
            model,
            glyphs,
            page: Page::Table,
            sort: Sort::Flow,
            filter: String::new(),
            troubled: false,
            typing: false,
            selected: None,
            table: TableState::default(),
            scroll: 0,
            page_height: 1,
            past: None,
            gone: None,
            done: false,
        }
    }

    /// Handles a key press.
    pub(super) fn press(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => self.done = true,
            code if self.typing => self.type_filter(code),
            KeyCode::Char('q') => self.done = true,
            KeyCode::Char('?' | 'h') if !matches!(self.page, Page::Help(_)) => {
                let back = std::mem::replace(&mut self.page, Page::Table);
                self.turn_to(Page::Help(Box::new(back)));
            }
            code => match self.page {
                Page::Table => self.press_in_table(code),
                Page::Node(_) | Page::Help(_) => self.press_in_page(code),
            },
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            _ => {}
        }
    }

    fn press_in_table(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('t') => self.sort = Sort::Flow,
            KeyCode::Char('w') => self.sort = Sort::Worst,
            KeyCode::Char('!') => self.troubled = !self.troubled,
            KeyCode::Char('r') => self.sort = Sort::Rate,
            KeyCode::Char('d') => self.sort = Sort::Drops,
            KeyCode::Char('u') => self.sort = Sort::Queue,
            KeyCode::Char('n') => self.sort = Sort::Name,
            KeyCode::Char('/' | 'f') => self.typing = true,
            KeyCode::Esc => {
                self.filter.clear();
                self.troubled = false;
            }
            KeyCode::Enter => {
                let keys = self.keys();
                if let Some(key) = keys.get(self.place(&keys)) {
                    self.turn_to(Page::Node(key.clone()));
                }
            }
            code => {
                let keys = self.keys();
                let at = moved(self.place(&keys), code, self.page_height);
                self.selected = keys.get(at.min(keys.len().saturating_sub(1))).cloned();
            }
        }
    }

    fn press_in_page(&mut self, code: KeyCode) {
        match code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Enter => {
                let page = match std::mem::replace(&mut self.page, Page::Table) {
                    Page::Help(back) => *back,
                    Page::Node(_) | Page::Table => Page::Table,
                };
                self.turn_to(page);
            }
            // Drawing knows the number of lines and keeps the position within them.
            code => self.scroll = moved(self.scroll, code, self.page_height),
        }
    }

    /// The node whose past is to be shown.
    pub(super) fn wants_past(&self) -> Option<&str> {
        match &self.page {
            Page::Node(key) => Some(&key.name),
            Page::Table | Page::Help(_) => None,
        }
    }

    fn turn_to(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        rows(&self.model, self.sort, &self.filter, self.troubled, &self.glyphs)
    }

    fn keys(&self) -> Vec<Key> {
        let rows = self.rows();
        rows.iter().map(|row| row.view.key.clone()).collect()
    }

    fn place(&self, keys: &[Key]) -> usize {
        let selected = self.selected.as_ref();
        selected.and_then(|key| keys.iter().position(|other| other == key)).unwrap_or(0)
    }
}

/// The line that a key moves to from line `at`.
fn moved(at: usize, code: KeyCode, page: usize) -> usize {
    match code {
        KeyCode::Down | KeyCode::Char('j') => at.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => at.saturating_add(page),
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => usize::MAX,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{node, status};
    use super::super::text::ASCII;
    use super::*;

    fn app() -> App {
        let nodes = vec![
            node("net", "input", &[]),
            node("api", "filter", &["net"]),
            node("all", "output", &["api"]),
        ];
        App::new(Model::new(status(1.0, nodes)), ASCII)
    }

    fn press(app: &mut App, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                key => KeyCode::Char(key),
            };
            app.press(code.into());
        }
    }

    fn selected(app: &App) -> &str {
        app.selected.as_ref().map_or("", |key| &key.name)
    }

    #[test]
    fn the_selection_stays_with_its_node_and_within_the_rows() {
        let mut app = app();
        press(&mut app, "j");
        assert_eq!(selected(&app), "api");
        press(&mut app, "n");
        assert_eq!((selected(&app), app.sort), ("api", Sort::Name));
        press(&mut app, "k");
        assert_eq!(selected(&app), "all");
        press(&mut app, "kkk");
        assert_eq!(selected(&app), "all");
        press(&mut app, "tjjjj");
        assert_eq!(selected(&app), "all");
        press(&mut app, "g");
        assert_eq!(selected(&app), "net");
        press(&mut app, "G");
        assert_eq!(selected(&app), "all");
    }

    #[test]
    fn each_order_has_a_key_and_one_key_goes_through_them() {
        let mut app = app();
        for (key, sort) in [
            ("r", Sort::Rate),
            ("d", Sort::Drops),
            ("u", Sort::Queue),
            ("n", Sort::Name),
            ("t", Sort::Flow),
            ("w", Sort::Worst),
            ("s", Sort::Rate),
            ("s", Sort::Drops),
        ] {
            press(&mut app, key);
            assert_eq!(app.sort, sort);
        }
    }

    #[test]
    fn pages_are_opened_and_left() {
        let mut app = app();
        press(&mut app, "j\n");
        assert!(matches!(&app.page, Page::Node(key) if key.name == "api"));
        press(&mut app, "jj");
        assert_eq!(app.scroll, 2);
        press(&mut app, "?");
        assert!(matches!(app.page, Page::Help(_)) && app.scroll == 0);
        press(&mut app, "\x1b");
        assert!(matches!(&app.page, Page::Node(key) if key.name == "api"));
        press(&mut app, "\x1b");
        assert_eq!((&app.page, app.done), (&Page::Table, false));
        press(&mut app, "?q");
        assert!(app.done);
    }

    #[test]
    fn names_are_filtered_by_what_is_typed() {
        let mut app = app();
        press(&mut app, "/qal\x08");
        assert_eq!((app.filter.as_str(), app.typing, app.done), ("qa", true, false));
        press(&mut app, "\x08\x08al\nj");
        assert_eq!((app.filter.as_str(), app.typing, selected(&app)), ("al", false, "all"));
        press(&mut app, "\n");
        assert!(matches!(&app.page, Page::Node(key) if key.name == "all"));
        press(&mut app, "\x1b\x1b");
        assert_eq!(app.filter, "");
        press(&mut app, "fx\x1b");
        assert_eq!((app.filter.as_str(), app.typing), ("", false));
        app.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(app.done);
    }

    #[test]
    fn only_nodes_with_a_trouble_are_shown_until_all_are_again() {
        let mut app = app();
        let mut nodes = app.model.status().nodes.clone();
        nodes[1].error = Some("refused".into());
        app.model.take(status(2.0, nodes));
        press(&mut app, "!j\n");
        assert!(matches!(&app.page, Page::Node(key) if key.name == "api"));
        press(&mut app, "\x1b\x1bG");
        assert_eq!((app.troubled, selected(&app)), (false, "all"));
    }

    #[test]
    fn a_flow_without_a_matching_node_has_nothing_to_open() {
        let mut app = app();
        press(&mut app, "/zzz\nj\nG");
        assert_eq!((&app.page, &app.selected), (&Page::Table, &None));
    }
}
