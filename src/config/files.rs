//! The files that a configuration was made of, and whether one of them has changed since.
//!
//! A file is told from its successor by what the file system says of it, symbolic links followed: editors rename a new file into
//! place, Kubernetes swaps a link some directories above, bind mounts send no events. Whoever reads a file notes it
//! first, so that a change while it is being read is seen as one.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// SourceFiles, each as it was just before it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFiles(BTreeMap<PathBuf, Option<Print>>);

/// What tells a file from its successor; a file that is not there, or may not be looked at, has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    length: u64,
    /// When its content changed, in seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything about it changed: nobody can set that back.
    changed: (i64, i64),
}

impl Print {
    fn of(path: &Path) -> Option<Print> {
        let file = std::fs::metadata(path).ok()?;
        Some(Print {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl SourceFiles {
    /// Notes a file that is about to be read. The first look counts.
    pub fn note(&mut self, path: &Path) {
        if !self.0.contains_key(path) {
            let _ = self.0.insert(path.to_owned(), Print::of(path));
        }
    }

    /// The same files as they are now.
    #[must_use]
    pub fn now(&self) -> SourceFiles {
        SourceFiles(self.0.keys().map(|path| (path.clone(), Print::of(path))).collect())
    }

    /// Adds what `self` lacks.
    pub fn extend(&mut self, others: SourceFiles) {
        for (path, print) in others.0 {
            let _ = self.0.entry(path).or_insert(print);
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn noted(path: &Path) -> SourceFiles {
        let mut files = SourceFiles::default();
        files.note(path);
        files
    }

    #[test]
    fn every_way_to_replace_a_file_is_seen() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "one").expect("written");
        type Change<'a> = (&'a str, &'a dyn Fn());
        let link = |to: &str, name: &str| {
            let _ = fs::remove_file(path(name));
            std::os::unix::fs::symlink(to, path(name)).expect("a link");
        };
        let swap = |to: &str| {
            link(to, "new-link");
            fs::rename(path("new-link"), path("link")).expect("renamed");
        };
        fs::create_dir(path("a")).expect("a directory");
        fs::create_dir(path("b")).expect("a directory");
        fs::write(path("a/file"), "one").expect("written");
        fs::write(path("b/file"), "two").expect("written");
        swap("a");
        let changes: [Change<'_>; 5] = [
            ("file", &|| fs::write(path("file"), "three").expect("written")),
            ("file", &|| {
                fs::write(path("other"), "three").expect("written");
                fs::rename(path("other"), path("file")).expect("renamed");
            }),
            ("file", &|| fs::remove_file(path("file")).expect("removed")),
            ("file", &|| fs::write(path("file"), "four").expect("written")),
            ("link/file", &|| swap("b")),
        ];
        for (at, (name, change)) in changes.into_iter().enumerate() {
            let files = noted(&path(name));
            assert_eq!(files.now(), files, "{at}");
            change();
            assert_ne!(files.now(), files, "{at}");
        }
    }

    #[test]
    fn the_first_look_counts() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, other) = (directory.path().join("file"), directory.path().join("other"));
        let mut files = noted(&file);
        fs::write(&file, "now it is there").expect("written");
        files.note(&file);
        files.extend(noted(&file));
        assert_ne!(files.now(), files);
        files.extend(noted(&other));
        assert_eq!(files.names().collect::<Vec<_>>(), [file.as_path(), other.as_path()]);
    }
}
