//! The daemon's resource usage, as counted by the kernel.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};

use crate::metrics::Usage;

/// Asks the kernel; figures that are not available are 0.
pub(super) fn usage() -> Usage {
    let mut usage = Usage::default();
    if let Ok(used) = getrusage(UsageWho::RUSAGE_SELF) {
        usage.cpu = time(used.user_time()) + time(used.system_time());
    }
    // proc(5): pages mapped, then pages resident.
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').map(|word| word.parse().unwrap_or(0));
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok());
    let page: u64 = page.unwrap_or(4096);
    usage.mapped = pages.next().unwrap_or(0) * page;
    usage.resident = pages.next().unwrap_or(0) * page;
    // The descriptor that reads the folder is among them.
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    usage.descriptors = (descriptors as u64).saturating_sub(1);
    usage.descriptors_most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usage
}

fn time(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_what_this_process_takes() {
        let usage = usage();
        assert!(usage.cpu > Duration::ZERO);
        assert!(usage.resident > 1024 * 1024 && usage.mapped > usage.resident, "{usage:?}");
        assert!(usage.descriptors >= 3 && usage.descriptors < usage.descriptors_most, "{usage:?}");
    }
}
