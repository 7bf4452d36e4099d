//! The program's own code in memory.

use std::io;

/// Takes the pages of the program's code out of the resident set. The start of the daemon runs
/// much code that is not needed again; what is needed is mapped again at its next use, from the
/// page cache.
///
/// # Errors
/// The system's. Nothing is lost then but memory.
pub fn release_start() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let ours = |line: &&str| program.to_str().is_some_and(|path| line.ends_with(path));
    for (start, end) in maps.lines().filter(ours).filter_map(executable) {
        let (start, length) = (std::ptr::without_provenance_mut(start), end - start);
        // SAFETY: the range is a whole mapping of this program's file that can be read and
        // executed but not written, so it has no content but the file's, which the kernel maps
        // again at the next access.
        if unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The range of a mapping in a line of /proc/self/maps (proc_pid_maps(5)) if it is code: private,
/// readable and executable, and never written.
fn executable(line: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-xp ") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?)).filter(|(start, end)| start < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_released() {
        let line = |mode: &str| format!("55d0a000-55d0c000 {mode} 00001000 fe:00 42 /usr/bin/x");
        assert_eq!(executable(&line("r-xp")), Some((0x55d0_a000, 0x55d0_c000)));
        for mode in ["r--p", "rw-p", "rwxp", "r-xs", "---p"] {
            assert_eq!(executable(&line(mode)), None, "{mode}");
        }
        assert_eq!(executable("nonsense"), None);
    }

    #[test]
    fn the_program_runs_on_when_its_code_was_released() {
        for _ in 0..10 {
            release_start().unwrap();
        }
    }
}
