//! The name of this host. It stands in lines, so the system is not asked for each of them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The name, and how often it was asked for. A name that changes is rare, and the old one is kept.
static NAME: RwLock<&'static str> = RwLock::new("");
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What a thread knows, so that it takes the lock only after a reload.
    static KNOWN: Cell<(u64, &'static str)> = const { Cell::new((0, "")) };
}

/// Asks the system for the name, at the start and at each reload.
pub fn ask() {
    let is = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = NAME.write().unwrap_or_else(PoisonError::into_inner);
    if *name != is {
        *name = Box::leak(is.into_boxed_str());
    }
    ASKED.fetch_add(1, Ordering::Release);
}

/// The name, as it was when it was last asked for; the system is asked if it never was.
pub fn name() -> &'static str {
    let (known, name) = KNOWN.get();
    let asked = ASKED.load(Ordering::Acquire);
    if asked == known && asked > 0 {
        return name;
    }
    if asked == 0 {
        ask();
    }
    let asked = ASKED.load(Ordering::Acquire);
    let name = *NAME.read().unwrap_or_else(PoisonError::into_inner);
    KNOWN.set((asked, name));
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_what_the_system_says_in_every_thread() {
        let is = nix::unistd::gethostname().unwrap().into_string().unwrap();
        assert_eq!(super::name(), is);
        super::ask();
        assert_eq!(std::thread::spawn(super::name).join().unwrap(), is);
        assert!(std::ptr::eq(super::name(), super::name()), "nothing new is kept");
    }
}
