//! Patterns for file names: `*`, `?`, `[abc]`, `[!a-z]`, and `**` for any number of folders.
//!
//! Bytes are compared, so names need not be UTF-8. A `*`, `?` or class matches neither `/` nor a
//! leading dot of a name, unless the pattern has that dot.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The maximum length of a pattern, in bytes.
const PATTERN_MAX: usize = 4096;

/// A pattern for whole paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    /// Any number of folders, including none.
    Any,
    /// One name, with wildcards in the pattern.
    Pattern(Vec<u8>),
    /// One name.
    Name(Vec<u8>),
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Why it is invalid, in words for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("is not a whole path: it must begin with /".into());
        }
        if text.len() > PATTERN_MAX || text.contains('\0') {
            return Err(format!("a pattern has at most {PATTERN_MAX} bytes and no NUL"));
        }
        if text.ends_with('/') {
            return Err("names a folder: add a pattern for its files, as in /var/log/*.log".into());
        }
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match part {
                ".." => return Err("must not have `..`".into()),
                "**" if parts.last() == Some(&Part::Any) => {}
                "**" => parts.push(Part::Any),
                name => parts.push(read_part(name)?),
            }
        }
        if parts.is_empty() {
            return Err("names a folder: add a pattern for its files, as in /var/log/*.log".into());
        }
        if parts.last() == Some(&Part::Any) {
            parts.push(Part::Pattern(b"*".to_vec()));
        }
        Ok(Self { text: text.into(), parts })
    }

    /// As written by the user.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder above the first wildcard, or above the name.
    pub fn root(&self) -> PathBuf {
        let fixed = self.parts[..self.parts.len() - 1].iter().map_while(|part| match part {
            Part::Name(name) => Some(OsStr::from_bytes(name)),
            _ => None,
        });
        Path::new("/").join(fixed.collect::<PathBuf>())
    }

    /// Returns whether the pattern matches this path.
    pub fn matches(&self, path: &Path) -> bool {
        matches(&self.parts, &names(path))
    }

    /// Returns whether files directly in this folder may match.
    pub fn holds(&self, folder: &Path) -> bool {
        reach(&self.parts, &names(folder))[self.parts.len() - 1]
    }

    /// Returns whether files in this folder, or below it, may match.
    pub fn enters(&self, folder: &Path) -> bool {
        enters(&self.parts, &names(folder))
    }
}

fn names(path: &Path) -> Vec<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect()
}

fn read_part(name: &str) -> Result<Part, String> {
    if !name.contains(['*', '?', '[', '\\']) {
        return Ok(Part::Name(name.as_bytes().to_vec()));
    }
    let pattern = name.as_bytes();
    let mut at = 0;
    while at < pattern.len() {
        let item = Item::at(&pattern[at..]).ok_or_else(|| {
            format!("`{name}` has a [ without a ], or a \\ at its end: \\[ is the character")
        })?;
        at += item.1;
    }
    Ok(Part::Pattern(pattern.to_vec()))
}

/// Each name takes one step in the pattern; `**` takes any number. The reached states are a set, so
/// that the time is bounded by names × parts.
fn reach(parts: &[Part], names: &[&[u8]]) -> Vec<bool> {
    let mut states = vec![false; parts.len() + 1];
    states[0] = true;
    skip_any(parts, &mut states);
    for name in names {
        let mut next = vec![false; parts.len() + 1];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| states[*at]) {
            match part {
                Part::Any if !name.starts_with(b".") => next[at] = true,
                Part::Any => {}
                Part::Name(own) => next[at + 1] |= own == name,
                Part::Pattern(pattern) => next[at + 1] |= name_matches(pattern, name),
            }
        }
        skip_any(parts, &mut next);
        states = next;
    }
    states
}

fn skip_any(parts: &[Part], states: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if states[at] && *part == Part::Any {
            states[at + 1] = true;
        }
    }
}

fn matches(parts: &[Part], names: &[&[u8]]) -> bool {
    reach(parts, names)[parts.len()]
}

fn enters(parts: &[Part], names: &[&[u8]]) -> bool {
    reach(parts, names)[..parts.len()].contains(&true)
}

/// One item of a name's pattern.
enum Item<'p> {
    Many,
    One,
    Byte(u8),
    Class(&'p [u8], bool),
}

impl<'p> Item<'p> {
    /// The first item, and its length.
    fn at(pattern: &'p [u8]) -> Option<(Self, usize)> {
        Some(match *pattern.first()? {
            b'*' => (Self::Many, 1),
            b'?' => (Self::One, 1),
            b'\\' => (Self::Byte(*pattern.get(1)?), 2),
            b'[' => {
                let not = matches!(pattern.get(1), Some(b'!' | b'^'));
                let start = 1 + usize::from(not);
                // A ] that comes first is a member.
                let end = start + 1 + memchr::memchr(b']', pattern.get(start + 1..)?)?;
                (Self::Class(&pattern[start..end], not), end + 1)
            }
            byte => (Self::Byte(byte), 1),
        })
    }

    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Many => false,
            Self::One => true,
            Self::Byte(own) => *own == byte,
            Self::Class(members, not) => is_member(members, byte) != *not,
        }
    }
}

fn is_member(mut members: &[u8], byte: u8) -> bool {
    while let [first, rest @ ..] = members {
        if let [b'-', last, rest @ ..] = rest {
            if (*first..=*last).contains(&byte) {
                return true;
            }
            members = rest;
        } else if *first == byte {
            return true;
        } else {
            members = rest;
        }
    }
    false
}

/// Returns whether one name matches; it backtracks to one place only, so the time is at most the
/// product of both lengths.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut from) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match Item::at(&pattern[at..]) {
            Some((Item::Many, length)) => {
                at += length;
                back = Some((at, from));
                continue;
            }
            Some((item, length)) if name.get(from).is_some_and(|byte| item.takes(*byte)) => {
                at += length;
                from += 1;
                continue;
            }
            None if from == name.len() => return true,
            _ => {}
        }
        match back {
            Some((behind, start)) if start < name.len() => {
                back = Some((behind, start + 1));
                (at, from) = (behind, start + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(Path::new(path))
    }

    #[test]
    fn the_root_alone_is_no_pattern() {
        for text in ["/", "/.", "/./", "//."] {
            assert!(Glob::parse(text).unwrap_err().starts_with("names a folder"), "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_in_their_folders() {
        for (pattern, yes, no) in [
            ("/var/log/*.log", "/var/log/a.log", "/var/log/x/a.log"),
            ("/var/log/*.log", "/var/log/b.x.log", "/var/log/a.log.1"),
            ("/var/log/*.log", "/var/log/-.log", "/var/log/.hidden.log"),
            ("/var/log/.*.log", "/var/log/.a.log", "/var/log/a.log"),
            ("/srv/**/access.log", "/srv/access.log", "/srv/a/access.log.1"),
            ("/srv/**/access.log", "/srv/a/b/c/access.log", "/srw/access.log"),
            ("/srv/**/access.log", "/srv/a/access.log", "/srv/.git/access.log"),
            ("/a/**/b/**/c", "/a/b/c", "/a/c"),
            ("/a/**/b/**/c", "/a/x/b/y/z/c", "/a/x/y/c"),
            ("/l/[a-c]?.log", "/l/bz.log", "/l/dz.log"),
            ("/l/[!a-c]x", "/l/dx", "/l/ax"),
            ("/l/[]x]", "/l/]", "/l/y"),
            (r"/l/a\*b", "/l/a*b", "/l/axb"),
            ("/l/**", "/l/a/b", "/m/a"),
            ("//l/./x", "/l/x", "/l/./y"),
        ] {
            assert!(is(pattern, yes), "{pattern} {yes}");
            assert!(!is(pattern, no), "{pattern} {no}");
        }
        let odd = Path::new(OsStr::from_bytes(b"/var/log/\xff\n.log"));
        assert!(Glob::parse("/var/log/*.log").unwrap().matches(odd));
    }

    #[test]
    fn only_folders_that_can_hold_files_are_entered() {
        let enters =
            |pattern: &str, folder: &str| Glob::parse(pattern).unwrap().enters(Path::new(folder));
        assert!(enters("/var/log/*.log", "/") && enters("/var/log/*.log", "/var/log"));
        assert!(!enters("/var/log/*.log", "/var/log/nginx") && !enters("/var/log/*.log", "/etc"));
        assert!(enters("/srv/**/a.log", "/srv/x/y") && !enters("/srv/**/a.log", "/srv/.x"));
        let holds =
            |pattern: &str, folder: &str| Glob::parse(pattern).unwrap().holds(Path::new(folder));
        assert!(holds("/var/log/*.log", "/var/log") && !holds("/var/log/*.log", "/var"));
        assert!(holds("/srv/**/a.log", "/srv") && holds("/srv/**/a.log", "/srv/x/y"));
        assert!(enters("/p/*_web_*/*/*.log", "/p/ns_web_1/c"));
        assert!(!enters("/p/*_web_*/*/*.log", "/p/ns_db_1"));
    }

    #[test]
    fn the_root_is_the_folder_above_the_first_wildcard() {
        let root = |pattern: &str| Glob::parse(pattern).unwrap().root();
        assert_eq!(root("/var/log/*.log"), Path::new("/var/log"));
        assert_eq!(root("/srv/**/access.log"), Path::new("/srv"));
        assert_eq!(root("/a/b"), Path::new("/a"));
        assert_eq!(root("/*"), Path::new("/"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_words() {
        for (pattern, why) in [
            ("var/log/x", "whole path"),
            ("/var/log/", "folder"),
            ("/var/../x", ".."),
            ("/l/[a", "without a ]"),
            ("/l/a\\", "at its end"),
        ] {
            assert!(Glob::parse(pattern).unwrap_err().contains(why), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_quick_on_any_name(
            pattern in "(/([*?a\\[\\]!-]{0,12}|\\*\\*)){1,6}",
            path in "(/[a*\\[-]{0,40}){0,8}",
        ) {
            if let Ok(glob) = Glob::parse(&pattern) {
                let path = Path::new(&path);
                if glob.matches(path) {
                    prop_assert!(path.ancestors().skip(1).all(|folder| glob.enters(folder)));
                }
            }
        }

        #[test]
        fn a_path_without_wildcards_matches_itself(path in "(/[a-z.]{1,8}x){1,5}") {
            let glob = Glob::parse(&path).unwrap();
            prop_assert!(glob.matches(Path::new(&path)));
        }
    }
}
