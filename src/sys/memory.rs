//! How the allocator deals with large pieces of memory.

/// Has pieces of this size and more given back to the system as soon as they are freed. Without
/// it glibc raises the size at the first large piece that is freed, and keeps the blocks of many
/// receivers in a heap for each thread, where a small piece behind them holds them (mallopt(3)).
pub fn return_pieces_of(bytes: usize) {
    #[cfg(target_env = "gnu")]
    {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: mallopt only sets a number of the allocator's and may be called at any time.
        let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) };
        if done == 0 {
            log::debug!("the allocator keeps large pieces of memory");
        }
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}
