//! Patterns for paths: a folder of a path that matches is entered, and one without wildcards matches
//! itself alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use logweir::parse::glob::Glob;

use crate::parameters::Parameters;

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let at = parameters.number(0, 200);
    let (pattern, path) = parameters.0.split_at(at.min(parameters.0.len()));
    let path = Path::new(OsStr::from_bytes(path));
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let Ok(glob) = Glob::parse(pattern) else { return };
    assert_eq!(glob.text(), pattern);
    let root = glob.root();
    assert!(root.ancestors().all(|folder| glob.enters(folder)));
    if glob.matches(path) && path.is_absolute() {
        let mut folders = path.ancestors().skip(1);
        assert!(folders.all(|folder| glob.enters(folder)));
        assert!(path.parent().is_none_or(|folder| glob.holds(folder)));
    }
}
