//! Looks at processes without touching them: which TLS code each has mapped, and whether it can be hooked.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use super::{
    attach::{MAX_FILE, versioned},
    locate::{self, Hooks, Reason},
    mapped::{FileKey, mapping, open},
    perf::Mapping,
};

/// The library and where its hooks would stand, or why it gets none.
pub type TlsVerdict = Result<(String, Placement), Reason>;

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
        let verdicts = mappings.into_iter().flat_map(|mapping| {
            let verdicts = self.file(&mapping).unwrap_or_default();
            verdicts.into_iter().map(move |verdict| TlsFile { path: mapping.path.clone(), verdict })
        });
        Ok(verdicts.collect())
    }

    /// One for each library that the file holds.
    fn file(&mut self, mapping: &Mapping) -> Option<Vec<TlsVerdict>> {
        let file = open(mapping)?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return None;
        }
        let key = FileKey::of(&metadata);
        if let Some(known) = self.files.get(&key) {
            return Some(known.clone());
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        let verdicts = match locate::locate(&bytes) {
            Ok(hooks) => {
                let library = versioned(&hooks.library, Some(mapping.pid), Path::new(&mapping.path));
                let beside = hooks.stripped.as_ref().and_then(|stripped| stripped.beside);
                [Ok((library, Placement::of(&hooks)))].into_iter().chain(beside.map(Err)).collect()
            }
            Err(reason) if reason.is_tls() => vec![Err(reason)],
            Err(_) => Vec::new(),
        };
        self.files.insert(key, verdicts.clone());
        Some(verdicts)
    }
}
