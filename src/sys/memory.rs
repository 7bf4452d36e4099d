//! How the C library's allocator gives memory back.

/// Allocations of this many bytes have a mapping of their own, which is given back at once when
/// they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 768 << 10;
/// Free memory at the end of a heap that is kept.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 2 << 20;

/// Has large memory given back when it is freed (mallopt(3), M_MMAP_THRESHOLD). Without this, glibc
/// takes the first large line that is freed as a sign that more will come, and keeps up to 64 MiB
/// in the heap of each thread.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers, and is called before there are other threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
