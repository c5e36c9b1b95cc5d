//! Configuration sources: a file, and the files that its `include` names.

use super::file::{FILE_MAX, read_file};
use super::parse;
use super::{Diagnostic, DiagnosticKind, Diagnostics, Place};
use glob::{GlobError, MatchOptions, Pattern};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Most files that one file includes.
pub const INCLUDED_MAX: usize = 10_000;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its name in diagnostics.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// A configuration file with all included files, not yet parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Name of the including file in diagnostics.
    pub file: String,
    /// Its content.
    pub text: String,
    /// The files that it includes, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included: Vec<SourceFile>,
}

impl Sources {
    /// Reads the configuration file at `path` and the files that it includes.
    ///
    /// # Errors
    /// Errors of [`read_file`] and [`Sources::of`].
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let bytes = read_file(path).map_err(|error| error.in_file(path))?;
        Self::of(path, &bytes)
    }

    /// Reads the files that a file with these bytes includes. Their names are relative to the directory of
    /// `file`.
    ///
    /// # Errors
    /// A file that is missing, unreadable, no regular file or not UTF-8; an invalid pattern; more than [`INCLUDED_MAX`] files, or than [`FILE_MAX`] bytes in all.
    pub fn of(file: &Path, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let text = parse::utf8(file, bytes)?.to_owned();
        let name = file.display().to_string();
        let (patterns, line) = parse::includes(&name, &text);
        let here = |error: Diagnostic| error.at(Place { file: name.as_str().into(), line });
        let mut paths = Vec::new();
        for pattern in &patterns {
            let found = matching(file, pattern).map_err(here)?;
            paths.extend(found.into_iter().filter(|path| !paths.contains(path)).collect::<Vec<_>>());
        }
        if paths.len() > INCLUDED_MAX {
            let what = format!("include names {} files", paths.len());
            return Err(here(invalid(what, "divide the services among at most 10,000 files")).into());
        }
        let included = paths.iter().map(|path| read_included(path)).collect::<Result<Vec<_>, _>>()?;
        let size = included.iter().map(|source| source.text.len()).sum::<usize>() + text.len();
        if size > FILE_MAX {
            let what = format!("with the files that it includes this has more than {} MiB", FILE_MAX >> 20);
            return Err(here(invalid(what, "leave out what is not needed")).into());
        }
        Ok(Self { file: name, text, included })
    }
}

/// A fault of `include`, without its place.
fn invalid(what: impl Into<String>, remedy: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::InvalidValue, what).remedy(remedy)
}

fn read_included(path: &Path) -> Result<SourceFile, Diagnostics> {
    let bytes = read_file(path).map_err(|error| error.in_file(path))?;
    let text = parse::utf8(path, &bytes)?.to_owned();
    Ok(SourceFile { file: path.display().to_string(), text })
}

/// The files that a pattern names, sorted. A pattern without wildcards names one file, whether it is there or not.
fn matching(file: &Path, pattern: &str) -> Result<Vec<PathBuf>, Diagnostic> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let path = folder.join(pattern);
    let found = if pattern.contains(['*', '?', '[']) { search(folder, pattern)? } else { vec![path] };
    // Standard input is no file, and `canonicalize` then has no answer for either.
    if file.exists() && found.iter().any(|path| is_same_file(path, file)) {
        let what = format!("include has {pattern:?}, which matches this file itself");
        return Err(invalid(what, "give the included files a folder of their own, as in \"conf.d/*.toml\""));
    }
    Ok(found)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok() == other.canonicalize().ok()
}

/// Matches as a shell does: `*` matches neither a slash nor a leading dot, which excludes editors' swap files.
fn search(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Diagnostic> {
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let whole = Path::new(&Pattern::escape(&folder.to_string_lossy())).join(pattern);
    let paths = glob::glob_with(&whole.to_string_lossy(), options).map_err(|cause| {
        invalid(format!("include has {pattern:?}, which is not a pattern: {cause}"), "see glob(7)")
    })?;
    let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(|cause| unreadable(pattern, &cause))?;
    found.sort();
    match fixed_part(&folder.join(pattern)) {
        fixed if found.is_empty() && !fixed.is_dir() => {
            let what = format!("include has {pattern:?}, and there is no folder {}", fixed.display());
            Err(invalid(what, "make it, or remove the pattern"))
        }
        _ => Ok(found),
    }
}

/// The error for an unreadable directory, which must not look like an empty one.
fn unreadable(pattern: &str, cause: &GlobError) -> Diagnostic {
    let (path, cause) = (cause.path().display(), cause.error());
    let what = format!("include has {pattern:?}, and {path} cannot be read: {cause}");
    invalid(what, "let the director's user read the folder and its files")
}

/// The directories of a pattern before the first wildcard.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_fixed =
        |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let fixed: PathBuf = pattern.components().take_while(is_fixed).collect();
    if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed }
}

#[cfg(test)]
mod tests;
