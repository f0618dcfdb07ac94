//! Files with TLS code that a program is likely to load: to be hooked before it starts. Those that are not found here
//! are hooked when they are mapped.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    dynamic,
    gate::{HeldProgram, called, command_line, search_variables},
    packages,
    root::Root,
};

/// Directories that the dynamic linker searches although no configuration names them (ld.so(8)), and musl's.
const DEFAULT: [&str; 5] = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];
/// Below the first two, where Debian's linker looks also in a root without configuration, such as a minimal container's.
#[cfg(target_arch = "x86_64")]
const MULTIARCH: &str = "x86_64-linux-gnu";
#[cfg(not(target_arch = "x86_64"))]
const MULTIARCH: &str = "aarch64-linux-gnu";

/// Files of configuration that are read at most.
const MAX_FILES: usize = 64;
/// Most bytes of one.
const MAX_CONFIGURATION: u64 = 64 << 10;

/// Directories of one program that are looked at, and files of them that are examined.
const MAX_FOLDERS: usize = 256;
const MAX_LIBRARIES: usize = 64;

/// Directories whose TLS libraries are remembered.
const MAX_REMEMBERED: usize = 4096;

/// A directory as it was when it was read: device, inode, and the times of its last changes.
type FolderKey = (u64, u64, (i64, i64), (i64, i64));

/// Finds what programs are likely to load, and remembers directories that have not changed since.
#[derive(Debug, Default)]
pub struct Libraries {
    folders: HashMap<FolderKey, Vec<OsString>>,
    /// Folders of packages whose modules were told.
    packages: HashSet<FolderKey>,
}

impl Libraries {
    /// The program, or the interpreters that its first line names; the TLS libraries on the dynamic linker's search path, in `LD_LIBRARY_PATH` of the command's environment, and beside the
    /// programs (`bin/../lib`, where self-contained Pythons and Rubies keep theirs). Each file once.
    pub fn likely(&mut self, program: &Path, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
        let programs = interpreters(program, environment);
        let mut found: BTreeSet<PathBuf> =
            programs.iter().filter_map(|program| fs::canonicalize(program).ok()).collect();
        let Ok(root) = Root::own() else { return found.into_iter().collect() };
        for program in programs {
            for program in [program.clone(), fs::canonicalize(program).unwrap_or_default()] {
                let folders = search_path(&root, &program, Vec::new(), environment);
                // Several names lead to one file.
                found.extend(
                    self.in_folders(&root, &folders).iter().filter_map(|(path, _)| fs::canonicalize(path).ok()),
                );
            }
        }
        found.into_iter().collect()
    }

    /// What a held program is, and what its dynamic linker will find in the program's own root, with the names that
    /// the program has for them.
    pub fn of_held(&mut self, held: &HeldProgram) -> Vec<(PathBuf, File)> {
        let Ok(program) = held.open() else { return Vec::new() };
        let path = held.path();
        let mut files = Vec::new();
        let beside = path.parent().unwrap_or(Path::new("/"));
        if let (Some(run_path), Ok(root)) = (dynamic::run_path(&program, beside), Root::of(held.pid)) {
            let folders = search_path(&root, &path, run_path, &search_variables(held.pid));
            files = self.in_folders(&root, &folders);
        }
        files.insert(0, (path, program));
        files
    }

    /// What a held program may load while it runs from where no linker's path leads: the modules of its packages, if it
    /// is an interpreter. Handles, each folder once as long as nothing is installed there.
    pub fn modules_of_held(&mut self, held: &HeldProgram) -> Vec<File> {
        let Some(interpreter) = interpreter(held) else { return Vec::new() };
        let Ok(root) = Root::of(held.pid) else { return Vec::new() };
        let mut modules = Vec::new();
        let directory = fs::read_link(format!("/proc/{}/cwd", held.pid)).ok();
        let start = packages::Start {
            root: &root,
            interpreters: &[interpreter, held.path()],
            environment: &search_variables(held.pid),
            arguments: &command_line(held.pid),
            directory: directory.as_deref(),
        };
        for (folder, kind) in start.folders() {
            let Some((key, _)) = self::folder(&root, &folder) else { continue };
            if self.packages.len() >= MAX_REMEMBERED {
                self.packages.clear();
            }
            if self.packages.insert(key) {
                modules.extend(packages::modules(&root, &folder, kind));
            }
        }
        modules
    }

    fn in_folders(&mut self, root: &Root, folders: &[PathBuf]) -> Vec<(PathBuf, File)> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for folder in folders.iter().take(MAX_FOLDERS) {
            for name in self.names(root, folder) {
                let path = folder.join(name);
                let Ok(file) = root.open(&path) else { continue };
                let is_new = file.metadata().is_ok_and(|file| seen.insert((file.dev(), file.ino())));
                if is_new && found.len() < MAX_LIBRARIES {
                    found.push((path, file));
                }
            }
        }
        found
    }

    /// Names of the TLS libraries in a directory.
    fn names(&mut self, root: &Root, folder: &Path) -> Vec<OsString> {
        let Some((key, directory)) = self::folder(root, folder) else { return Vec::new() };
        if let Some(names) = self.folders.get(&key) {
            return names.clone();
        }
        let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { return Vec::new() };
        let names: Vec<OsString> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| name.to_str().is_some_and(is_tls_library))
            .collect();
        if self.folders.len() >= MAX_REMEMBERED {
            self.folders.clear();
        }
        self.folders.insert(key, names.clone());
        names
    }
}

fn folder(root: &Root, path: &Path) -> Option<(FolderKey, File)> {
    let directory = root.open(path).ok()?;
    let is = directory.metadata().ok()?;
    let (modified, changed) = ((is.mtime(), is.mtime_nsec()), (is.ctime(), is.ctime_nsec()));
    Some(((is.dev(), is.ino(), modified, changed), directory))
}

/// What a held program calls the interpreter that runs it: not where links lead from there, since a virtual environment
/// is known by where its links stand.
fn interpreter(held: &HeldProgram) -> Option<PathBuf> {
    let mut line = [0; 256];
    let length = held.open().and_then(|mut file| file.read(&mut line)).unwrap_or(0);
    if let Some(line) = line.get(..length)?.strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next()?).into_owned();
        return line.split_whitespace().next().map(PathBuf::from);
    }
    let name = PathBuf::from(called(held.pid)?);
    if name.is_absolute() {
        return Some(name);
    }
    Some(fs::read_link(format!("/proc/{}/cwd", held.pid)).ok()?.join(name))
}

/// Where the dynamic linker looks for a program's libraries, and some places more. Each directory once.
fn search_path(
    root: &Root,
    program: &Path,
    run_path: Vec<PathBuf>,
    environment: &[(OsString, OsString)],
) -> Vec<PathBuf> {
    let variable = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
    let mut folders: Vec<PathBuf> = Vec::new();
    let separators = |list: &OsStr| -> Vec<PathBuf> {
        // A semicolon separates, too (ld.so(8)).
        std::env::split_paths(list)
            .flat_map(|part| {
                let text = part.to_string_lossy().into_owned();
                text.split(';').map(PathBuf::from).collect::<Vec<_>>()
            })
            .collect()
    };
    folders.extend(variable("LD_LIBRARY_PATH").into_iter().flat_map(separators));
    folders.extend(run_path);
    folders.extend(program.parent().and_then(Path::parent).map(|folder| folder.join("lib")));
    let mut files = 0;
    read_configuration(root, Path::new("/etc/ld.so.conf"), &mut folders, &mut files);
    folders.extend(DEFAULT.iter().take(2).map(|folder| Path::new(folder).join(MULTIARCH)));
    folders.extend(DEFAULT.map(PathBuf::from));
    let mut seen = BTreeSet::new();
    folders.retain(|folder| folder.is_absolute() && seen.insert(folder.clone()));
    folders
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

/// Whether a file's name is that of a TLS library.
pub(super) fn is_tls_library(name: &str) -> bool {
    let is_one = name.starts_with("libssl") || name.starts_with("libgnutls.");
    is_one && (name.ends_with(".so") || name.contains(".so."))
}

/// ldconfig(8): one folder a line, `#` begins a comment, `include` takes a pattern.
fn read_configuration(root: &Root, file: &Path, folders: &mut Vec<PathBuf>, files: &mut usize) {
    *files += 1;
    if *files > MAX_FILES {
        return;
    }
    let Ok(text) = root.open(file).and_then(|file| io::read_to_string(file.take(MAX_CONFIGURATION))) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include ") {
            Some(pattern) => {
                let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern.trim());
                for included in expand(root, &pattern) {
                    read_configuration(root, &included, folders, files);
                }
            }
            None if !line.is_empty() => folders.push(line.into()),
            None => {}
        }
    }
}

/// Files that a pattern names; as everywhere, only its last component is one.
fn expand(root: &Root, pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(glob) = globset::Glob::new(name).map(|glob| glob.compile_matcher()) else { return Vec::new() };
    let Ok(directory) = root.open(folder) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| glob.is_match(name))
        .map(|name| folder.join(name))
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
        let found = Libraries::default().likely(&folder.path().join("bin/prog"), &environment);
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
