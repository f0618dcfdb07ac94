//! Libraries that a program loads while it runs, and uses at once.

use std::{ffi::OsStr, fs, path::PathBuf};

use llmtap::capture::{Options, Tracer, target::Names};

use super::lab::{Lab, Run, compile, lab};

/// Runs a program of this name that loads a library at this place; also on how many occasions it may have spoken before
/// its hooks stood.
fn run(lab: &Lab, name: &str, library: &str) -> Option<(Run, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap();
    let (program, library): (PathBuf, PathBuf) = (place.join("bin").join(name), place.join(library));
    for file in [&program, &library] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    compile("modules.c", ["-ldl"], &program).unwrap();
    compile("addon.c", ["-shared", "-fPIC"], &library).unwrap();
    let mut tracer = Tracer::load(&Options::default()).unwrap();
    if let Err(error) = tracer.hold_programs(&Names::default()) {
        println!("skipped: programs cannot be held here: {error}");
        return None;
    }
    let command: [&OsStr; 2] = [program.as_os_str(), library.as_os_str()];
    let run = lab.run_with(&mut tracer, &command, None);
    assert!(run.status.is_some_and(|status| status.success()), "{name}");
    Some((run, tracer.unwatched().iter().map(|(_, count)| count).sum()))
}

#[test]
fn modules_of_packages_are_hooked_before_their_first_call() {
    let Some(lab) = lab() else { return };
    for (name, library) in [
        ("node", "app/node_modules/@scope/tls/build/Release/tls.node"),
        ("php8.2", "lib/php/20220829/tls.so"),
        ("perl", "lib/x86_64-linux-gnu/perl5/5.36/auto/Net/Own/Own.so"),
        ("ruby3.1", "lib/ruby/gems/3.1.0/gems/tls-1.0-x86_64-linux/lib/tls/3.1/tls_c.so"),
        ("python3", "lib/python3.11/site-packages/tls/_tls.abi3.so"),
    ] {
        let Some((run, unwatched)) = run(&lab, name, library) else { return };
        run.assert_exact();
        assert_eq!(run.captured_bytes(), run.told_bytes(), "{name}");
        assert_eq!(unwatched, 0, "{name}");
    }
}

#[test]
fn a_library_from_elsewhere_is_hooked_late_and_that_is_said() {
    let Some(lab) = lab() else { return };
    let Some((run, unwatched)) = run(&lab, "tool", "odd/place/plugin.so") else { return };
    assert!(run.captured_bytes() <= run.told_bytes());
    assert_eq!(unwatched, 1);
}
