//! Looks at processes without touching them: which TLS code each has mapped, and whether it can be hooked.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io::{self, Read as _},
    path::Path,
};

use super::{
    attach::{MAX_FILE, exits, versioned},
    libraries::is_tls_library,
    locate::{self, Hooks, Reason},
    mapped::{FileKey, mapping, open},
    perf::Mapping,
    program::AttachMode,
};

/// What would be hooked, or why nothing is.
pub type TlsVerdict = Result<TlsLibrary, Reason>;

/// A library that can be hooked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsLibrary {
    /// `openssl 3.0.15`.
    pub name: String,
    pub placement: Placement,
    /// Why kernels without uprobe sessions (before Linux 6.13) cannot hook it.
    pub needs_sessions: Option<String>,
}

/// Where hooks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the functions of OpenSSL's method table, or GnuTLS's for records, at full speed.
    Method,
    /// At the exported functions.
    Exported,
    /// At functions that no symbol names, found by what they do.
    Found,
}

impl Placement {
    fn of(hooks: &Hooks) -> Self {
        match (&hooks.stripped, hooks.are_inner()) {
            (Some(_), _) => Self::Found,
            (None, true) => Self::Method,
            (None, false) => Self::Exported,
        }
    }
}

/// One file with TLS code that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// As the process names it.
    pub path: String,
    pub verdict: TlsVerdict,
}

/// Examines files of many processes, each file once.
#[derive(Debug, Default)]
pub struct Survey {
    files: HashMap<FileKey, Vec<TlsVerdict>>,
}

impl Survey {
    /// The TLS code of process `pid`; empty when it has none.
    pub fn process(&mut self, pid: u32) -> io::Result<Vec<TlsFile>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut mappings: Vec<Mapping> = maps.lines().filter_map(|line| mapping(pid, line)).collect();
        mappings.sort_by_key(|mapping| (mapping.device, mapping.inode));
        mappings.dedup_by(|a, b| a.inode == b.inode && a.device == b.device);
        let exe = fs::metadata(format!("/proc/{pid}/exe")).ok().map(|metadata| FileKey::of(&metadata));
        let verdicts = mappings.into_iter().filter_map(|mapping| {
            let (key, mut verdicts) = self.file(&mapping)?;
            verdicts.retain(|verdict| match verdict {
                Ok(_) => true,
                Err(reason) if reason.is_tls() => true,
                // What such a file holds is not known: its name tells, or the program itself cannot be traced.
                Err(Reason::NotElf | Reason::NotTls) => false,
                Err(Reason::Malformed) => is_tls_library_path(&mapping.path),
                Err(_) => is_tls_library_path(&mapping.path) || exe == Some(key),
            });
            Some(verdicts.into_iter().map(move |verdict| TlsFile { path: mapping.path.clone(), verdict }))
        });
        Ok(verdicts.flatten().collect())
    }

    /// One for each library that the file holds.
    fn file(&mut self, mapping: &Mapping) -> Option<(FileKey, Vec<TlsVerdict>)> {
        let file = open(mapping)?;
        let metadata = file.metadata().ok().filter(Metadata::is_file)?;
        let key = FileKey::of(&metadata);
        if let Some(known) = self.files.get(&key) {
            return Some((key, known.clone()));
        }
        let path = Path::new(&mapping.path);
        let mut bytes = Vec::new();
        let found = if metadata.len() > MAX_FILE {
            Err(Reason::TooLarge)
        } else {
            file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
            locate::locate(&bytes)
        };
        let verdicts = match found {
            Ok(hooks) => {
                let beside = hooks.stripped.as_ref().and_then(|stripped| stripped.beside);
                let library = TlsLibrary {
                    name: versioned(&hooks.library, Some(mapping.pid), path),
                    placement: Placement::of(&hooks),
                    needs_sessions: exits(AttachMode::Multi, &mut hooks.clone(), &bytes)
                        .err()
                        .map(|error| error.to_string()),
                };
                [Ok(library)].into_iter().chain(beside.map(Err)).collect()
            }
            Err(reason) => vec![Err(reason)],
        };
        self.files.insert(key, verdicts.clone());
        Some((key, verdicts))
    }
}

fn is_tls_library_path(path: &str) -> bool {
    let name = path.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or(path);
    is_tls_library(name)
}
