//! Native modules in the folders where Python keeps installed packages: what a program loads while it runs, from where no
//! dynamic linker's path leads. Wheels bring their own libssl in `NAME.libs`, or a TLS library inside a module.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::root::Root;

/// Folders of packages of one program that are looked at.
const MAX_ROOTS: usize = 32;
/// Folders below one of them that are looked into, and modules that are told. A large environment for machine learning has
/// 6,000 folders and 800 modules.
const MAX_FOLDERS: usize = 8192;
const MAX_MODULES: usize = 4096;
/// Levels below it.
const DEPTH: usize = 5;

/// Where an interpreter at one of these paths looks for packages (`site` of Python's library). `environment` has
/// `PYTHONPATH` and `HOME`.
pub(super) fn folders(root: &Root, interpreters: &[PathBuf], environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let is_python = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["python", "pypy"].iter().any(|start| name.starts_with(start))
    };
    if !interpreters.iter().any(is_python) {
        return Vec::new();
    }
    let variable = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let mut found: Vec<PathBuf> =
        variable("PYTHONPATH").map(|list| std::env::split_paths(list).collect()).unwrap_or_default();
    let own = variable("HOME").map(|home| Path::new(home).join(".local"));
    let prefixes = interpreters.iter().filter_map(|path| path.parent()?.parent()).map(Path::to_owned);
    for prefix in prefixes.chain(own).collect::<BTreeSet<_>>() {
        for library in ["lib", "lib64", "local/lib"].map(|name| prefix.join(name)) {
            for version in entries(root, &library).into_iter().filter(|(name, _)| name.starts_with("python3")) {
                let version = library.join(version.0);
                found.extend(["site-packages", "dist-packages"].map(|name| version.join(name)));
            }
        }
    }
    found.retain(|folder| folder.is_absolute());
    found.truncate(MAX_ROOTS);
    found
}

/// Handles of the modules in a folder of packages and below. Each file once.
pub(super) fn modules(root: &Root, folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(folder.to_owned(), DEPTH)];
    let mut folders = 0;
    while let Some((folder, depth)) = waiting.pop() {
        folders += 1;
        for (name, is_folder) in entries(root, &folder) {
            let path = folder.join(&name);
            if is_folder {
                let holds_none = name == "__pycache__" || name.ends_with(".dist-info");
                if depth > 0 && !holds_none && folders + waiting.len() < MAX_FOLDERS {
                    waiting.push((path, depth - 1));
                }
            } else if (name.ends_with(".so") || name.contains(".so."))
                && found.len() < MAX_MODULES
                && let Ok(handle) = root.handle(&path)
                && handle.metadata().is_ok_and(|file| file.is_file() && seen.insert((file.dev(), file.ino())))
            {
                found.push(handle);
            }
        }
    }
    found
}

/// Names in a folder, and which are folders themselves; links are none.
fn entries(root: &Root, folder: &Path) -> Vec<(String, bool)> {
    let Ok(directory) = root.open(folder) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { return Vec::new() };
    let entry = |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?.is_dir()));
    entries.flatten().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_an_environment_are_found_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        let packages = place.join("venv/lib/python3.12/site-packages");
        for file in ["a.libs/libssl-1f.so.3", "b/_wrapper.abi3.so", "b/c/d.so", "b/__init__.py", "b/__pycache__/x.so"] {
            let path = packages.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let root = Root::own().unwrap();
        let python = place.join("venv/bin/python");
        let environment = [("PYTHONPATH".into(), "/mine:relative".into())];
        let folders = folders(&root, &[python, "/opt/x/bin/tool".into()], &environment);
        assert_eq!(folders[0], Path::new("/mine"));
        assert!(folders.contains(&packages) && !folders.contains(&"relative".into()), "{folders:?}");
        assert!(super::folders(&root, &[place.join("venv/bin/node")], &environment).is_empty());
        let mut found: Vec<String> = modules(&root, &packages)
            .iter()
            .map(|file| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap())
            .map(|path| path.strip_prefix(&packages).unwrap().display().to_string())
            .collect();
        found.sort();
        assert_eq!(found, ["a.libs/libssl-1f.so.3", "b/_wrapper.abi3.so", "b/c/d.so"]);
    }
}
