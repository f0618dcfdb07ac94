//! Files with TLS code that a program is likely to load: to be hooked before it starts. Those that are not found here
//! are hooked when they are mapped.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Directories that the dynamic linker searches although no configuration names them (ld.so(8)), and musl's.
const DEFAULT: [&str; 5] = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];

/// Files of configuration that are read at most.
const MAX_FILES: usize = 64;

/// The program, or the interpreters that its first line names; the TLS libraries on the dynamic linker's search path, in `LD_LIBRARY_PATH` of the command's environment, and beside the
/// programs (`bin/../lib`, where self-contained Pythons and Rubies keep theirs). Each file once.
pub fn likely(program: &Path, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let programs = interpreters(program, environment);
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some((_, path)) = environment.iter().find(|(name, _)| name == "LD_LIBRARY_PATH") {
        folders.extend(std::env::split_paths(path));
    }
    for program in &programs {
        for program in [program.clone(), fs::canonicalize(program).unwrap_or_default()] {
            folders.extend(program.parent().and_then(Path::parent).map(|folder| folder.join("lib")));
        }
    }
    let mut files = 0;
    read_configuration(Path::new("/etc/ld.so.conf"), &mut folders, &mut files);
    folders.extend(DEFAULT.map(PathBuf::from));

    let mut found: BTreeSet<PathBuf> =
        programs.into_iter().filter_map(|program| fs::canonicalize(program).ok()).collect();
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

/// The program and, when it is a script, what runs it (execve(2), "Interpreter scripts"): also what env(1) finds.
fn interpreters(program: &Path, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let mut programs = vec![program.to_owned()];
    // The kernel itself allows a few levels.
    while let Some(script) = programs.last().filter(|_| programs.len() < 5) {
        let mut line = [0; 256];
        let length = fs::File::open(script).and_then(|mut file| file.read(&mut line)).unwrap_or(0);
        let line = line.get(..length).unwrap_or_default();
        let Some(line) = line.strip_prefix(b"#!") else { break };
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
        let mut words = line.split_whitespace();
        let Some(interpreter) = words.next().map(PathBuf::from) else { break };
        if interpreter.file_name().is_some_and(|name| name == "env") {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
            let path = environment.iter().find(|(key, _)| key == "PATH").map(|(_, path)| path.as_os_str());
            let folders = std::env::split_paths(path.unwrap_or_default()).collect::<Vec<_>>();
            let found =
                name.and_then(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()));
            let Some(found) = found else { break };
            programs.push(found);
        } else {
            programs.push(interpreter);
        }
    }
    programs
}

fn is_tls_library(name: &str) -> bool {
    let is_one = name.starts_with("libssl") || name.starts_with("libgnutls.");
    is_one && (name.ends_with(".so") || name.contains(".so."))
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
        assert_eq!(own, ["bin/prog", "lib/libssl.so.3", "own/libssl-1f.so.1.1"].map(Path::new));
    }

    #[test]
    fn a_script_leads_to_what_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let runtime = file("runtime", "\x7fELF");
        let shim = file("shim", &format!("#!{} -x\nrest", runtime.display()));
        let script = file("agent", "#!/usr/bin/env -S A=b shim\nrest");
        let environment = [("PATH".into(), folder.path().as_os_str().to_owned())];
        assert_eq!(interpreters(&script, &environment), [script.clone(), shim, runtime]);
        let loops = file("loop", "#!/usr/bin/env loop\n");
        assert_eq!(interpreters(&loops, &environment).len(), 5);
    }
}
