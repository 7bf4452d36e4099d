//! The terminal: taken, drawn on, and given back as it was, whatever happens.

use std::io::{self, IsTerminal, stdout};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::{Signal, raise};
use ratatui::DefaultTerminal;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::app::App;
use super::draw::{Theme, draw};
use super::model::Model;
use super::text::Glyphs;
use crate::cli::control::{Daemon, status_at};
use crate::driver::clients::Stop;
use crate::engine::status::Status;

/// How often it is looked for news while no key is pressed.
const LOOK: Duration = Duration::from_millis(100);
/// A daemon that has said nothing for so long beyond the time it is asked in is said to be silent.
const SILENT: Duration = Duration::from_secs(3);

type News = Result<Status, String>;

/// Shows the daemon until a key or a signal ends it.
///
/// # Errors
/// That the daemon is not found at first, or that the terminal cannot be used.
pub(super) fn run(daemon: &Daemon, every: Duration) -> anyhow::Result<()> {
    let term = std::env::var("TERM").unwrap_or_default();
    if !stdout().is_terminal() {
        bail!("top draws on a terminal and standard output is none: try `logweir top --once`");
    }
    if term.is_empty() || term == "dumb" {
        bail!("this terminal (TERM={term}) cannot be drawn on: try `logweir top --once`");
    }
    let variable = |name: &str| std::env::var(name).ok();
    let colour = variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let stop = Stop::on_signals(Duration::ZERO)?;
    let mut app = App::new(Model::new(daemon.status()?), Glyphs::of(variable));
    let news = look(daemon.path(), every)?;
    let mut screen = Screen::take()?;
    let (mut heard, mut lost) = (Instant::now(), false);
    while !app.done && !stop.asked() {
        let quiet = heard.elapsed();
        if !lost && quiet > every + SILENT {
            app.gone = Some(format!("the daemon has not answered for {} s", quiet.as_secs()));
        }
        screen.terminal.draw(|frame| draw(frame, &mut app, Theme { colour }))?;
        match next(&news, &stop)? {
            Next::Keys(keys) => keys.into_iter().try_for_each(|key| screen.press(key, &mut app))?,
            Next::News(Ok(status)) => {
                app.model.take(status);
                (app.gone, lost, heard) = (None, false, Instant::now());
            }
            Next::News(Err(error)) => {
                (app.gone, lost) = (Some(format!("daemon gone, waiting ({error})")), true);
            }
            Next::Nothing => {}
        }
    }
    Ok(())
}

/// Asks the daemon again and again, in a thread, so that one that does not answer holds no key up.
fn look(path: PathBuf, every: Duration) -> io::Result<Receiver<News>> {
    let (sender, news) = sync_channel(1);
    let ask = move || {
        loop {
            thread::sleep(every);
            if sender.send(status_at(&path)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("look".into()).spawn(ask)?;
    Ok(news)
}

/// What happened next.
enum Next {
    Keys(Vec<KeyEvent>),
    News(News),
    /// Nothing for a second, or something that only asks for a new drawing.
    Nothing,
}

fn next(news: &Receiver<News>, stop: &Stop) -> anyhow::Result<Next> {
    let start = Instant::now();
    while !stop.asked() && start.elapsed() < Duration::from_secs(1) {
        if event::poll(LOOK)? {
            let mut keys = Vec::new();
            while event::poll(Duration::ZERO)? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => keys.push(key),
                    // The size is asked for anew at each drawing.
                    _ => {}
                }
            }
            return Ok(Next::Keys(keys));
        }
        match news.try_recv() {
            Ok(news) => return Ok(Next::News(news)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("nobody asks the daemon any more"),
        }
    }
    Ok(Next::Nothing)
}

/// The terminal's other screen, as long as this lives.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn take() -> io::Result<Self> {
        // A panic is said on the screen that was there before.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
        let terminal = enter().and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
    }

    fn press(&mut self, key: KeyEvent, app: &mut App) -> io::Result<()> {
        let control = key.modifiers == KeyModifiers::CONTROL;
        match key.code {
            KeyCode::Char('l') if control => self.terminal.clear(),
            KeyCode::Char('z') if control => {
                give_back();
                raise(Signal::SIGTSTP)?;
                enter()?;
                self.terminal.clear()
            }
            _ => {
                app.press(key);
                Ok(())
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::Release);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

/// Gives the terminal back as it was, once: a second time would move the cursor over what was said
/// meanwhile. Best effort: it may be gone.
fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}
