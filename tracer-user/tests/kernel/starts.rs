//! Programs that live for a moment, with files that nobody has seen before: held at their start until hooks stand.

use std::ffi::OsStr;

use llmtap::capture::Event;

use super::lab::{Run, lab};

/// Starts a program that makes its calls at once, `$3` times one after the other, each in a mount namespace of its own
/// with a file system of its own that holds a copy of the library.
const FRESH: &str = r#"
for n in $(seq "$3"); do
    unshare -m sh -c 'mount -t tmpfs none "$2" && cp "$1" "$2" && LD_LIBRARY_PATH="$2" exec "$0" one' "$0" "$1" "$2"
done"#;

fn processes(run: &Run) -> usize {
    let mut pids: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| if let Event::Open { connection, .. } = event { connection.pid } else { None })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.len()
}

#[test]
fn a_hundred_short_processes_with_private_libraries_are_captured_from_the_first_byte() {
    const COUNT: usize = 100;
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (program, library) = (lab.program(), lab.library());
    let count = COUNT.to_string();
    let command: [&OsStr; 7] = [
        "sh".as_ref(),
        "-c".as_ref(),
        FRESH.as_ref(),
        program.as_ref(),
        library.as_ref(),
        folder.path().as_ref(),
        count.as_ref(),
    ];
    let Some(run) = lab.run_held(&command) else { return };
    run.assert_exact();
    assert_eq!(run.captured_bytes(), run.told_bytes());
    assert_eq!(processes(&run), COUNT);
}
