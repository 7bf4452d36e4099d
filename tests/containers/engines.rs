//! Docker's engine and containerd, with their own files. They take a minute to start and are not on
//! every machine: LOGWEIR_TEST_ENGINES is a folder with `crictl` (`.ci/peers/fetch` makes one),
//! and Debian's docker.io is to be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::util::{Daemon, skip_here, skip_missing, wait_for};

use super::{CONFIG, PRINTS, busybox, run_all, wait_all};

/// The folder with crictl, if these tests are asked for.
fn asked_for() -> Option<PathBuf> {
    let folder = std::env::var_os("LOGWEIR_TEST_ENGINES").map(PathBuf::from);
    if folder.is_none() {
        skip_here("LOGWEIR_TEST_ENGINES is not set");
    }
    folder
}

/// A daemon of an engine; ended when dropped.
struct Engine(Child);

impl Engine {
    fn start(program: &str, arguments: &[String], log: &Path) -> Option<Self> {
        let said = fs::File::create(log).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(_) => {
                skip_missing(&format!("{program} (Debian's docker.io)"));
                None
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// What a command printed; an error if it failed.
fn done(output: &Output) -> Result<String, String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn containers_of_dockers_engine_lose_no_line_though_their_files_go_with_them() {
    if asked_for().is_none() {
        return;
    }
    let mut daemon = Daemon::prepare(&CONFIG.replace("{dir}/pods", "{dir}/docker/containers"));
    let path = |name: &str| daemon.path(name).display().to_string();
    let root = daemon.path("image");
    fs::create_dir(&root).unwrap();
    let Some(tar) = busybox(&root) else { return };
    let host = format!("unix://{}", path("docker.sock"));
    let arguments = [
        format!("--host={host}"),
        format!("--data-root={}", path("docker")),
        format!("--exec-root={}", path("exec")),
        format!("--pidfile={}", path("docker.pid")),
        "--iptables=false".into(),
        "--ip6tables=false".into(),
        "--bridge=none".into(),
        "--storage-driver=overlay2".into(),
        "--default-ulimit=nofile=1024:1024".into(),
    ];
    let log = daemon.path("dockerd.log");
    let Some(_engine) = Engine::start("/usr/sbin/dockerd", &arguments, &log) else { return };
    let docker = |words: &[&str]| {
        let mut command = Command::new("/usr/bin/docker");
        command.arg(format!("--host={host}")).args(words);
        done(&command.output().unwrap())
    };
    wait_for("Docker's engine", || docker(&["version"]).ok());
    docker(&["import", &tar.display().to_string(), "lw:1"]).unwrap();
    daemon.run();
    let all = run_all(|_| {
        let words = ["run", "--rm", "--network=none", "lw:1", "/bin/sh", "-c", PRINTS];
        docker(&words).map(drop)
    });
    if all {
        let lines = wait_all(&daemon);
        assert!(lines.iter().all(|line| line.contains(" image=\"lw:1\"")), "{}", lines[0]);
    }
}

/// The busybox image as an archive that containerd imports as `docker.io/library/lw:1`, whose
/// program sleeps: it is also what holds a pod together.
fn archive(root: &Path) -> Option<PathBuf> {
    let layer = busybox(root)?;
    let output = Command::new("sha256sum").arg(&layer).output().unwrap();
    let sum = done(&output).unwrap().split(' ').next().unwrap().to_string();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": { "Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    let manifest = serde_json::json!([{
        "Config": "config.json", "RepoTags": ["lw:1"], "Layers": ["image.tar"],
    }]);
    fs::write(root.join("config.json"), config.to_string()).unwrap();
    fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = root.join("archive.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).arg("-cf").arg(&archive);
    let made = tar.args(["manifest.json", "config.json", "image.tar"]).status();
    assert!(made.unwrap().success());
    Some(archive)
}

/// containerd's configuration, in a folder.
fn containerd(folder: &Path) -> String {
    let here = folder.display();
    format!(
        "version = 2\nroot = \"{here}/root\"\nstate = \"{here}/state\"\n\
         [grpc]\naddress = \"{here}/containerd.sock\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"docker.io/library/lw:1\"\n\
         disable_apparmor = true\nrestrict_oom_score_adj = true\n"
    )
}

/// Runs a command of crictl.
type Run<'r> = dyn Fn(&[&str]) -> Result<String, String> + Sync + 'r;

/// Runs a pod of one container as kubelet does: its files go a tenth of a second after its end.
fn run_pod(crictl: &Run<'_>, (root, pods): (&Path, &Path), number: u64) -> Result<(), String> {
    let folder = pods.join(format!("ns_pod{number}_uid{number}"));
    fs::create_dir_all(folder.join("c")).unwrap();
    let pod = serde_json::json!({
        "metadata": {
            "name": format!("pod{number}"), "namespace": "ns", "uid": format!("uid{number}"),
        },
        "log_directory": folder,
        "linux": { "security_context": {
            "namespace_options": { "network": 2, "pid": 2, "ipc": 2 },
        } },
    });
    let container = serde_json::json!({
        "metadata": { "name": "c" },
        "image": { "image": "docker.io/library/lw:1" },
        "command": ["/bin/sh", "-c", PRINTS],
        "log_path": "c/0.log",
        "linux": {},
    });
    let write = |name: String, json: serde_json::Value| {
        let path = root.join(name);
        fs::write(&path, json.to_string()).unwrap();
        path.display().to_string()
    };
    let pod = write(format!("pod{number}.json"), pod);
    let container = write(format!("container{number}.json"), container);
    let sandbox = crictl(&["runp", &pod])?;
    let id = crictl(&["create", &sandbox, &container, &pod])?;
    crictl(&["start", &id])?;
    wait_for("the container's end", || {
        let state = ["inspect", "-o", "go-template", "--template", "{{.status.state}}", &id];
        let state = crictl(&state).ok()?;
        state.contains("EXITED").then_some(())
    });
    crictl(&["stopp", &sandbox])?;
    crictl(&["rmp", &sandbox])?;
    std::thread::sleep(Duration::from_millis(100));
    fs::remove_dir_all(folder).unwrap();
    Ok(())
}

#[test]
fn pods_of_containerd_lose_no_line_though_their_files_go_with_them() {
    let Some(folder) = asked_for() else { return };
    let daemon = super::start();
    let root = daemon.path("cri");
    fs::create_dir(&root).unwrap();
    let Some(archive) = archive(&root) else { return };
    let (config, socket) = (root.join("config.toml"), root.join("containerd.sock"));
    fs::write(&config, containerd(&root)).unwrap();
    let arguments = ["--config".into(), config.display().to_string()];
    let log = root.join("containerd.log");
    let Some(_engine) = Engine::start("/usr/bin/containerd", &arguments, &log) else { return };
    let endpoint = format!("unix://{}", socket.display());
    let crictl = |words: &[&str]| {
        let mut command = Command::new(folder.join("crictl"));
        command.args(["--runtime-endpoint", &endpoint, "--image-endpoint", &endpoint]);
        done(&command.args(words).output().unwrap())
    };
    wait_for("containerd", || crictl(&["version"]).ok());
    let mut import = Command::new("/usr/bin/ctr");
    import.arg("--address").arg(&socket).args(["-n", "k8s.io", "images", "import"]);
    done(&import.arg(&archive).output().unwrap()).unwrap();
    let pods = daemon.path("pods");
    if run_all(|number| run_pod(&crictl, (&root, &pods), number)) {
        let lines = wait_all(&daemon);
        assert!(lines.iter().all(|line| line.contains("namespace=\"ns\" pod=\"pod")));
    }
}
