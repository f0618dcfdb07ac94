//! Bytes that a TLS library sends from a file: nobody has them, and they are told as lost.

use llmtap::capture::{Direction, Event, program::AttachMode};

use super::lab::{compile, lab};

#[test]
fn what_is_sent_from_a_file_is_a_gap_of_known_length() {
    let Some(lab) = lab() else { return };
    let program = lab.program().with_file_name("sendfile");
    compile("sendfile.c", ["-rdynamic"], &program).unwrap();
    let run = lab.run_command(None, &program, &[program.as_os_str()], None);
    if run.mode != AttachMode::Session {
        println!("skipped: needs Linux 6.13");
        return;
    }
    assert!(run.status.is_some_and(|status| status.success()));
    let seen: Vec<(bool, u64, u64)> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Data { direction: Direction::Send, offset, bytes, .. } => Some((true, *offset, bytes.len() as u64)),
            Event::Gap { direction: Direction::Send, offset, lost, .. } => Some((false, *offset, *lost)),
            _ => None,
        })
        .collect();
    // The call that failed sent nothing.
    assert_eq!(seen, [(true, 0, 100), (false, 100, 50_000), (true, 50_100, 60)]);
}
