//! Keeps the used part of tenants' budgets in a file, so that a restart does not forget it. It is written after a change, at most
//! once a second, to a temporary file that is then renamed: a crash loses at most a second, and never leaves a partial file.

use crate::proxy::Shared;
use crate::proxy::tenants::Kept;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the file is brought up to date.
const STEP: Duration = Duration::from_secs(1);

/// Reads the file; without one, nothing has been used.
///
/// # Errors
/// When the file cannot be read or is not a state file: starting without it would forget what was used.
pub(super) fn read(path: &Path) -> Result<Vec<Kept>, String> {
    let told = |problem: String| format!("limits.state: {}: {problem}", path.display());
    // Opening a pipe would block, and a device may have no end.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(told("is no file".to_owned()));
    }
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| told(format!("not what this gateway keeps: {error}")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(told(error.to_string())),
    }
}

/// Keeps the file up to date, while it is polled.
pub(super) async fn keep(shared: &Arc<Shared>, path: Option<PathBuf>) {
    let Some(path) = path else { return std::future::pending().await };
    let (mut steps, mut written, mut failed) = (interval(STEP), Vec::new(), false);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let _ = steps.tick().await;
        let kept = shared.tenants.kept();
        if kept == written {
            continue;
        }
        let (to, new) = (path.clone(), kept.clone());
        let outcome = tokio::task::spawn_blocking(move || write(&to, &new)).await;
        match outcome.unwrap_or_else(|_panic| Err(io::Error::other("the gateway failed with an internal error"))) {
            Ok(()) => (written, failed) = (kept, false),
            // Logged once, and retried every time.
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::error!(%error, file = %path.display(), "what tenants have used is not kept");
            }
            Err(_) => {}
        }
    }
}

/// Replaces the whole file. A symbolic link to it is kept.
pub(super) fn write(path: &Path, kept: &[Kept]) -> io::Result<()> {
    let path = &resolve_links(path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// The file that a path leads to through symbolic links. Renaming over the link would replace it, and leave the file on the disk
/// that the link is meant to avoid. The file may not exist yet.
fn resolve_links(path: &Path) -> PathBuf {
    let next = || {
        let to = std::fs::read_link(path).ok()?;
        Some(path.parent().map_or_else(|| to.clone(), |folder| folder.join(&to)))
    };
    std::fs::canonicalize(path).ok().or_else(next).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_file_is_kept_and_only_regular_files_are_read() {
        let (folder, disk) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (link, file) = (folder.path().join("state.json"), disk.path().join("real.json"));
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let kept = |used: &str| {
            let text = format!(r#"[{{"tenant":"a","budget":"characters/1d","period":7,"used":{used}}}]"#);
            serde_json::from_str::<Vec<Kept>>(&text).expect("JSON")
        };
        for used in ["1.5", "2.5"] {
            write(&link, &kept(used)).expect("written");
            assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
            assert_eq!((read(&link), read(&file)), (Ok(kept(used)), Ok(kept(used))));
        }
        for other in [Path::new("/dev/zero"), folder.path()] {
            assert!(read(other).is_err_and(|problem| problem.ends_with("is no file")), "{}", other.display());
        }
    }

    #[test]
    fn amounts_are_read_back_and_must_be_finite_and_not_negative() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        assert_eq!(read(&path), Ok(Vec::new()));
        let kept: Vec<Kept> =
            serde_json::from_str(r#"[{"tenant":"a","budget":"characters/1d","period":7,"used":1.5}]"#).expect("JSON");
        write(&path, &kept).expect("written");
        assert_eq!(read(&path), Ok(kept));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        std::fs::write(&path, "{").expect("written");
        assert!(read(&path).is_err_and(|problem| problem.contains("state.json")));
        for used in ["-1.0", "-1e300", "1e999", "null", "\"NaN\"", "NaN"] {
            let text = format!(r#"[{{"tenant":"a","budget":"characters/1d","period":7,"used":{used}}}]"#);
            std::fs::write(&path, text).expect("written");
            assert!(read(&path).is_err(), "{used}");
        }
    }
}
