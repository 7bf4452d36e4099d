//! What packages hold, and the unit they start the daemon by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::util::LOGWEIR;

/// Files and modes of the package, besides the manual pages of the subcommands.
const LOGWEIR_DEB: &str = "\
-rw-r--r-- /etc/logweir/conf.d/README
-rw-r--r-- /etc/logweir/logweir.toml
-rwxr-xr-x /usr/bin/logweir
-rw-r--r-- /usr/lib/logweir/filters/errors-per-minute.awk
-rw-r--r-- /usr/lib/logweir/filters/prefixes.awk
-rw-r--r-- /usr/lib/logweir/filters/top.awk
-rwxr-xr-x /usr/lib/logweir/filters/anonymise.sh
-rwxr-xr-x /usr/lib/logweir/filters/domain.sh
-rw-r--r-- /usr/lib/systemd/system/logweir.service
-rw-r--r-- /usr/lib/sysusers.d/logweir.conf
-rw-r--r-- /usr/lib/tmpfiles.d/logweir.conf
-rw-r--r-- /usr/share/bash-completion/completions/logweir
-rw-r--r-- /usr/share/doc/logweir/README.md
-rw-r--r-- /usr/share/doc/logweir/changelog.Debian.gz
-rw-r--r-- /usr/share/doc/logweir/changelog.gz
-rw-r--r-- /usr/share/doc/logweir/copyright
-rw-r--r-- /usr/share/doc/logweir/examples/logweir.socket
-rw-r--r-- /usr/share/doc/logweir/filters.md
-rw-r--r-- /usr/share/fish/vendor_completions.d/logweir.fish
-rw-r--r-- /usr/share/logweir/logweir.toml
-rw-r--r-- /usr/share/man/man1/logweir-run.1.gz
-rw-r--r-- /usr/share/man/man1/logweir-spool-cat.1.gz
-rw-r--r-- /usr/share/man/man1/logweir.1.gz
-rw-r--r-- /usr/share/man/man5/logweir-spool.5.gz
-rw-r--r-- /usr/share/man/man5/logweir.toml.5.gz
-rw-r--r-- /usr/share/man/man7/logweir-audit.7.gz
-rw-r--r-- /usr/share/man/man7/logweir-control.7.gz
-rw-r--r-- /usr/share/zsh/vendor-completions/_logweir
";

/// The same of the package with udp2log's names.
const UDP2LOG_DEB: &str = "\
lrwxrwxrwx /usr/bin/kafkatee -> logweir
lrwxrwxrwx /usr/bin/log2udp -> logweir
lrwxrwxrwx /usr/bin/packet-loss -> logweir
lrwxrwxrwx /usr/bin/udp2log -> logweir
lrwxrwxrwx /usr/bin/udp2log-demux -> logweir
-rw-r--r-- /usr/share/doc/logweir-udp2log/changelog.Debian.gz
-rw-r--r-- /usr/share/doc/logweir-udp2log/copyright
lrwxrwxrwx /usr/share/man/man1/kafkatee.1.gz -> logweir-kafkatee.1.gz
lrwxrwxrwx /usr/share/man/man1/log2udp.1.gz -> logweir-log2udp.1.gz
lrwxrwxrwx /usr/share/man/man1/packet-loss.1.gz -> logweir-packet-loss.1.gz
lrwxrwxrwx /usr/share/man/man1/udp2log-demux.1.gz -> logweir-udp2log-demux.1.gz
lrwxrwxrwx /usr/share/man/man1/udp2log.1.gz -> logweir-udp2log.1.gz
";

/// Files, modes and flags of the RPM package: c is configuration, n stays where it was changed, d
/// is documentation.
const LOGWEIR_RPM: &str = "\
-rw-r--r-- /etc/logweir/conf.d/README cn
-rw-r--r-- /etc/logweir/logweir.toml cn
-rwxr-xr-x /usr/bin/logweir
-rwxr-xr-x /usr/lib/logweir/filters/anonymise.sh
-rwxr-xr-x /usr/lib/logweir/filters/domain.sh
-rw-r--r-- /usr/lib/logweir/filters/errors-per-minute.awk
-rw-r--r-- /usr/lib/logweir/filters/prefixes.awk
-rw-r--r-- /usr/lib/logweir/filters/top.awk
-rw-r--r-- /usr/lib/systemd/system/logweir.service
-rw-r--r-- /usr/lib/sysusers.d/logweir.conf
-rw-r--r-- /usr/lib/tmpfiles.d/logweir.conf
-rw-r--r-- /usr/share/bash-completion/completions/logweir
-rw-r--r-- /usr/share/doc/logweir/CHANGELOG.md d
-rw-r--r-- /usr/share/doc/logweir/README.md d
-rw-r--r-- /usr/share/doc/logweir/examples/logweir.socket d
-rw-r--r-- /usr/share/doc/logweir/filters.md d
-rw-r--r-- /usr/share/fish/vendor_completions.d/logweir.fish
-rw-r--r-- /usr/share/licenses/logweir/LICENSE d
-rw-r--r-- /usr/share/logweir/logweir.toml
-rw-r--r-- /usr/share/man/man1/logweir-run.1.gz d
-rw-r--r-- /usr/share/man/man1/logweir-spool-cat.1.gz d
-rw-r--r-- /usr/share/man/man1/logweir.1.gz d
-rw-r--r-- /usr/share/man/man5/logweir-spool.5.gz d
-rw-r--r-- /usr/share/man/man5/logweir.toml.5.gz d
-rw-r--r-- /usr/share/man/man7/logweir-audit.7.gz d
-rw-r--r-- /usr/share/man/man7/logweir-control.7.gz d
-rw-r--r-- /usr/share/zsh/site-functions/_logweir
";

/// The same of the package with udp2log's names.
const UDP2LOG_RPM: &str = "\
-rwxr-xr-x /usr/bin/kafkatee
-rwxr-xr-x /usr/bin/log2udp
-rwxr-xr-x /usr/bin/packet-loss
-rwxr-xr-x /usr/bin/udp2log
-rwxr-xr-x /usr/bin/udp2log-demux
-rw-r--r-- /usr/share/man/man1/kafkatee.1 d
-rw-r--r-- /usr/share/man/man1/log2udp.1 d
-rw-r--r-- /usr/share/man/man1/packet-loss.1 d
-rw-r--r-- /usr/share/man/man1/udp2log-demux.1 d
-rw-r--r-- /usr/share/man/man1/udp2log.1 d
";

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What a command printed on its standard output; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (out, error) = (&output.stdout, &output.stderr);
    let said = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error));
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(out).into_owned()
}

/// Whether a program is there; where it is not, that is said.
fn has(program: &str, package: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        crate::util::skip_missing(&format!("{program} ({package})"));
    }
    there
}

#[test]
fn the_packages_configuration_is_accepted() {
    output(Command::new(LOGWEIR).args(["check", "-c", "packaging/logweir.toml"]));
}

#[test]
fn the_example_in_the_folder_of_included_files_adds_to_the_packages_configuration() {
    let readme = source("packaging/conf.d/README");
    let example: String = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    ").map(|line| format!("{line}\n")))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(folder.path().join("conf.d/10-local.toml"), example).unwrap();
    // A file that is not TOML is left out.
    std::fs::write(folder.path().join("conf.d/README"), &readme).unwrap();
    let config = folder.path().join("logweir.toml");
    std::fs::write(&config, source("packaging/logweir.toml")).unwrap();
    let check = ["check", "--graph", "text", "-c"];
    let graph = output(Command::new(LOGWEIR).args(check).arg(&config));
    for node in ["udp  udp", "all  file", "local  syslog", "errors  severity"] {
        assert!(graph.contains(node), "{node}: {graph}");
    }
}

#[test]
fn the_packages_changelog_begins_with_this_version() {
    let first = format!("logweir ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(source("packaging/debian/changelog").starts_with(&first), "{first}");
}

#[test]
fn the_unit_is_confined_and_understood() {
    if !has("systemd-analyze", "Debian's systemd") {
        return;
    }
    let unit = "packaging/systemd/logweir.service";
    // Exposure in tenths.
    let security = ["security", "--offline=true", "--threshold=20"];
    output(Command::new("systemd-analyze").args(security).arg(unit));

    // It wants the programs of a unit to be there, and its manual pages.
    let folder = tempfile::tempdir().unwrap();
    let service = folder.path().join("logweir.service");
    std::fs::write(&service, source(unit).replace("/usr/bin/logweir", "/bin/true")).unwrap();
    let socket = folder.path().join("logweir.socket");
    std::fs::write(&socket, source("packaging/systemd/logweir.socket")).unwrap();
    let units = [service, socket];
    output(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units));
}

/// Builds packages; what was printed. One at a time, since they share a folder.
fn build(kind: &str) -> String {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    output(build_script().arg(kind))
}

/// The script that builds packages, without what cargo tells tests: build scripts that look there
/// would compile everything again.
fn build_script() -> Command {
    let mut build = Command::new("packaging/build.sh");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start)) {
            build.env_remove(&*name);
        }
    }
    build
}

/// The files of a package, as `dpkg -c` lists them, without folders, owners, sizes and times.
fn files(package: &Path) -> Vec<String> {
    let listed = output(Command::new("dpkg").arg("-c").arg(package));
    let files = listed.lines().filter(|line| !line.starts_with('d')).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(["0/0", "root/root"].contains(&words[1]), "{line}");
        format!("{} {}", words[0], words[5..].join(" ").trim_start_matches('.'))
    });
    files.collect()
}

fn assert_files(found: &[String], expected: &str) {
    let expected = expected.lines();
    let missing: Vec<_> =
        expected.clone().filter(|line| !found.iter().any(|f| f == line)).collect();
    // The pages of the subcommands, and what dashboards and rules there are.
    let may = ["/usr/share/man/man1/logweir-", "/usr/share/logweir/"];
    let more = found.iter().filter(|file| !expected.clone().any(|line| line == *file));
    let more: Vec<_> = more.filter(|file| !may.iter().any(|may| file.contains(may))).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:#?}, not expected {more:#?}");
}

/// Whether packages are to be built and tested; where they are not, that is said.
pub fn wanted() -> bool {
    let wanted = std::env::var_os("LOGWEIR_TEST_PACKAGES").is_some_and(|value| value == "1");
    if !wanted {
        crate::util::skip_here("it builds a release; LOGWEIR_TEST_PACKAGES=1 runs it");
    }
    wanted
}

/// The Debian packages, logweir and logweir-udp2log, built once; nothing where they are not
/// wanted or cannot be built, which is said.
pub fn debian() -> Option<&'static [PathBuf; 2]> {
    static BUILT: OnceLock<Option<[PathBuf; 2]>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !wanted()
            || !has("dpkg", "Debian's dpkg")
            || !has("cargo-deb", "cargo install cargo-deb")
        {
            return None;
        }
        let built = build("deb");
        let packages: Vec<_> = built.lines().filter(|line| line.ends_with(".deb")).collect();
        let [logweir, udp2log] = packages[..] else { panic!("{built}") };
        Some([logweir, udp2log].map(PathBuf::from))
    });
    if built.is_none() {
        crate::util::skip_here("there are no packages");
    }
    built.as_ref()
}

#[test]
fn debian_packages_hold_what_they_should() {
    let Some([logweir, udp2log]) = debian() else { return };
    assert_files(&files(logweir), LOGWEIR_DEB);
    assert_files(&files(udp2log), UDP2LOG_DEB);

    let folder = tempfile::tempdir().unwrap();
    output(Command::new("dpkg").arg("-e").arg(logweir).arg(folder.path()));
    let control = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let conffiles = control("conffiles");
    let conffiles: BTreeSet<_> = conffiles.lines().collect();
    let expected = ["/etc/logweir/conf.d/README", "/etc/logweir/logweir.toml"];
    assert_eq!(conffiles, BTreeSet::from(expected));
    for (script, part) in [
        ("postinst", "systemd-sysusers"),
        ("postinst", "systemd-tmpfiles --create"),
        ("postinst", "deb-systemd-helper enable 'logweir.service'"),
        ("postinst", "deb-systemd-invoke"),
        ("prerm", "deb-systemd-invoke stop"),
        ("postrm", "rm -rf /etc/logweir"),
    ] {
        output(Command::new("sh").arg("-n").arg(folder.path().join(script)));
        let script = control(script);
        let plain = script.replace(['\'', '"'], "");
        assert!(plain.contains(&part.replace('\'', "")), "{part}:\n{script}");
    }

    let field = |name: &str| output(Command::new("dpkg").arg("-f").arg(udp2log).arg(name));
    assert_eq!(field("Depends").trim(), "logweir");
    assert_eq!(
        [field("Conflicts"), field("Provides")].map(|f| f.trim().to_string()),
        ["udplog"; 2]
    );

    let root = folder.path().join("root");
    output(Command::new("dpkg").arg("-x").arg(logweir).arg(&root));
    let version = output(Command::new(root.join("usr/bin/logweir")).arg("--version"));
    let first = concat!("logweir ", env!("CARGO_PKG_VERSION"), " ");
    assert!(version.starts_with(first), "{version}");
    assert!(version.contains("release build"), "{version}");
}

#[test]
fn lintian_finds_no_error_in_the_debian_packages() {
    let Some(packages) = debian() else { return };
    if has("lintian", "Debian's lintian") {
        let said = output(Command::new("lintian").args(["--fail-on", "error"]).args(packages));
        eprint!("{said}");
    }
}

#[test]
fn rpm_packages_hold_what_they_should() {
    if !wanted()
        || !has("rpm", "Debian's rpm")
        || !has("cargo-generate-rpm", "cargo install cargo-generate-rpm")
    {
        return;
    }
    build("rpm");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("generate-rpm");
    let ending = format!("{}-1.{}.rpm", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let ask_of = |name: &str, what: &[&str]| {
        let package = packages.join(format!("{name}-{ending}"));
        output(Command::new("rpm").arg("-qp").args(what).arg(package))
    };
    for (name, expected) in [("logweir", LOGWEIR_RPM), ("logweir-udp2log", UDP2LOG_RPM)] {
        let format = "[%{FILEMODES:perms} %{FILENAMES} %{FILEFLAGS:fflags}\\n]";
        let listed = ask_of(name, &["--qf", format]);
        let listed: Vec<_> = listed.lines().map(|line| line.trim_end().to_string()).collect();
        assert_files(&listed, expected);
        let owners = ask_of(name, &["--qf", "[%{FILEUSERNAME}:%{FILEGROUPNAME}\\n]"]);
        assert!(owners.lines().all(|owner| owner == "root:root"), "{owners}");
    }
    for (what, name) in [("--requires", "logweir"), ("--conflicts", "udplog")] {
        assert!(ask_of("logweir-udp2log", &[what]).lines().any(|line| line == name), "{what}");
    }
    let ask = |what: &[&str]| ask_of("logweir", what);
    let scripts = ask(&["--scripts"]);
    for part in [
        "systemd-sysusers logweir.conf",
        "systemd-tmpfiles --create logweir.conf",
        "systemctl preset logweir.service",
        "systemctl --no-reload disable --now logweir.service",
        "systemctl try-restart logweir.service",
    ] {
        assert!(scripts.contains(part), "{part}: {scripts}");
    }
    for script in ["post", "preun", "postun"] {
        output(Command::new("sh").arg("-n").arg(format!("packaging/rpm/{script}.sh")));
    }
    assert!(ask(&["--requires"]).lines().any(|line| line == "systemd"));
}

#[test]
fn an_image_is_made_of_files_that_are_there() {
    let containerfile = source("packaging/Containerfile");
    let mut from_here = 0;
    for line in containerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words = line.split_whitespace().filter(|word| !word.starts_with("--"));
        let mut sources: Vec<_> = words.collect();
        sources.pop();
        for source in sources.iter().filter(|_| !line.starts_with("--from")) {
            from_here += 1;
            let (folder, name) = source.rsplit_once('/').unwrap_or((".", source));
            let ending = name.strip_prefix('*').unwrap_or(name);
            let mut there = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            assert!(there.any(|file| file.ends_with(ending)), "{source}");
        }
    }
    assert!(from_here > 5);
}
