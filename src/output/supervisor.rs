//! A child's lifecycle as a state machine: start, run, fail, wait, restart, stop.
//!
//! It knows nothing of processes: it is given events and the time, and returns the next step. A
//! child that ends is restarted after a wait that doubles with each failure. A child that ran
//! longer than the longest wait (and at least five seconds) ran well, and its next wait is the
//! first one again. A child is stopped by closing its stdin, then SIGTERM, then SIGKILL, with a
//! grace period after each step.

use std::time::Duration;

use crate::clock::Mono;
use crate::limits::{CRASH_LOOP, RAN_WELL_MIN};

/// The next step for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start it.
    Start,
    /// Close its stdin.
    CloseStdin,
    /// Send TERM to its process group.
    Terminate,
    /// Send KILL to its process group.
    Kill,
}

/// How a child's end should be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was stopped.
    Stopped,
    /// It ended by itself and is restarted after this wait.
    Again(Duration),
    /// It has just entered a crash loop; further failures are not logged until it runs well.
    CrashLoop(Duration),
    /// It is still in a crash loop.
    StillCrashing,
}

/// The state of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It will be started at this time.
    Waiting(Mono),
    /// A start was requested and has not been confirmed.
    Starting,
    /// It has been running since this time.
    Running(Mono),
    /// This step was taken to end it; the next one is due at this time.
    Ending(Step, Mono),
    /// It has ended for good.
    Ended,
}

/// Keeps one child running.
#[derive(Debug)]
pub struct Supervisor {
    first_wait: Duration,
    longest_wait: Duration,
    stop_grace: Duration,
    state: State,
    wait: Duration,
    started: Mono,
    failures: u32,
    for_good: bool,
    /// Number of restarts.
    pub restarts: u64,
}

impl Supervisor {
    /// A child to be started at `now`.
    pub fn new(restart: (Duration, Duration), stop_grace: Duration, now: Mono) -> Self {
        Self {
            first_wait: restart.0,
            longest_wait: restart.1,
            stop_grace,
            state: State::Waiting(now),
            wait: restart.0,
            started: now,
            failures: 0,
            for_good: false,
            restarts: 0,
        }
    }

    /// The state of the child.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns whether it can be given lines now.
    pub fn takes_lines(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Returns whether there is a process.
    pub fn has_started(&self) -> bool {
        matches!(self.state, State::Running(_) | State::Ending(..))
    }

    /// Returns whether it is in a crash loop.
    pub fn crash_loop(&self) -> bool {
        self.failures >= CRASH_LOOP
    }

    fn runs_well_after(&self) -> Duration {
        self.longest_wait.max(RAN_WELL_MIN)
    }

    /// When [`Self::tick`] is due.
    pub fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Waiting(at) | State::Ending(_, at) => Some(at),
            State::Running(since) if self.failures > 0 => Some(since + self.runs_well_after()),
            State::Starting | State::Running(_) | State::Ended => None,
        }
    }

    /// The step that is due now, if any.
    pub fn tick(&mut self, now: Mono) -> Option<Step> {
        match self.state {
            State::Waiting(at) if now >= at => {
                self.state = State::Starting;
                Some(Step::Start)
            }
            State::Ending(step, at) if now >= at => {
                let next = match step {
                    Step::CloseStdin => Step::Terminate,
                    _ => Step::Kill,
                };
                self.state = State::Ending(next, now + self.stop_grace);
                Some(next)
            }
            _ => None,
        }
    }

    /// Returns whether a child that had been in a crash loop now runs well; true once.
    pub fn recovered(&mut self, now: Mono) -> bool {
        let State::Running(since) = self.state else { return false };
        if self.failures == 0 || now.since(since) < self.runs_well_after() {
            return false;
        }
        let was_in_crash_loop = self.crash_loop();
        self.failures = 0;
        self.wait = self.first_wait;
        was_in_crash_loop
    }

    /// It was started.
    pub fn started(&mut self, now: Mono) {
        self.started = now;
        self.state = State::Running(now);
    }

    /// It closed its stdin but keeps running: it is useless and is ended.
    pub fn closed_stdin(&mut self, now: Mono) -> Option<Step> {
        if !matches!(self.state, State::Running(_)) {
            return None;
        }
        self.state = State::Ending(Step::CloseStdin, now + self.stop_grace);
        Some(Step::CloseStdin)
    }

    /// Stops it for good.
    pub fn stop(&mut self, now: Mono) -> Option<Step> {
        self.for_good = true;
        match self.state {
            State::Running(_) => self.closed_stdin(now),
            State::Waiting(_) => {
                self.state = State::Ended;
                None
            }
            State::Starting | State::Ending(..) | State::Ended => None,
        }
    }

    /// It has ended, or could not be started.
    pub fn ended(&mut self, now: Mono) -> Verdict {
        if self.for_good {
            self.state = State::Ended;
            return Verdict::Stopped;
        }
        let ran = now.since(self.started);
        if ran >= self.runs_well_after() && self.state != State::Starting {
            self.failures = 0;
            self.wait = self.first_wait;
        }
        let wait = self.wait;
        self.wait = (self.wait * 2).min(self.longest_wait);
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        self.state = State::Waiting(now + wait);
        match self.failures.cmp(&CRASH_LOOP) {
            std::cmp::Ordering::Less => Verdict::Again(wait),
            std::cmp::Ordering::Equal => Verdict::CrashLoop(wait),
            std::cmp::Ordering::Greater => Verdict::StillCrashing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn supervisor() -> Supervisor {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(8));
        Supervisor::new((first, longest), Duration::from_secs(5), at(0))
    }

    #[test]
    fn waits_double_up_to_the_longest_and_a_crash_loop_is_reported_once() {
        let mut child = supervisor();
        let mut now = at(0);
        let mut verdicts = Vec::new();
        for _ in 0..6 {
            assert_eq!(child.tick(now), Some(Step::Start));
            child.started(now);
            verdicts.push(child.ended(now));
            now = child.deadline().unwrap();
        }
        let seconds = Duration::from_secs;
        assert_eq!(verdicts[..2], [Verdict::Again(seconds(1)), Verdict::Again(seconds(2))]);
        assert_eq!(verdicts[2], Verdict::CrashLoop(seconds(4)));
        assert_eq!(verdicts[3..], [Verdict::StillCrashing; 3]);
        assert_eq!(now, at(1 + 2 + 4 + 8 + 8 + 8));
        assert_eq!(child.restarts, 6);
    }

    #[test]
    fn a_child_that_ran_well_begins_with_the_first_wait_again() {
        let mut child = supervisor();
        for _ in 0..4 {
            let now = child.deadline().unwrap();
            child.tick(now);
            child.started(now);
            child.ended(now);
        }
        let now = child.deadline().unwrap();
        child.tick(now);
        child.started(now);
        assert!(!child.recovered(now));
        let well = child.deadline().unwrap();
        assert_eq!(well, now + Duration::from_secs(8));
        assert!(child.recovered(well));
        assert!(!child.recovered(well), "reported once");
        assert_eq!(child.ended(well), Verdict::Again(Duration::from_secs(1)));
    }

    #[test]
    fn the_stop_sequence_is_eof_then_term_then_kill() {
        let mut child = supervisor();
        child.tick(at(0));
        child.started(at(0));
        assert_eq!(child.stop(at(10)), Some(Step::CloseStdin));
        assert_eq!(child.tick(at(14)), None);
        assert_eq!(child.tick(at(15)), Some(Step::Terminate));
        assert_eq!(child.tick(at(20)), Some(Step::Kill));
        assert_eq!(child.ended(at(20)), Verdict::Stopped);
        assert_eq!(child.state(), State::Ended);
        assert_eq!(child.deadline(), None);
    }

    #[test]
    fn a_child_that_closed_its_stdin_is_ended_and_started_again() {
        let mut child = supervisor();
        child.tick(at(0));
        child.started(at(0));
        assert_eq!(child.closed_stdin(at(1)), Some(Step::CloseStdin));
        assert!(!child.takes_lines());
        assert_eq!(child.tick(at(6)), Some(Step::Terminate));
        assert_eq!(child.ended(at(6)), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(child.tick(at(7)), Some(Step::Start));
    }

    #[test]
    fn a_child_stopped_while_it_waits_is_never_started() {
        let mut child = supervisor();
        child.tick(at(0));
        child.ended(at(0));
        assert_eq!(child.stop(at(0)), None);
        assert_eq!(child.tick(at(100)), None);
        assert_eq!(child.state(), State::Ended);
    }
}
