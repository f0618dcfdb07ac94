//! The same traffic through other builds of OpenSSL: Debian's libssl 1.1.1, 3.0, 3.5, 3.6 and Node.js, which has it
//! inside. `cargo xtask fixture` fetches them into `target/fixtures`; a build that is not there is said to be skipped.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use llmtap::capture::program::AttachMode;

use super::lab::{Lab, Run, compile, lab};

const MODES: [Option<AttachMode>; 2] = [None, Some(AttachMode::Multi)];

fn fixture(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures").join(name);
    let found = path.canonicalize().ok();
    if found.is_none() {
        eprintln!("skipped: {name} is not there (cargo xtask fixture)");
    }
    found
}

fn check(run: &Run, all_told: bool) {
    run.assert_exact();
    if all_told {
        assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
    }
}

/// Runs the scenarios with the libraries of a Debian release, under its own dynamic linker where it has one.
fn release(lab: &Lab, name: &str, program: &Path) {
    let Some(folder) = fixture(name).map(|path| path.join("usr/lib/x86_64-linux-gnu")) else { return };
    let library = ["libssl.so.3", "libssl.so.1.1"].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    let Some(library) = library else { return };
    let linker = folder.join("ld-linux-x86-64.so.2");
    for mode in MODES {
        for scenario in ["sizes", "sizes-ex", "peek", "retry", "partial", "nested"] {
            let mut command: Vec<&OsStr> = Vec::new();
            if linker.exists() {
                command.extend([linker.as_os_str(), "--library-path".as_ref(), folder.as_os_str()]);
            }
            command.extend([program.as_os_str(), scenario.as_ref()]);
            let searched = (!linker.exists()).then_some(folder.as_path());
            check(&lab.run_command(mode, &library, &command, searched), scenario != "nested");
        }
    }
}

#[test]
fn openssl_1_1_1() {
    let (Some(lab), Some(folder)) = (lab(), fixture("libssl-bullseye")) else { return };
    // Another soname: the program is linked anew.
    let folder = folder.join("usr/lib/x86_64-linux-gnu");
    let program = lab.program().with_file_name("target-1.1");
    let libraries = ["libssl.so.1.1", "libcrypto.so.1.1"].map(|name| folder.join(name).into_os_string());
    compile("target.c", libraries.into_iter().chain(["-w".into(), "-lpthread".into()]), &program).unwrap();
    release(&lab, "libssl-bullseye", &program);
}

#[test]
fn openssl_3_0() {
    let Some(lab) = lab() else { return };
    release(&lab, "libssl-bookworm", lab.program());
}

#[test]
fn openssl_3_5() {
    let Some(lab) = lab() else { return };
    release(&lab, "libssl-trixie", lab.program());
}

#[test]
fn openssl_3_6() {
    let Some(lab) = lab() else { return };
    release(&lab, "libssl-sid", lab.program());
}

#[test]
fn node() {
    let Some(lab) = lab() else { return };
    let script = lab.program().with_file_name("node.js");
    std::fs::write(&script, include_str!("node.js")).unwrap();
    for version in [20, 22, 24, 26] {
        let Some(node) = fixture(&format!("node-{version}/bin/node")) else { continue };
        for mode in MODES {
            check(&lab.run_command(mode, &node, &[node.as_os_str(), script.as_os_str()], None), true);
        }
    }
}
