//! Bytes that are not copied because nobody would read them.

use llmtap::capture::Event;
use tracer_common::counter::Counter;

use super::{
    MODES,
    lab::{compile, lab},
};

/// In the middle of a write of the program.
const UNTIL: u64 = 2_505_000;

#[test]
fn what_nobody_reads_is_not_copied_and_counted_and_the_rest_is_exact() {
    let Some(lab) = lab() else { return };
    let program = lab.program().with_file_name("unread");
    compile("unread.c", ["-rdynamic"], &program).unwrap();
    for mode in MODES {
        let run = lab.run_unread(mode, &program, UNTIL);
        assert!(run.status.is_some_and(|status| status.success()), "{mode:?}");
        let told: Vec<u8> = run.told().into_values().flatten().collect();
        assert_eq!(told.len(), 3_000_000);
        let (mut at, mut unread) = (0, Vec::new());
        for event in &run.events {
            match event {
                Event::Data { offset, bytes, .. } => {
                    assert_eq!(*offset, at, "{mode:?}");
                    let place = usize::try_from(at).unwrap();
                    assert!(told[place..place + bytes.len()] == **bytes, "{mode:?}: other bytes at {at}");
                    at += bytes.len() as u64;
                }
                Event::Unread { offset, bytes, .. } => {
                    assert_eq!(*offset, at, "{mode:?}");
                    unread.push((at, *bytes));
                    at += bytes;
                }
                Event::Gap { offset, lost, .. } => panic!("{mode:?}: {lost} bytes are lost at {offset}"),
                Event::Process { .. } | Event::Open { .. } | Event::Close { .. } => {}
            }
        }
        assert_eq!(at, 3_000_000, "{mode:?}");
        let [(begin, bytes)] = unread[..] else { panic!("{mode:?}: {unread:?}") };
        // It was said early on, and shows at the next multiple of 16 KiB.
        assert!(begin < 1_000_000, "{mode:?}: {begin}");
        assert_eq!(begin + bytes, UNTIL, "{mode:?}");
        for (counter, value) in run.counters.iter() {
            let wanted = if counter == Counter::Unread { bytes } else { 0 };
            assert_eq!(value, wanted, "{mode:?}: {}", counter.name());
        }
    }
}
