//! Looking up names in threads of their own: a resolver may be slow, or never answer.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::LOOKUPS_MAX;
use crate::url::resolve;
use crate::wake::Wake;

/// The addresses of a name, at least one, or the reason why there are none.
pub type Found = Result<Vec<SocketAddr>, String>;

/// Look-ups in progress or queued. `K` identifies who asked, and `A` is what is found: by default
/// the addresses of a host.
#[derive(Debug)]
pub struct Lookups<K, A = Vec<SocketAddr>> {
    jobs: Arc<Mutex<Jobs<K, A>>>,
    found: Receiver<(K, Result<A, String>)>,
    finder: Sender<(K, Result<A, String>)>,
    wake: Wake,
}

#[derive(Debug)]
struct Jobs<K, A> {
    waiting: VecDeque<Job<K, A>>,
    /// The number of look-up threads.
    threads: usize,
}

struct Job<K, A> {
    key: K,
    look: Box<dyn FnOnce() -> Result<A, String> + Send>,
}

impl<K: fmt::Debug, A> fmt::Debug for Job<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<K: Send + 'static> Lookups<K> {
    /// Requests the addresses of a host; [`Self::poll`] returns the answer. An address in text form
    /// needs no resolver and no thread.
    pub fn ask(&self, key: K, host: &str, port: u16) {
        if host.parse::<IpAddr>().is_ok() {
            return self.answer(key, resolve(host, port));
        }
        let host = host.to_string();
        self.ask_by(key, move || resolve(&host, port));
    }
}

impl<K: Send + 'static, A: Send + 'static> Lookups<K, A> {
    /// Creates an empty set; `wake` wakes the loop when there is an answer.
    pub fn new(wake: Wake) -> Self {
        let (finder, found) = channel();
        let jobs = Arc::new(Mutex::new(Jobs { waiting: VecDeque::new(), threads: 0 }));
        Self { jobs, found, finder, wake }
    }

    /// Requests what `look` finds; [`Self::poll`] returns the answer.
    pub fn ask_by(&self, key: K, look: impl FnOnce() -> Result<A, String> + Send + 'static) {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back(Job { key, look: Box::new(look) });
        if jobs.threads == LOOKUPS_MAX {
            return;
        }
        let (shared, finder, wake) =
            (Arc::clone(&self.jobs), self.finder.clone(), self.wake.clone());
        let work = move || {
            while let Some(job) = next(&shared) {
                // The loop may have ended in the meantime.
                let _ = finder.send((job.key, (job.look)()));
                wake.wake();
            }
        };
        match std::thread::Builder::new().name("find".into()).spawn(work) {
            Ok(_) => jobs.threads += 1,
            // If another thread exists, it will take the job.
            Err(_) if jobs.threads > 0 => {}
            Err(error) => {
                let job = jobs.waiting.pop_back();
                drop(jobs);
                if let Some(job) = job {
                    let error = format!("no thread to look the name up: {error}");
                    self.answer(job.key, Err(error));
                }
            }
        }
    }

    fn answer(&self, key: K, found: Result<A, String>) {
        // We hold the receiver ourselves.
        let _ = self.finder.send((key, found));
        self.wake.wake();
    }

    /// The next answer, if there is one.
    pub fn poll(&self) -> Option<(K, Result<A, String>)> {
        self.found.try_recv().ok()
    }
}

fn lock<K, A>(jobs: &Mutex<Jobs<K, A>>) -> MutexGuard<'_, Jobs<K, A>> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next job of a thread; a thread without one ends.
fn next<K, A>(jobs: &Mutex<Jobs<K, A>>) -> Option<Job<K, A>> {
    let mut jobs = lock(jobs);
    let job = jobs.waiting.pop_front();
    if job.is_none() {
        jobs.threads -= 1;
    }
    job
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token, Waker};

    use super::*;

    #[test]
    fn each_question_gets_its_own_answer() {
        let poll = Poll::new().unwrap();
        let lookups = Lookups::new(Wake::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        for port in 1..=100 {
            lookups.ask(port, "localhost", port);
        }
        lookups.ask(101, "::1", 101);
        let answer = || loop {
            if let Some(answer) = lookups.poll() {
                return answer;
            }
            std::thread::yield_now();
        };
        let mut ports: Vec<u16> = (0..101)
            .map(|_| {
                let (key, found) = answer();
                let found = found.unwrap();
                assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
                assert!(found.iter().all(|address| address.port() == key), "{found:?}");
                key
            })
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, (1..=101).collect::<Vec<_>>());
        assert!(lookups.poll().is_none());
    }
}
