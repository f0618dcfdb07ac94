//! These tests hold rustls themselves, with symbols: what is found in their own executable is compared with them. Many
//! builds are compared by `cargo run --example locate`.

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

use super::*;
use crate::capture::locate;

fn own_executable() -> Vec<u8> {
    std::fs::read("/proc/self/exe").unwrap()
}

/// The mangled name of the function that holds the place in the file.
fn function(file: &object::File<'_>, offset: u64) -> Option<String> {
    let address = file.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        (start..start + size).contains(&offset).then(|| segment.address() + (offset - start))
    })?;
    let holds =
        |symbol: &object::Symbol<'_, '_>| (symbol.address()..symbol.address() + symbol.size()).contains(&address);
    Some(file.symbols().find(holds)?.name().ok()?.to_owned())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn records_are_found_in_a_program_with_rustls() {
    let bytes = own_executable();
    let hooks = locate::locate(&bytes).unwrap();
    assert!(hooks.library.starts_with("rustls 0.23."), "{}", hooks.library);
    let file = object::File::parse(&*bytes).unwrap();
    let (mut sealed, mut opened) = (0, 0);
    for probe in &hooks.probes {
        let function = function(&file, probe.offset).unwrap();
        assert!(function.contains("6rustls"), "{probe:x?} in {function}");
        match probe.program {
            Program::RecordSealed(_) => sealed += 1,
            Program::RecordOpened(_) => opened += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(sealed > 0 && opened > 0, "{hooks:x?}");
}

/// What the compiler has made of one direction may be unknown: the other one is hooked all the same.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_direction_that_is_missed_leaves_the_other() {
    const ONE_BYTE_NOP: u8 = 0x90;
    const AROUND: usize = 256;
    let sound = own_executable();
    let probes = locate::locate(&sound).unwrap().probes;
    let is_sealed = |probe: &&Probe| matches!(probe.program, Program::RecordSealed(_));
    for missed in [true, false] {
        let mut bytes = sound.clone();
        for probe in probes.iter().filter(|probe| is_sealed(probe) == missed) {
            let at = usize::try_from(probe.offset).unwrap();
            let around = if missed { at..at + AROUND } else { at - AROUND..at };
            bytes[around].fill(ONE_BYTE_NOP);
        }
        let Ok(hooks) = Rustls.hooks(&Elf::parse(&bytes).unwrap()).unwrap() else { panic!("nothing is left") };
        assert!(!hooks.probes.is_empty() && hooks.probes.iter().all(|probe| is_sealed(&probe) != missed), "{missed}");
    }
}

/// The own executable, where panics name another release.
fn renamed(release: &[u8; 12]) -> Vec<u8> {
    let mut bytes = own_executable();
    let finder = memchr::memmem::Finder::new(b"rustls-0.23.");
    let mut from = 0;
    while let Some(at) = finder.find(&bytes[from..]) {
        bytes[from + at..from + at + 12].copy_from_slice(release);
        from += at + 12;
    }
    bytes
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_with_an_unknown_rustls_alone_is_told_so() {
    for release in [b"rustls-0.19.", b"rustls-0.77."] {
        assert_eq!(Rustls.hooks(&Elf::parse(&renamed(release)).unwrap()), Some(Err(Reason::OldRustls)));
    }
}

/// The calls are the same, the messages are not.
#[test]
#[cfg(target_arch = "x86_64")]
fn messages_of_an_older_rustls_are_read_in_its_form() {
    let form = |bytes: &[u8]| {
        let hooks = Rustls.hooks(&Elf::parse(bytes).unwrap()).unwrap().unwrap();
        let mut forms: Vec<MessageForm> =
            hooks.probes.iter().filter_map(|probe| Some(probe.program.record()?.form)).collect();
        forms.dedup();
        forms
    };
    assert_eq!(form(&own_executable()), [MessageForm::Slices]);
    for release in [b"rustls-0.20.", b"rustls-0.21.", b"rustls-0.22."] {
        assert_eq!(form(&renamed(release)), [MessageForm::Buffer]);
    }
}
