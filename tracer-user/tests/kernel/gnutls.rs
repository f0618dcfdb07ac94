//! GnuTLS, as this machine has it, against a program with known traffic.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use llmtap::capture::Event;

use super::{
    MODES,
    lab::{Lab, compile, lab},
};

/// The program, and the library that it is linked to.
fn program(lab: &Lab) -> Option<(PathBuf, PathBuf)> {
    let program = lab.program().with_file_name("gnutls");
    if let Err(error) = compile("gnutls.c", ["-lgnutls"], &program) {
        println!("skipped: no GnuTLS headers (libgnutls28-dev): {error}");
        return None;
    }
    let output = Command::new("ldd").arg(&program).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find(|line| line.contains("libgnutls"))?;
    let library = line.split_whitespace().find(|word| word.starts_with('/'))?;
    Some((program, Path::new(library).canonicalize().ok()?))
}

fn exact_in_all_modes(scenario: &str, versions: &[&str]) {
    let Some(lab) = lab() else { return };
    let Some((program, library)) = program(&lab) else { return };
    for mode in MODES {
        for version in versions {
            let run =
                lab.run_command(mode, &library, &[program.as_os_str(), scenario.as_ref(), version.as_ref()], None);
            run.assert_exact();
            assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
            let names = run.events.iter().filter_map(|event| match event {
                Event::Open { connection, .. } => connection.sni.clone(),
                _ => None,
            });
            assert_eq!(names.collect::<Vec<_>>(), ["model.example".into()], "{}", run.title);
        }
    }
}

#[test]
fn all_sizes_arrive_whole_with_gnutls() {
    exact_in_all_modes("sizes", &["TLS1.2", "TLS1.3"]);
}

#[test]
fn corked_writes_count_once() {
    exact_in_all_modes("corked", &["TLS1.2", "TLS1.3"]);
}

#[test]
fn a_refused_send_counts_once() {
    exact_in_all_modes("refused", &["TLS1.2", "TLS1.3"]);
}

#[test]
fn padded_records_tell_their_data() {
    exact_in_all_modes("ranged", &["TLS1.3"]);
}
