//! Native modules in the folders where package managers keep what they install: what a program loads while it runs, from
//! where no dynamic linker's path leads. Packages bring their own libssl (`NAME.libs` of Python's wheels), or a TLS library
//! inside a module (gRPC for Ruby, PHP and Node).

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{libraries::is_tls_library, root::Root};

/// Folders of packages of one program that are looked at.
const MAX_ROOTS: usize = 32;
/// Folders below one of them that are looked into, and modules that are told. A large environment for machine learning has
/// 6,000 folders and 800 modules.
const MAX_FOLDERS: usize = 8192;
const MAX_MODULES: usize = 4096;
/// Levels below it.
const DEPTH: usize = 9;
/// A module with a TLS library inside is larger, bytes; one that is smaller calls one elsewhere.
const SMALLEST: u64 = 400 << 10;

/// Where packages of Node keep what is compiled: elsewhere in them there is only text, of which there is much.
const COMPILED: [&str; 6] = ["build", "prebuilds", "binding", "bin", "native", "Release"];

/// Whose packages a folder holds, which says where in it modules lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any module: wheels link small ones against a TLS library that they bring.
    Python,
    Node,
    /// Ruby, PHP, Perl.
    Other,
}

/// A program that is about to start.
pub(super) struct Start<'a> {
    pub root: &'a Root,
    /// Paths of what will run, as it is called and where it stands.
    pub interpreters: &'a [PathBuf],
    /// With the variables of [`VARIABLES`], as far as they are set.
    pub environment: &'a [(OsString, OsString)],
    pub arguments: &'a [OsString],
    pub directory: Option<&'a Path>,
}

/// What the environment says of where packages are.
pub(super) const VARIABLES: [&str; 6] = ["PYTHONPATH", "HOME", "NODE_PATH", "GEM_HOME", "GEM_PATH", "PERL5LIB"];

impl Start<'_> {
    /// Where the interpreter looks for packages.
    pub fn folders(&self) -> Vec<(PathBuf, Kind)> {
        let mut found = if self.runs(&["python", "pypy"]) {
            with_kind(self.python(), Kind::Python)
        } else if self.runs(&["node", "bun"]) {
            with_kind(self.node(), Kind::Node)
        } else if self.runs(&["ruby"]) {
            let homes = [".gem", ".local/share/gem"].into_iter().filter_map(|name| self.home(name));
            let named = ["GEM_HOME", "GEM_PATH"].iter().flat_map(|name| self.list(name));
            let mut folders: Vec<PathBuf> = named.chain(homes).collect();
            folders.push("/var/lib/gems".into());
            folders.extend(self.below_prefixes(&["ruby"]));
            with_kind(folders, Kind::Other)
        } else if self.runs(&["php"]) {
            with_kind(self.below_prefixes(&["php"]), Kind::Other)
        } else if self.runs(&["perl"]) {
            let mut folders = self.list("PERL5LIB");
            folders.extend(self.home("perl5"));
            folders.extend(self.below_prefixes(&["perl5", "perl"]));
            with_kind(folders, Kind::Other)
        } else {
            Vec::new()
        };
        let mut seen = BTreeSet::new();
        found.retain(|(folder, _)| folder.is_absolute() && seen.insert(folder.clone()));
        found.truncate(MAX_ROOTS);
        found
    }

    fn runs(&self, names: &[&str]) -> bool {
        self.interpreters.iter().filter_map(|path| path.file_name()?.to_str()).any(|name| {
            // Followed by a version, or by nothing.
            names
                .iter()
                .any(|start| name.strip_prefix(start).is_some_and(|rest| !rest.starts_with(char::is_alphabetic)))
                || name == "nodejs" && names.contains(&"node")
                || name.starts_with("php-") && names.contains(&"php")
        })
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    fn list(&self, name: &str) -> Vec<PathBuf> {
        self.variable(name).map(|list| std::env::split_paths(list).collect()).unwrap_or_default()
    }

    fn home(&self, name: &str) -> Option<PathBuf> {
        self.variable("HOME").map(|home| Path::new(home).join(name))
    }

    /// The folders of which the interpreter stands in `bin`.
    fn prefixes(&self) -> BTreeSet<PathBuf> {
        self.interpreters.iter().filter_map(|path| path.parent()?.parent()).map(Path::to_owned).collect()
    }

    /// `lib/NAME`, `lib/ARCHITECTURE/NAME`.
    fn below_prefixes(&self, names: &[&str]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for library in
            self.prefixes().iter().flat_map(|prefix| ["lib", "lib64", "local/lib"].map(|name| prefix.join(name)))
        {
            found.extend(names.iter().map(|name| library.join(name)));
            for (architecture, _) in
                entries(self.root, &library).into_iter().filter(|(name, _)| name.contains("-linux-"))
            {
                found.extend(names.iter().map(|name| library.join(&architecture).join(name)));
            }
        }
        found.retain(|folder| self.root.handle(folder).is_ok());
        found
    }

    /// `site` of Python's library.
    fn python(&self) -> Vec<PathBuf> {
        let mut found = self.list("PYTHONPATH");
        for prefix in self.prefixes().into_iter().chain(self.home(".local")).collect::<BTreeSet<_>>() {
            for library in ["lib", "lib64", "local/lib"].map(|name| prefix.join(name)) {
                for version in entries(self.root, &library).into_iter().filter(|(name, _)| name.starts_with("python3"))
                {
                    let version = library.join(version.0);
                    found.extend(["site-packages", "dist-packages"].map(|name| version.join(name)));
                }
            }
        }
        found
    }

    /// `node_modules` beside the script, in the working directory and above both; those installed for all.
    fn node(&self) -> Vec<PathBuf> {
        let mut found = self.list("NODE_PATH");
        let script = self.arguments.iter().skip(1).find(|argument| !argument.as_encoded_bytes().starts_with(b"-"));
        let script =
            script.and_then(|script| Some(self.directory.unwrap_or(Path::new("/")).join(script).parent()?.to_owned()));
        for place in script.as_deref().into_iter().chain(self.directory) {
            found.extend(place.ancestors().map(|folder| folder.join("node_modules")));
        }
        found.extend(self.prefixes().iter().map(|prefix| prefix.join("lib/node_modules")));
        found.retain(|folder| self.root.handle(folder).is_ok());
        found
    }
}

fn with_kind(folders: Vec<PathBuf>, kind: Kind) -> Vec<(PathBuf, Kind)> {
    folders.into_iter().map(|folder| (folder, kind)).collect()
}

/// Handles of the modules in a folder of packages and below. Each file once.
pub(super) fn modules(root: &Root, folder: &Path, kind: Kind) -> Vec<File> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    // Those in which all may be compiled code.
    let mut waiting = vec![(folder.to_owned(), DEPTH, kind != Kind::Node)];
    let mut folders = 0;
    while let Some((folder, depth, compiled)) = waiting.pop() {
        folders += 1;
        let is_scope = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
        for (name, is_folder) in entries(root, &folder) {
            let path = folder.join(&name);
            if is_folder {
                let compiled = compiled || COMPILED.contains(&name.as_str());
                let is_package = depth == DEPTH || is_scope && depth == DEPTH - 1;
                // `lib/binding` of node-pre-gyp.
                let leads_on = compiled || is_package || name == "lib";
                let holds_none = name == "__pycache__" || name.ends_with(".dist-info") || name.starts_with(".git");
                if depth > 0 && leads_on && !holds_none && folders + waiting.len() < MAX_FOLDERS {
                    waiting.push((path, depth - 1, compiled));
                }
            } else if is_module(&name)
                && found.len() < MAX_MODULES
                && let Ok(handle) = root.handle(&path)
                && let Ok(file) = handle.metadata()
                && file.is_file()
                && (kind == Kind::Python || is_tls_library(&name) || file.len() >= SMALLEST)
                && seen.insert((file.dev(), file.ino()))
            {
                found.push(handle);
            }
        }
    }
    found
}

fn is_module(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.") || name.ends_with(".node")
}

/// Names in a folder, and which are folders themselves; links are none.
fn entries(root: &Root, folder: &Path) -> Vec<(String, bool)> {
    let Ok(directory) = root.open(folder) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { return Vec::new() };
    let entry = |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?.is_dir()));
    entries.flatten().filter_map(entry).collect()
}

#[cfg(test)]
mod tests;
