//! Whom hooks stop, as targets come and rest.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::fs::FileExt as _,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use llmtap::capture::{Options, Tracer, program::AttachMode, target::Names};

use super::{
    byte_at,
    lab::{Library, lab},
};

/// A tracer whose targets rest soon, where that is possible.
fn restful() -> Option<Tracer> {
    let rest = Some(Duration::from_millis(300));
    let mut tracer = Tracer::load(&Options { rest, ..Options::default() }).unwrap();
    if tracer.attach_mode() != AttachMode::Session {
        println!("skipped: needs Linux 6.13");
        return None;
    }
    if let Err(error) = tracer.hold_programs(&Names::default()) {
        println!("skipped: programs cannot be held here: {error}");
        return None;
    }
    Some(tracer)
}

fn forked_at_rest(tracer: &Tracer) -> u64 {
    tracer.unwatched().iter().find_map(|(reason, count)| (*reason == "forked_at_rest").then_some(*count)).unwrap()
}

#[test]
fn a_child_that_is_forked_at_rest_is_counted() {
    let Some(lab) = lab() else { return };
    let Some(mut tracer) = restful() else { return };
    // A copy that no other tracer on this machine probes.
    let library = lab.library();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&library, folder.path().join(library.file_name().unwrap())).unwrap();
    let command: [&OsStr; 2] = [lab.program().as_ref(), "tick-fork".as_ref()];
    let run = lab.run_with(&mut tracer, &command, Some(folder.path()));
    assert!(run.status.is_some_and(|status| status.success()));
    assert!(run.captured_bytes() <= run.told_bytes(), "bytes that nobody sent");
    assert_eq!(forked_at_rest(&tracer), 1);
}

#[test]
fn targets_at_rest_are_stopped_alone_and_nothing_is_missed() {
    let Some(lab) = lab() else { return };
    let library = lab.hooked();
    let Some(mut tracer) = restful() else { return };
    // A copy that no other tracer on this machine probes.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().canonicalize().unwrap().join(library.path.file_name().unwrap());
    std::fs::copy(&library.path, &copy).unwrap();
    let library = Library { path: copy, site: library.site };
    // Not traced; it uses the same library.
    let mut idle = lab.command("idle");
    let mut other = idle.env("LD_LIBRARY_PATH", folder.path()).stdout(Stdio::null()).spawn().unwrap();
    let mut clean = [0];
    File::open(&library.path).unwrap().read_exact_at(&mut clean, library.site).unwrap();
    let over = AtomicBool::new(false);
    // The second program begins when the first has long been stopped alone.
    let command: [&OsStr; 4] =
        ["sh".as_ref(), "-c".as_ref(), r#""$0" tick; "$0" one"#.as_ref(), lab.program().as_ref()];
    let (run, states) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut states: Vec<bool> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                if let Some(byte) = byte_at(other.id(), &library) {
                    states.push(byte != clean[0]);
                }
                thread::sleep(Duration::from_millis(5));
            }
            states.dedup();
            states
        });
        let run = lab.run_with(&mut tracer, &command, Some(folder.path()));
        over.store(true, Ordering::Relaxed);
        (run, sampler.join().unwrap())
    });
    other.kill().unwrap();
    other.wait().unwrap();
    run.assert_exact();
    assert_eq!(run.captured_bytes(), run.told_bytes(), "bytes that nobody sent");
    // The shell's child executed the program.
    assert_eq!(forked_at_rest(&tracer), 0);
    let begin = states.iter().position(|hooked| *hooked).expect("the library was never hooked");
    assert!(states[begin..].starts_with(&[true, false, true]), "whether the other process was stopped: {states:?}");
}
