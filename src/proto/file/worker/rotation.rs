//! Rotation: a file is renamed at a size or a time, or when its name's time has passed. Then the
//! files beyond `keep` are removed, and the rest are compressed.
//!
//! Only files with exactly this name are touched, and none that an output has open.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{FileOutput, Step};
use crate::fs::Fs;
use crate::output::archive;
use crate::output::name::Name;
use crate::proto::file::config::Rotate;

/// How much older than the latest line a line of another input may be; older ones come from a clock
/// that was set back.
const DISORDER: Duration = Duration::from_secs(60);

/// What an output remembers of its rotations.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The last stamp, and how many archives have it.
    last_stamp: String,
    in_stamp: u32,
    to_compress: Vec<PathBuf>,
    /// The names of files that were finished in this job, by folder, and when.
    to_tidy: HashMap<PathBuf, BTreeMap<PathBuf, Finished>>,
    /// The rendered time parts of names when a file was last used.
    times: String,
    /// The time that `times` was last rendered for.
    looked: Option<SystemTime>,
    /// The latest time at which files of past times were finished.
    finished: Option<SystemTime>,
}

/// A file that was finished, and the time of the line that followed.
type Finished = (Arc<Name>, SystemTime);

impl<F: Fs> FileOutput<F> {
    /// Takes the rotated files to compress; each is returned once.
    pub(super) fn take_rotated(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.rotation.to_compress)
    }

    /// The rotation period of a time.
    pub(super) fn period(&self, when: SystemTime) -> u64 {
        match self.plan.rotate {
            Some(Rotate::Every(every)) => seconds(when) / every.as_secs().max(1),
            _ => 0,
        }
    }

    /// Finishes files whose name belongs to a time that has passed.
    pub(super) fn finish_past_names(&mut self, now: SystemTime) -> Step<()> {
        if !self.plan.path.has_time() || self.rotation.looked == Some(now) {
            return Ok(());
        }
        let times = self.plan.path.times(now);
        if times == self.rotation.times {
            self.rotation.looked = Some(now);
            return Ok(());
        }
        let is_early = |finished: SystemTime| now < finished && now + DISORDER >= finished;
        if !self.rotation.finished.is_some_and(is_early) {
            let template = &self.plan.path;
            let is_past = |name: &Name| template.name_at(now, name) != name.path;
            let past: HashMap<_, _> = self
                .open
                .iter()
                .filter(|(_, open)| is_past(&open.name))
                .map(|(path, open)| (path.clone(), Arc::clone(&open.name)))
                .collect();
            if !past.is_empty() {
                self.before_renaming()?;
            }
            self.open.retain(|path, _| !past.contains_key(path));
            for name in past.values() {
                self.note_gone(&name.path);
                self.finished(name, now);
            }
            self.rotation.finished = Some(now);
        }
        self.rotation.times = times;
        self.rotation.looked = Some(now);
        Ok(())
    }

    /// Closes a file and renames it.
    pub(super) fn rotate(&mut self, name: &Arc<Name>, now: SystemTime) -> Step<()> {
        self.before_renaming()?;
        let Some(open) = self.open.remove(&name.path) else { return Ok(()) };
        self.note_gone(&name.path);
        let begun = match self.plan.rotate {
            Some(Rotate::Every(every)) => {
                UNIX_EPOCH + Duration::from_secs(open.period * every.as_secs().max(1))
            }
            _ => now,
        };
        drop(open);
        self.rename(&name.path, &archive::stamp(begun))?;
        self.finished(name, now);
        Ok(())
    }

    /// Renames a file to a name that no file has, compressed or not, and that sorts after the names
    /// given before.
    fn rename(&mut self, path: &Path, stamp: &str) -> Step<()> {
        if self.rotation.last_stamp != stamp {
            self.rotation.last_stamp = stamp.into();
            self.rotation.in_stamp = 0;
        }
        loop {
            let to = archive::rotated(path, stamp, self.rotation.in_stamp);
            self.rotation.in_stamp += 1;
            if self.fs.exists(&archive::packed(&to, 0)) {
                continue;
            }
            match self.fs.rename_new(path, &to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                done => return Ok(done?),
            }
        }
    }

    /// Records that a file of this name was finished.
    fn finished(&mut self, name: &Arc<Name>, now: SystemTime) {
        if self.plan.keep.is_some() || self.plan.compress {
            let folder = name.path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
            let names = self.rotation.to_tidy.entry(folder).or_default();
            names.insert(name.path.clone(), (Arc::clone(name), now));
        }
    }

    /// Removes the rotated files beyond `keep` of all names of which one was finished, and queues
    /// the others for compression. Each folder is listed once, however many names it has.
    pub(super) fn tidy(&mut self) {
        for (folder, names) in std::mem::take(&mut self.rotation.to_tidy) {
            let listed = self.fs.list(match folder.as_os_str().is_empty() {
                true => Path::new("."),
                false => &folder,
            });
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    log::warn!("{}: it cannot be listed: {error}", folder.display());
                    continue;
                }
            };
            let mut files: Vec<&str> =
                listed.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            files.sort_unstable();
            for (name, now) in names.values() {
                let archives = self.archives(name, *now, &files);
                self.tidy_archives(archives);
            }
        }
    }

    fn tidy_archives(&mut self, mut archives: Vec<(SystemTime, PathBuf)>) {
        if let Some(keep) = self.plan.keep {
            let more = archives.len().saturating_sub(keep as usize);
            for (_, old) in archives.drain(..more) {
                if let Err(error) = self.fs.remove(&old) {
                    log::warn!("{}: cannot be removed: {error}", old.display());
                }
            }
        }
        if self.plan.compress {
            let plain = archives.into_iter().map(|(_, path)| path);
            self.rotation.to_compress.extend(plain.filter(|path| !archive::is_packed(path)));
        }
    }

    /// The files with this name that are no longer written, oldest first. `files` is what its
    /// folder has, sorted.
    fn archives(&self, name: &Name, now: SystemTime, files: &[&str]) -> Vec<(SystemTime, PathBuf)> {
        let names = self.plan.path.at_any_time(now, name);
        let current = self.plan.path.name_at(now, name);
        let beginning = names.beginning();
        let from = files.partition_point(|file| *file < beginning);
        let alike = files[from..].iter().take_while(|file| file.starts_with(beginning));
        let is_one = |path: &PathBuf| {
            *path != current && !self.member.is_open(path) && self.fs.is_file(path)
        };
        let mut archives: Vec<_> = alike
            .filter(|file| names.ending(file).is_some_and(archive::is_ending))
            .map(|file| name.path.with_file_name(file))
            .filter(is_one)
            .map(|path| (self.fs.modified(&path).unwrap_or(UNIX_EPOCH), path))
            .collect();
        archives.sort();
        archives
    }
}

fn seconds(when: SystemTime) -> u64 {
    when.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::batch::Batch;
    use crate::filter::batch_of;
    use crate::fs::OsFs;
    use crate::output::name::NameTemplate;
    use crate::output::open_files::OpenFiles;
    use crate::output::worker::Worker;
    use crate::proto::file::config::FilePlan;
    use crate::sim::fs::SimFs;

    const HOUR: u64 = 3600;

    fn plan(path: &Path) -> FilePlan {
        FilePlan::new(NameTemplate::parse(path.to_str().unwrap()).unwrap())
    }

    fn at(text: &str, seconds: u64) -> Batch {
        let received = UNIX_EPOCH + Duration::from_secs(seconds);
        Batch { received, ..batch_of(text) }
    }

    /// The contents of each file in a folder.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    #[test]
    fn a_clock_that_was_far_ahead_keeps_no_file_from_being_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&folder.path().join("x"));
        plan.rotate = Some(Rotate::Every(Duration::from_secs(HOUR)));
        let mut output = FileOutput::new(plan, OsFs);
        for (text, hour) in [("a\n", 10), ("ahead\n", 23), ("b\n", 10), ("c\n", 11), ("d\n", 12)] {
            assert_eq!(output.append(&[at(text, hour * HOUR + 600)]).bytes, text.len());
        }
        let files: Vec<_> = files(folder.path()).into_iter().collect();
        let want = [
            ("x", "d\n"),
            ("x.19700101T100000Z", "a\n"),
            ("x.19700101T100000Z.0001", "ahead\nb\n"),
            ("x.19700101T110000Z", "c\n"),
        ];
        assert_eq!(files, want.map(|(name, text)| (name.to_string(), text.to_string())));
    }

    #[test]
    fn lines_that_are_a_little_out_of_order_rotate_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&folder.path().join("x"));
        plan.rotate = Some(Rotate::Every(Duration::from_secs(HOUR)));
        let mut output = FileOutput::new(plan, OsFs);
        for seconds in [HOUR - 1, HOUR, HOUR - 1, HOUR + 1, HOUR - 1, HOUR + 2] {
            output.append(&[at("line\n", seconds)]);
        }
        assert_eq!(files(folder.path()).len(), 2);
    }

    #[test]
    fn a_clock_that_steps_back_finishes_no_file_of_a_time_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut plan = plan(&path("x-%H"));
        plan.compress = true;
        let mut output = FileOutput::new(plan, OsFs);
        for seconds in [11 * HOUR - 10, 11 * HOUR + 10, 11 * HOUR - 2, 11 * HOUR + 20] {
            output.append(&[at("line\n", seconds)]);
        }
        assert_eq!(output.take_to_compress(), [path("x-10"), path("x-10")]);
        // A clock corrected by hours rotates at the right time again.
        output.append(&[at("line\n", 3 * HOUR)]);
        output.append(&[at("line\n", 4 * HOUR)]);
        assert!(output.take_to_compress().contains(&path("x-03")));
        assert_eq!(output.open.keys().collect::<Vec<_>>(), [&path("x-04")]);
    }

    #[test]
    fn a_folder_is_listed_once_however_many_of_its_files_are_finished_together() {
        const HOSTS: usize = 200;
        let fs = SimFs::default();
        let mut plan = plan(Path::new("/log/{host}-%H"));
        plan.keep = Some(2);
        plan.compress = true;
        let mut output = FileOutput::new(plan, fs.clone());
        let line = |host: usize| format!("<13>1 - host{host} a - - - line\n");
        let lines: String = (0..HOSTS).map(line).collect();
        for hour in 0..5 {
            let before = fs.listings();
            output.append(&[at(&lines, hour * HOUR)]);
            assert_eq!(fs.listings() - before, u64::from(hour > 0));
            let mut finished = output.take_to_compress();
            finished.sort();
            let hours = hour.saturating_sub(2)..hour;
            let mut wanted: Vec<_> = (0..HOSTS)
                .flat_map(|host| hours.clone().map(move |hour| (host, hour)))
                .map(|(host, hour)| PathBuf::from(format!("/log/host{host}-{hour:02}")))
                .collect();
            wanted.sort();
            assert_eq!(finished, wanted, "hour {hour}");
        }
        assert_eq!(fs.files().len(), 3 * HOSTS);
    }

    #[test]
    fn a_time_in_a_folder_of_the_name_is_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&folder.path().join("%H/x"));
        plan.compress = true;
        let mut output = FileOutput::new(plan, OsFs);
        output.append(&[at("one\n", 0), at("two\n", HOUR)]);
        assert_eq!(output.take_to_compress(), [folder.path().join("00/x")]);
    }

    #[test]
    fn no_message_has_another_hosts_archives_removed_or_written() {
        let folder = tempfile::tempdir().unwrap();
        let templates = ["{host}", "{host}.{app}", "{app}/{host}", "{host}/{app}"];
        for (at, template) in templates.into_iter().enumerate() {
            let folder = folder.path().join(at.to_string());
            let mut plan = plan(&folder.join(template));
            plan.rotate = Some(Rotate::Size(40));
            plan.keep = Some(2);
            let mut output = FileOutput::new(plan, OsFs);
            let line = |host: &str, app: &str| format!("<13>1 - {host} {app} - - - evidence\n");
            output.append(&[batch_of(&line("victim", "a").repeat(3))]);
            let victims = |folder: &Path| -> Vec<(String, String)> {
                let file = |path: &Path| {
                    (path.display().to_string(), fs::read_to_string(path).unwrap_or_default())
                };
                let mut found: Vec<_> = all_files(folder).iter().map(|path| file(path)).collect();
                found.retain(|(_, text)| text.contains("victim a -"));
                found
            };
            let before = victims(&folder);
            assert_eq!(before.len(), 3, "{before:?}");
            let forge = |output: &mut FileOutput<OsFs>, host: &str, app: &str| {
                // A line of the victim's own may well rotate the victim's file.
                if host != "victim" || template.contains("{app}") {
                    output.append(&[batch_of(&line(host, app).repeat(2))]);
                }
            };
            for end in ["20990101T000000Z", "20990101T000001Z.zst", "zst", "20990101T000002Z.0001"]
            {
                forge(&mut output, &format!("victim.{end}"), "a");
                forge(&mut output, &format!("victim.a.{end}"), "a");
                forge(&mut output, "victim", &format!("a.{end}"));
                forge(&mut output, "victim.a", end);
            }
            for (name, _) in &before {
                let name = Path::new(name).file_name().unwrap().to_str().unwrap();
                forge(&mut output, name, "forged");
                forge(&mut output, "forged", name);
                for (at, _) in name.match_indices('.') {
                    let (host, app) = (&name[..at], &name[at + 1..]);
                    // If values are joined, equal results share one file.
                    if (host, app) != ("victim", "a") {
                        forge(&mut output, host, app);
                    }
                }
            }
            assert_eq!(victims(&folder), before, "{template}");
        }
    }

    fn all_files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
        }
        found.sort();
        found
    }

    #[test]
    fn no_message_has_another_outputs_archives_removed() {
        let folder = tempfile::tempdir().unwrap();
        let open_files = OpenFiles::default();
        let mut of_all = plan(&folder.path().join("all"));
        of_all.rotate = Some(Rotate::Size(10));
        let mut of_all = FileOutput::sharing(&open_files, of_all, OsFs);
        of_all.append(&[batch_of("evidence\n"), batch_of("evidence\n"), batch_of("evidence\n")]);
        let mut by_app = plan(&folder.path().join("{app}"));
        by_app.rotate = Some(Rotate::Size(10));
        by_app.keep = Some(1);
        let mut by_app = FileOutput::sharing(&open_files, by_app, OsFs);
        for _ in 0..5 {
            by_app.append(&[batch_of("<13>all: forged\n")]);
        }
        let mut files = files(folder.path());
        files.retain(|_, text| text == "<13>all: forged\n");
        assert_eq!(files.len(), 2);
        assert!(files.keys().all(|name| name.starts_with("all_")), "{files:?}");
        let evidence = all_files(folder.path()).len() - files.len();
        assert_eq!(evidence, 3);
    }

    #[test]
    fn what_another_output_writes_is_neither_removed_nor_compressed_nor_counted() {
        let folder = tempfile::tempdir().unwrap();
        let open_files = OpenFiles::default();
        let other = plan(&folder.path().join("x-05"));
        let mut other = FileOutput::sharing(&open_files, other, OsFs);
        other.append(&[at("theirs\n", 0)]);
        let mut plan = plan(&folder.path().join("x-%H"));
        plan.keep = Some(1);
        plan.compress = true;
        let mut output = FileOutput::sharing(&open_files, plan, OsFs);
        for hour in 0..3 {
            output.append(&[at("ours\n", hour * HOUR)]);
        }
        let names: Vec<_> = files(folder.path()).into_keys().collect();
        assert_eq!(names, ["x-01", "x-02", "x-05"]);
        assert!(output.take_to_compress().iter().all(|path| !path.ends_with("x-05")));
        // A folder is not an archive.
        fs::create_dir(folder.path().join("x-07")).unwrap();
        output.append(&[at("ours\n", 3 * HOUR)]);
        assert!(folder.path().join("x-02").exists());
    }
}
