//! One file, however it is shown: changed, deleted, replaced, under two overlays, in other namespaces.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use llmtap::capture::{Direction, Event, Options, ProcessNews, ProcessNotice, Tracer};

use super::lab::{Lab, Run, lab};

/// Two overlays of one layer that holds the library, each in a mount namespace of its own.
const OVERLAYS: &str = r#"
for n in 1 2; do
    unshare --mount sh -c '
        mount -t tmpfs none "$2" && mkdir "$2/upper" "$2/work" "$2/merged" &&
        mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" none "$2/merged" &&
        LD_LIBRARY_PATH="$2/merged" exec "$0" one' "$0" "$1" "$2" || exit 1
done"#;

fn own_library(lab: &Lab, folder: &Path) -> PathBuf {
    let library = lab.library();
    let own = folder.join(library.file_name().unwrap());
    fs::copy(library, &own).unwrap();
    own
}

fn hooked(run: &Run) -> Vec<PathBuf> {
    let verdict = |notice: &ProcessNotice| match &notice.what {
        ProcessNews::Mapped(verdict) => verdict.hooked.iter().map(|hooked| hooked.path.clone()).collect(),
        _ => Vec::new(),
    };
    run.notices.iter().flat_map(verdict).collect()
}

fn once(run: &Run) {
    run.assert_exact();
    assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
}

#[test]
fn a_file_with_new_attributes_is_hooked_once() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let library = own_library(&lab, folder.path());
    let mut tracer = Tracer::load(&Options::default()).unwrap();
    assert_eq!(tracer.attach_file(&library).hooked.len(), 1);
    fs::set_permissions(&library, fs::Permissions::from_mode(0o700)).unwrap();
    fs::hard_link(&library, folder.path().join("another-name")).unwrap();
    tracer.attach_file(&library);
    once(&lab.run_with(&mut tracer, &[lab.program().as_os_str(), "sizes".as_ref()], Some(folder.path())));
}

#[test]
fn a_file_with_new_content_is_hooked_anew() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let library = own_library(&lab, folder.path());
    let mut tracer = Tracer::load(&Options::default()).unwrap();
    assert_eq!(tracer.attach_file(&library).hooked.len(), 1);
    // The same inode, written again.
    own_library(&lab, folder.path());
    assert_eq!(tracer.attach_file(&library).hooked.len(), 1);
    once(&lab.run_with(&mut tracer, &[lab.program().as_os_str(), "sizes".as_ref()], Some(folder.path())));
}

#[test]
fn two_overlays_of_one_layer_tell_each_call_once() {
    let Some(lab) = lab() else { return };
    let (layer, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    own_library(&lab, layer.path());
    let command: [&OsStr; 6] = [
        "sh".as_ref(),
        "-c".as_ref(),
        OVERLAYS.as_ref(),
        lab.program().as_ref(),
        layer.path().as_ref(),
        folder.path().as_ref(),
    ];
    let Some(run) = lab.run_held(&command) else { return };
    once(&run);
    let merged = hooked(&run).into_iter().filter(|path| path.starts_with(folder.path()));
    assert_eq!(merged.count(), 1, "two overlays show one inode");
}

/// Root of a user namespace of its own, in a PID namespace of its own: nobody but root may read such a process's maps.
#[test]
fn a_process_of_other_user_and_pid_namespaces_is_captured() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    own_library(&lab, folder.path());
    let search = format!("LD_LIBRARY_PATH={}", folder.path().display());
    let mut command: Vec<&OsStr> =
        ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"].map(OsStr::new).into();
    command.extend(["env".as_ref(), search.as_ref(), lab.program().as_os_str(), "one".as_ref()]);
    let Some(run) = lab.run_held(&command) else { return };
    assert!(run.status.is_some_and(|status| status.success()), "{:?}", run.status);
    run.assert_no_loss();
    assert!(run.told_bytes() > 0);
    assert_eq!(run.captured_bytes(), run.told_bytes());
    let pids: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| if let Event::Open { connection, .. } = event { connection.pid } else { None })
        .collect();
    assert!(pids.iter().all(|pid| *pid > 1), "the process is told by our numbers, not by its own: {pids:?}");
}

/// Sends for some seconds with a library of its own.
fn stream(lab: &Lab, folder: &Path) -> Child {
    let child = lab.command("stream").env("LD_LIBRARY_PATH", folder).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child
}

fn is_seen(lab: &Lab, mut target: Child) {
    let run = lab.watch(target.id(), Duration::from_millis(400));
    target.kill().unwrap();
    target.wait().unwrap();
    let sent = run.events.iter().filter(|event| matches!(event, Event::Data { direction: Direction::Send, .. }));
    assert!(sent.count() > 50, "of some 300 writes");
    run.assert_no_loss();
}

#[test]
fn a_library_that_was_deleted_while_it_is_mapped_is_hooked() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let library = own_library(&lab, folder.path());
    let target = stream(&lab, folder.path());
    fs::remove_file(library).unwrap();
    is_seen(&lab, target);
}

#[test]
fn a_library_that_was_replaced_while_it_is_mapped_is_hooked_and_not_its_successor() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let library = own_library(&lab, folder.path());
    let target = stream(&lab, folder.path());
    let successor = folder.path().join("new");
    fs::write(&successor, "no library").unwrap();
    fs::rename(successor, library).unwrap();
    is_seen(&lab, target);
}

/// What a container has put into its root must not make us touch files of the host.
#[test]
fn a_link_in_another_root_leads_to_no_file_of_ours() {
    const ENTER: &str = r#"
set -e
for file in $(ldd "$0" | grep -o '/[^ ]*') "$0"; do mkdir -p "$2/$(dirname "$file")" && cp -L "$file" "$2/$file"; done
mkdir -p "$2/own" && ln -s "$1" "$2/own/libssl.so.9"
exec unshare --mount chroot "$2" /usr/bin/env LD_LIBRARY_PATH=/own "$0" one"#;
    let Some(lab) = lab() else { return };
    let (root, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let library = own_library(&lab, host.path());
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::copy("/usr/bin/env", root.path().join("usr/bin/env")).unwrap();
    let command: [&OsStr; 6] =
        ["sh".as_ref(), "-c".as_ref(), ENTER.as_ref(), lab.program().as_ref(), library.as_ref(), root.path().as_ref()];
    let Some(run) = lab.run_held(&command) else { return };
    once(&run);
    let hooked = hooked(&run);
    assert!(hooked.iter().any(|path| path.ends_with(library.file_name().unwrap())), "{hooked:?}");
    assert!(hooked.iter().all(|path| !path.ends_with("libssl.so.9")), "{hooked:?}");
}
