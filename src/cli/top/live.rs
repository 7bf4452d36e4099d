//! The terminal: set up, drawn on, and always restored.

use std::io::{self, IsTerminal, stdout};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
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
use super::past::{Past, ask_past};
use super::text::Glyphs;
use crate::cli::control::{Daemon, status_at};
use crate::driver::clients::Stop;
use crate::engine::status::Status;

/// Interval at which news is checked while no key is pressed.
const LOOK: Duration = Duration::from_millis(100);
/// Time beyond the interval after which a daemon without an answer is reported.
const SILENT: Duration = Duration::from_secs(3);

/// How often the past of a node is asked for.
const PAST_EVERY: Duration = Duration::from_secs(5);

/// What the daemon said: its state, and the past of the node that was wanted.
type News = Result<(Status, Option<Past>), String>;

/// The node whose past is wanted, for the thread that asks.
type Wanted = Arc<Mutex<Option<String>>>;

/// Shows the daemon until a key or a signal ends it.
///
/// # Errors
/// The daemon is not reachable at first, or the terminal cannot be used.
pub(super) fn run(daemon: &Daemon, every: Duration) -> anyhow::Result<()> {
    let term = std::env::var("TERM").unwrap_or_default();
    if !stdout().is_terminal() {
        bail!("top needs a terminal and standard output is not one: try `logweir top --once`");
    }
    if term.is_empty() || term == "dumb" {
        bail!("this terminal (TERM={term}) cannot be drawn on: try `logweir top --once`");
    }
    let variable = |name: &str| std::env::var(name).ok();
    let colour = variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let stop = Stop::on_signals(Duration::ZERO)?;
    let mut app = App::new(Model::new(daemon.status()?), Glyphs::of(variable));
    let wanted = Wanted::default();
    let news = look(daemon.path(), every, Arc::clone(&wanted))?;
    let mut screen = Screen::take()?;
    let (mut heard, mut lost) = (Instant::now(), false);
    while !app.done && !stop.asked() {
        let quiet = heard.elapsed();
        if !lost && quiet > every + SILENT {
            app.gone = Some(format!("the daemon has not answered for {} s", quiet.as_secs()));
        }
        screen.terminal.draw(|frame| draw(frame, &mut app, Theme { colour }))?;
        match next(&news, &stop)? {
            Next::Keys(keys) => {
                keys.into_iter().try_for_each(|key| screen.press(key, &mut app))?;
                let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                *wanted = app.wants_past().map(str::to_string);
            }
            Next::News(news) => match *news {
                Ok((status, past)) => {
                    app.model.take(status);
                    app.past = past.or(app.past);
                    (app.gone, lost, heard) = (None, false, Instant::now());
                }
                Err(error) => {
                    (app.gone, lost) = (Some(format!("daemon gone, waiting ({error})")), true);
                }
            },
            Next::Nothing => {}
        }
    }
    Ok(())
}

/// Asks the daemon repeatedly, in a thread, so that a daemon that hangs does not block the keys.
fn look(path: PathBuf, every: Duration, wanted: Wanted) -> io::Result<Receiver<News>> {
    let (sender, news) = sync_channel(1);
    let ask = move || {
        let mut asked: Option<(String, Instant)> = None;
        loop {
            thread::sleep(every);
            let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_known = |node: &String| {
                asked.as_ref().is_some_and(|(name, at)| name == node && at.elapsed() < PAST_EVERY)
            };
            let wanted = wanted.filter(|node| !is_known(node));
            let news = status_at(&path).map(|status| {
                // A daemon of an earlier version knows no past.
                let past = wanted.as_deref().and_then(|node| ask_past(&path, node).ok());
                (status, past)
            });
            asked = wanted.map(|node| (node, Instant::now())).or(asked);
            if sender.send(news).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("look".into()).spawn(ask)?;
    Ok(news)
}

/// The next event.
enum Next {
    Keys(Vec<KeyEvent>),
    News(Box<News>),
    /// None for a second, or one that only needs a redraw.
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
                    // The size is queried at each drawing.
                    _ => {}
                }
            }
            return Ok(Next::Keys(keys));
        }
        match news.try_recv() {
            Ok(news) => return Ok(Next::News(Box::new(news))),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("the thread that asks the daemon has ended"),
        }
    }
    Ok(Next::Nothing)
}

/// The terminal's alternate screen, active while the value lives.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn take() -> io::Result<Self> {
        // A panic message belongs on the original screen.
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

/// True while the terminal is in use.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::Release);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

/// Restores the terminal, once: a second time would move the cursor over later output. Best effort:
/// the terminal may be gone.
fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}
