//! Functions of the form of Go's `crypto/tls`, which need no Go compiler, against a program with known traffic.

use std::ffi::OsStr;

use super::{
    MODES,
    lab::{compile, lab},
};

fn exact_in_all_modes(flags: &[&str]) {
    let Some(lab) = lab() else { return };
    let program = lab.program().with_file_name("go");
    compile("../../src/capture/locate/tests/go.c", flags, &program).unwrap();
    for mode in MODES {
        let run = lab.run_command(mode, &program, &[program.as_os_str(), OsStr::new("")], None);
        run.assert_exact();
        assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
    }
}

#[test]
fn all_calls_of_go_count_once() {
    exact_in_all_modes(&["-no-pie", "-fno-pic"]);
}

#[test]
fn reads_of_go_are_seen_at_their_returns() {
    exact_in_all_modes(&["-pie", "-fPIE", "-DNO_JUMP", "-DGO117"]);
}
