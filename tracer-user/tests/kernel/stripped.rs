//! OpenSSL inside the program, without symbols, in every way of attaching: also on kernels that have no uprobe sessions,
//! where the end of a write is the end of the function that it leaves by a call of.

use std::path::PathBuf;

use llmtap::capture::{Options, Refusal, Tracer, attach::Refused, program::AttachMode};

use super::lab::{Lab, compile, lab};

/// With sessions, if there are any, and in both ways without.
const MODES: [Option<AttachMode>; 3] = [None, Some(AttachMode::Multi), Some(AttachMode::PerfConstant)];

/// The program with libssl linked in.
fn program(lab: &Lab) -> Option<PathBuf> {
    let program = lab.program().with_file_name("stripped");
    let options = ["-w", "-s", "-l:libssl.a", "-l:libcrypto.a", "-ldl", "-lpthread"];
    if let Err(why) = compile("target.c", options, &program) {
        println!("skipped: no libssl.a (libssl-dev): {why}");
        return None;
    }
    Some(program)
}

fn exact_in_all_modes(scenarios: &[&str]) {
    let Some(lab) = lab() else { return };
    let Some(program) = program(&lab) else { return };
    for mode in MODES {
        for scenario in scenarios {
            let run = lab.run_command(mode, &program, &[program.as_os_str(), scenario.as_ref()], None);
            run.assert_exact();
            assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
        }
    }
}

#[test]
fn all_sizes_arrive_whole_without_symbols() {
    exact_in_all_modes(&["sizes", "sizes-ex"]);
}

#[test]
fn what_is_no_data_or_counts_once_without_symbols() {
    exact_in_all_modes(&["peek", "retry", "partial", "fork"]);
}

/// As in a program with symbols: stacks are switched in the middle of reads, and calls are left by `longjmp`.
#[test]
fn programs_without_symbols_survive() {
    let Some(lab) = lab() else { return };
    let Some(program) = program(&lab) else { return };
    for mode in MODES {
        for scenario in ["switch0", "switch3t", "migrate", "longjmp", "seccomp"] {
            let run = lab.run_command(mode, &program, &[program.as_os_str(), scenario.as_ref()], None);
            assert!(run.output.contains("survived"), "{}: {:?}", run.title, run.status);
            if matches!(scenario, "longjmp" | "seccomp") {
                run.assert_exact();
            }
        }
    }
}

/// Where the ends of calls are not known, the verdict says what is missing, and a kernel that needs no ends hooks it.
#[test]
fn a_build_whose_ends_are_not_found_needs_sessions() {
    let Some(lab) = lab() else { return };
    let program = lab.program().with_file_name("endless");
    // Nothing stays in registers, so that the ends of reads cannot be seen.
    let options = ["-w", "-O0", "-s", "-DNAMED", "-DMAIN"];
    compile("../../src/capture/locate/tests/table.c", options, &program).unwrap();
    for mode in [AttachMode::Session, AttachMode::Multi, AttachMode::Perf] {
        let Ok(mut tracer) = Tracer::load(&Options { mode: Some(mode), ..Options::default() }) else { continue };
        let verdict = tracer.attach_file(&program);
        if mode == AttachMode::Session {
            assert!(verdict.hooked.len() == 1 && verdict.refused.is_empty(), "{verdict:?}");
            continue;
        }
        let [Refused { why: Refusal::Attach(why), .. }] = &verdict.refused[..] else { panic!("{mode:?}: {verdict:?}") };
        assert!(verdict.hooked.is_empty() && why.contains("needs Linux 6.13"), "{why}");
    }
}
