//! TLS libraries that a program is likely to load: to be hooked before it starts. Those that are not found here are
//! hooked when they are mapped.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Directories that the dynamic linker searches although no configuration names them (ld.so(8)), and musl's.
const DEFAULT: [&str; 5] = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];

/// Files of configuration that are read at most.
const MAX_FILES: usize = 64;

/// TLS libraries on the dynamic linker's search path, in `LD_LIBRARY_PATH` of the command's environment, and beside the
/// program (`bin/../lib`, where self-contained Pythons and Rubies keep theirs). Each file once.
pub fn likely(program: &Path, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some((_, path)) = environment.iter().find(|(name, _)| name == "LD_LIBRARY_PATH") {
        folders.extend(std::env::split_paths(path));
    }
    for program in [program.to_owned(), fs::canonicalize(program).unwrap_or_default()] {
        folders.extend(program.parent().and_then(Path::parent).map(|folder| folder.join("lib")));
    }
    let mut files = 0;
    read_configuration(Path::new("/etc/ld.so.conf"), &mut folders, &mut files);
    folders.extend(DEFAULT.map(PathBuf::from));

    let mut found = BTreeSet::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_str().is_some_and(is_tls_library) {
                // Several names lead to one file.
                found.extend(fs::canonicalize(entry.path()).ok());
            }
        }
    }
    found.into_iter().collect()
}

fn is_tls_library(name: &str) -> bool {
    name.starts_with("libssl") && (name.ends_with(".so") || name.contains(".so."))
}

/// ldconfig(8): one folder a line, `#` begins a comment, `include` takes a pattern.
fn read_configuration(file: &Path, folders: &mut Vec<PathBuf>, files: &mut usize) {
    *files += 1;
    if *files > MAX_FILES {
        return;
    }
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include ") {
            Some(pattern) => {
                let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern.trim());
                for included in expand(&pattern) {
                    read_configuration(&included, folders, files);
                }
            }
            None if !line.is_empty() => folders.push(line.into()),
            None => {}
        }
    }
}

/// Files that a pattern names; as everywhere, only its last component is one.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(glob) = globset::Glob::new(name).map(|glob| glob.compile_matcher()) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| glob.is_match(name)))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_beside_the_program_and_in_its_environment_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in
            [("bin/prog", ""), ("lib/libssl.so.3", "x"), ("lib/libcrypto.so.3", "x"), ("own/libssl-1f.so.1.1", "x")]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("libssl.so.3", folder.path().join("lib/libssl.so")).unwrap();
        let environment = [("LD_LIBRARY_PATH".into(), folder.path().join("own").into_os_string())];
        let found = likely(&folder.path().join("bin/prog"), &environment);
        let root = fs::canonicalize(folder.path()).unwrap();
        let own: Vec<_> = found.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
        assert_eq!(own, [Path::new("lib/libssl.so.3"), Path::new("own/libssl-1f.so.1.1")]);
    }
}
