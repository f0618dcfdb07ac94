use super::*;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    root: Root,
}

impl Place {
    fn new(files: &[(&str, usize)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        for (file, size) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, vec![0; *size]).unwrap();
        }
        Self { _folder: folder, path, root: Root::own().unwrap() }
    }

    fn start<'a>(&'a self, interpreters: &'a [PathBuf], environment: &'a [(OsString, OsString)]) -> Start<'a> {
        Start { root: &self.root, interpreters, environment, arguments: &[], directory: Some(&self.path) }
    }

    fn modules(&self, folder: &str, kind: Kind) -> Vec<String> {
        let folder = self.path.join(folder);
        let mut found: Vec<String> = modules(&self.root, &folder, kind)
            .iter()
            .map(|file| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap())
            .map(|path| path.strip_prefix(&folder).unwrap().display().to_string())
            .collect();
        found.sort();
        found
    }
}

const LARGE: usize = SMALLEST as usize;

#[test]
fn modules_of_an_environment_are_found_and_other_files_are_not() {
    let packages = "venv/lib/python3.12/site-packages";
    let files = ["a.libs/libssl-1f.so.3", "b/_wrapper.abi3.so", "b/c/d.so", "b/__init__.py", "b/__pycache__/x.so"];
    let files = files.map(|file| format!("{packages}/{file}"));
    let place = Place::new(&files.each_ref().map(|file| (file.as_str(), 1)));
    let environment = [("PYTHONPATH".into(), "/mine:relative".into())];
    let interpreters = [place.path.join("venv/bin/python"), "/opt/x/bin/tool".into()];
    let folders = place.start(&interpreters, &environment).folders();
    assert_eq!(folders[0], ("/mine".into(), Kind::Python));
    let has = |path: PathBuf| folders.iter().any(|(folder, _)| *folder == path);
    assert!(has(place.path.join(packages)) && !has("relative".into()), "{folders:?}");
    assert!(place.start(&[place.path.join("venv/bin/tool")], &environment).folders().is_empty());
    assert_eq!(place.modules(packages, Kind::Python), ["a.libs/libssl-1f.so.3", "b/_wrapper.abi3.so", "b/c/d.so"]);
}

#[test]
fn node_finds_addons_where_packages_keep_what_is_compiled() {
    let place = Place::new(&[
        ("app/node_modules/grpc/build/Release/grpc_node.node", LARGE),
        ("app/node_modules/small/build/Release/small.node", 100),
        ("app/node_modules/pre/lib/binding/napi-v3/pre.node", LARGE),
        ("app/node_modules/@scope/addon-linux-x64-gnu/addon.node", LARGE),
        ("app/node_modules/text/dist/esm/deep/unlikely.node", LARGE),
        ("app/server/main.js", 1),
    ]);
    let interpreters = [PathBuf::from("/usr/bin/node")];
    let arguments = ["node", "--enable-source-maps", "app/server/main.js"].map(OsString::from);
    let start = Start { arguments: &arguments, ..place.start(&interpreters, &[]) };
    let folders = start.folders();
    assert_eq!(folders[0], (place.path.join("app/node_modules"), Kind::Node));
    assert_eq!(
        place.modules("app/node_modules", Kind::Node),
        [
            "@scope/addon-linux-x64-gnu/addon.node",
            "grpc/build/Release/grpc_node.node",
            "pre/lib/binding/napi-v3/pre.node"
        ]
    );
}

#[test]
fn other_runtimes_have_their_own_folders() {
    let place = Place::new(&[
        ("usr/lib/x86_64-linux-gnu/perl5/5.36/auto/Net/Own/Own.so", LARGE),
        ("usr/lib/x86_64-linux-gnu/perl5/5.36/auto/List/Util/Util.so", 100),
        ("usr/lib/php/20220829/grpc.so", LARGE),
        ("gems/ruby/3.1.0/gems/grpc-1.60.0-x86_64-linux/src/ruby/lib/grpc/3.1/grpc_c.so", LARGE),
        ("gems/ruby/3.1.0/gems/tls-1.0/ext/libssl.so.3", 100),
    ]);
    let folders = |name: &str, environment: &[(OsString, OsString)]| -> Vec<PathBuf> {
        let interpreters = [place.path.join("usr/bin").join(name)];
        place.start(&interpreters, environment).folders().into_iter().map(|(folder, _)| folder).collect()
    };
    assert_eq!(folders("perl", &[]), [place.path.join("usr/lib/x86_64-linux-gnu/perl5")]);
    assert_eq!(folders("php8.2", &[]), [place.path.join("usr/lib/php")]);
    assert_eq!(folders("php-fpm8.2", &[]), [place.path.join("usr/lib/php")]);
    let gems = [("GEM_HOME".into(), place.path.join("gems").into_os_string())];
    assert_eq!(folders("ruby3.1", &gems)[0], place.path.join("gems"));
    assert!(folders("phpunit", &[]).is_empty() && folders("perldoc", &[]).is_empty());
    assert_eq!(place.modules("usr/lib/x86_64-linux-gnu/perl5", Kind::Other), ["5.36/auto/Net/Own/Own.so"]);
    assert_eq!(place.modules("usr/lib/php", Kind::Other), ["20220829/grpc.so"]);
    assert_eq!(
        place.modules("gems", Kind::Other),
        [
            "ruby/3.1.0/gems/grpc-1.60.0-x86_64-linux/src/ruby/lib/grpc/3.1/grpc_c.so",
            "ruby/3.1.0/gems/tls-1.0/ext/libssl.so.3"
        ]
    );
}
