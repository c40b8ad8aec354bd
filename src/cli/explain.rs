//! `speechgate explain`: explains recordings, single files or all of a folder.

use super::arguments::{Explain, ExplainFormat, TransportName};
use super::{print, profile, read};
use crate::canon::Profile;
use crate::explain::{self, Explained, Transport};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) fn run(arguments: &Explain) -> ExitCode {
    let profile = match profile(&arguments.provider, &arguments.config) {
        Ok(profile) => profile,
        Err(problem) => {
            eprint!("speechgate explain: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let explained: Vec<Explained> =
        recordings(&arguments.files).into_iter().map(|file| explain_file(arguments, &profile, &file)).collect();
    let failed = explained.iter().any(|one| one.verdict.is_err());
    let printed = match arguments.format {
        ExplainFormat::Json => print(&explain::document(&profile, &explained)),
        ExplainFormat::Text => print(&text(&profile, &explained)),
    };
    if failed { ExitCode::FAILURE } else { printed }
}

/// All reports; if there are several, each has a line with its file above it.
fn text(profile: &Profile, recordings: &[Explained]) -> String {
    let mut all = String::new();
    for one in recordings {
        match &one.verdict {
            Err(problem) => eprintln!("speechgate explain: {}: {problem}", one.name),
            Ok(verdict) => {
                if recordings.len() > 1 {
                    let gap = if all.is_empty() { "" } else { "\n" };
                    all.push_str(&format!("{gap}# file       {}\n", one.name));
                }
                all.push_str(&explain::report(profile, verdict));
            }
        }
    }
    all
}

fn explain_file(arguments: &Explain, profile: &Profile, file: &Path) -> Explained {
    let verdict = read(file).and_then(|bytes| {
        let transport = match arguments.transport {
            None => Transport::guess(&bytes),
            Some(TransportName::Http) => Transport::Http,
            Some(TransportName::Sse) => Transport::Sse,
            Some(TransportName::Ndjson) => Transport::Ndjson,
            Some(TransportName::Websocket) => Transport::Websocket,
            Some(TransportName::Close) => Transport::Close,
            Some(TransportName::Grpc) => Transport::Grpc,
        };
        let request = arguments.path.as_deref().map(|path| path.split_once(' ').unwrap_or(("GET", path)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(explain::verdict(profile, transport, request, &bytes))
    });
    Explained { name: file.display().to_string(), verdict }
}

/// The files to explain: those named, and the files of named folders, sorted by name.
fn recordings(named: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            within(path, &mut files);
        } else {
            files.push(path.clone());
        }
    }
    files
}

/// Adds the recordings of a folder and its subfolders. Hidden files and files of other types are skipped.
fn within(folder: &Path, files: &mut Vec<PathBuf>) {
    const OTHERS: [&str; 4] = ["md", "tsv", "toml", "csv"];
    let Ok(entries) = std::fs::read_dir(folder) else {
        // It will be reported as unreadable.
        files.push(folder.to_owned());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let other = path.extension().is_some_and(|end| OTHERS.iter().any(|other| end.eq_ignore_ascii_case(other)));
        if path.is_dir() && !hidden {
            within(&path, files);
        } else if path.is_file() && !hidden && !other {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_other_files_are_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("b")).expect("a folder");
        for name in ["c.http", "a.http", "b/d.sse", ".hidden", "README.md", "expected.tsv"] {
            std::fs::write(folder.path().join(name), "x").expect("a file");
        }
        let found = recordings(&[PathBuf::from("-"), folder.path().to_owned(), PathBuf::from("missing")]);
        let names: Vec<String> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap_or(path).display().to_string()).collect();
        assert_eq!(names, ["-", "a.http", "b/d.sse", "c.http", "missing"]);
    }
}
