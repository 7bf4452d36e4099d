//! The output of containers comes from the files of their runtimes, whole and with its container.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::util::{Daemon, run, skip_here, skip_missing, wait_for};

mod engines;

/// Follows `pods` into a spool.
const CONFIG: &str = "[input.c]\ncontainers = \"{dir}/pods\"\n\
                      [spool.s]\nfrom = \"c\"\ndir = \"{dir}/spool\"\n\
                      [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

fn start() -> Daemon {
    Daemon::start_with(CONFIG, |dir| fs::create_dir(dir.join("pods")).unwrap())
}

fn spooled(daemon: &Daemon) -> Vec<String> {
    let dir = daemon.path("spool");
    let output = run(&["spool", "cat", dir.to_str().unwrap()], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

/// Waits until the spool has so many lines.
fn wait_spooled(daemon: &Daemon, count: u64) -> Vec<String> {
    let count = usize::try_from(count).unwrap();
    let lines = wait_for(&format!("{count} lines in the spool"), || {
        let lines = spooled(daemon);
        (lines.len() >= count).then_some(lines)
    });
    assert_eq!(lines.len(), count);
    lines
}

fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const TIME: &str = "2026-11-27T18:00:00.123456789Z";

#[test]
fn a_storm_of_short_lived_pods_loses_no_line() {
    const PODS: u64 = 200;
    const LINES: u64 = 100;
    let daemon = start();
    let pods = daemon.path("pods");
    let writers = (0..8).map(|writer| {
        let pods = pods.clone();
        std::thread::spawn(move || {
            for pod in (writer..PODS).step_by(8) {
                let folder = pods.join(format!("ns_pod{pod}_uid{pod}"));
                let log = folder.join("c/0.log");
                for line in 0..LINES {
                    append(&log, &format!("{TIME} stdout F {pod} {line}\n"));
                }
                // What a runtime leaves readable for a tenth of a second.
                std::thread::sleep(Duration::from_millis(100));
                fs::remove_dir_all(folder).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut lines = wait_spooled(&daemon, PODS * LINES);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len() as u64, PODS * LINES);
    assert!(lines.iter().all(|line| line.contains("namespace=\"ns\" pod=\"pod")));
}

#[test]
fn a_record_whose_pieces_stand_in_two_files_is_one_line_also_across_a_restart() {
    let mut daemon = start();
    let log = daemon.path("pods/ns_web_u/nginx/0.log");
    append(&log, &format!("{TIME} stdout F one\n{TIME} stderr P be\n{TIME} stdout F two\n"));
    wait_spooled(&daemon, 2);
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    // As kubelet does it: renamed, and the runtime opens a new one.
    fs::rename(&log, log.with_extension("log.20261127-180000")).unwrap();
    append(&log, &format!("{TIME} stderr F gun\n"));
    daemon.run();
    let lines = wait_spooled(&daemon, 3);
    assert!(lines[2].starts_with("<11>1 2026-11-27T18:00:00.123456Z "), "{}", lines[2]);
    assert!(lines[2].ends_with("stream=\"stderr\"] begun"), "{}", lines[2]);
    // A piece without its end comes when its container is gone.
    append(&log, &format!("{TIME} stdout P rest\n"));
    fs::remove_dir_all(daemon.path("pods/ns_web_u")).unwrap();
    let lines = wait_spooled(&daemon, 4);
    assert!(lines[3].ends_with("] rest"), "{}", lines[3]);
}

#[test]
fn dockers_files_are_read_with_the_containers_name() {
    let daemon = start();
    let folder = daemon.path("pods/0123456789abcdef");
    fs::create_dir(&folder).unwrap();
    let config = r#"{"Name":"/web","Config":{"Image":"nginx:1","Labels":{"team":"shop"}}}"#;
    fs::write(folder.join("config.v2.json"), config).unwrap();
    let line = format!("{{\"log\":\"hi \\u00e9\\n\",\"stream\":\"stdout\",\"time\":\"{TIME}\"}}\n");
    append(&folder.join("0123456789abcdef-json.log"), &line);
    let lines = wait_spooled(&daemon, 1);
    assert!(lines[0].contains(" web - - [container@32473 container=\"web\""), "{}", lines[0]);
    assert!(lines[0].contains("[labels@32473 team=\"shop\"] hi é"), "{}", lines[0]);
}

/// A tree of busybox below `root`, as a tar file.
fn busybox(root: &Path) -> Option<PathBuf> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let busybox = busybox.into_iter().find(|path| path.exists())?;
    if !nix::unistd::geteuid().is_root() {
        skip_here("needs root");
        return None;
    }
    let image = root.join("image");
    fs::create_dir_all(image.join("bin")).unwrap();
    fs::copy(busybox, image.join("bin/busybox")).unwrap();
    for name in ["sh", "echo", "seq", "sleep"] {
        std::os::unix::fs::symlink("busybox", image.join("bin").join(name)).unwrap();
    }
    let tar = root.join("image.tar");
    let made = Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&tar).arg(".").status();
    assert!(made.unwrap().success());
    Some(tar)
}

/// An image of busybox, imported into podman's storage below `root`.
fn podman(root: &Path) -> Option<Vec<String>> {
    let tar = busybox(root)?;
    let storage = [
        format!("--root={}", root.join("storage").display()),
        format!("--runroot={}", root.join("run").display()),
        "--storage-driver=vfs".into(),
    ];
    let mut import = Command::new("podman");
    import.args(&storage).arg("import").arg(&tar).arg("lw:1");
    match import.output() {
        Ok(output) if output.status.success() => Some(storage.to_vec()),
        Ok(output) => {
            skip_here(&String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(_) => {
            skip_missing("podman (Debian's podman, crun, conmon)");
            None
        }
    }
}

/// How many containers a test with a real runtime starts: LOGWEIR_TEST_CONTAINERS, or five.
fn containers() -> u64 {
    let count = std::env::var("LOGWEIR_TEST_CONTAINERS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(5)
}

/// What each of them prints: a hundred lines, and one on standard error.
const PRINTS: &str = "for n in $(seq 100); do echo line $n; done; echo error >&2; sleep 1";
const PRINTED: u64 = 101;

/// Runs containers, some of them at a time; whether all could be run.
fn run_all(run: impl Fn(u64) -> Result<(), String> + Sync) -> bool {
    let count = containers();
    let turns = |first: u64| (first..count).step_by(4).try_for_each(&run);
    let failed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|first| scope.spawn(move || turns(first))).collect();
        threads.into_iter().find_map(|thread| thread.join().unwrap().err())
    });
    failed.inspect(|why| skip_here(why)).is_none()
}

/// Waits for all lines of all containers, each once.
fn wait_all(daemon: &Daemon) -> Vec<String> {
    let count = containers();
    wait_for("all lines", || (daemon.node("c").lines_out >= count * PRINTED).then_some(()));
    let lines = wait_spooled(daemon, count * PRINTED);
    let errors =
        lines.iter().filter(|line| line.starts_with("<11>1 ") && line.ends_with("] error"));
    assert_eq!(errors.count() as u64, count);
    for n in 1..=100 {
        let end = format!("] line {n}");
        let count_n = lines.iter().filter(|line| line.ends_with(&end)).count() as u64;
        assert_eq!(count_n, count, "line {n}");
    }
    lines
}

#[test]
fn podmans_containers_lose_no_line_though_their_files_go_with_them() {
    let daemon = start();
    let root = daemon.path("podman");
    fs::create_dir(&root).unwrap();
    let Some(storage) = podman(&root) else { return };
    let pods = daemon.path("pods");
    let all = run_all(|number| {
        let folder = pods.join(format!("ns_pod{number}_uid"));
        fs::create_dir_all(folder.join("c")).unwrap();
        let log = format!("path={}", folder.join("c/0.log").display());
        let script = "mount | grep -q ' /sys/fs/cgroup/unified ' && umount /sys/fs/cgroup/unified; \
                      exec podman \"$@\"";
        let output = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .args(&storage)
            .args(["run", "--rm", "--network=none", "--cgroups=disabled"])
            .args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"])
            .args(["--log-driver=k8s-file", "--log-opt", &log, "lw:1", "/bin/sh", "-c", PRINTS])
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
        fs::remove_dir_all(folder).unwrap();
        Ok(())
    });
    if all {
        wait_all(&daemon);
    }
}
