//! Go's functions and its table, in the forms that its compilers give them.

use memchr::memmem;

use super::*;

/// Position-independent and not, with either form of the table.
const FORMS: [&[&str]; 4] =
    [&["-no-pie", "-fno-pic"], &["-no-pie", "-fno-pic", "-DGO117"], &["-pie", "-fPIE"], &["-pie", "-fPIE", "-DGO117"]];

fn build(flags: &[&str]) -> Option<Library> {
    compile("go.c", &[flags, &["-O1"]].concat())
}

/// Where a label stands in the file.
fn label(library: &Library, name: &str) -> u64 {
    let file = object::File::parse(&*library.full).unwrap();
    let address = file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address();
    let segment = file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&address)).unwrap();
    segment.file_range().0 + (address - segment.address())
}

#[test]
fn sites_of_go_stand_where_the_kernel_emulates() {
    for form in FORMS {
        let Some(library) = build(form) else { return println!("skipped: no C compiler") };
        let hooks = locate(&library.stripped).unwrap_or_else(|reason| panic!("{form:?}: {reason}"));
        assert_eq!(hooks.library, "go 1.99.1");
        assert!(hooks.are_inner());
        for (program, start, end) in [
            (Program::GoRead, "read_", "write_"),
            (Program::GoWrite, "record_", "close_"),
            (Program::GoClose, "close_", "handshake_"),
            (Program::GoHandshake, "handshake_", "more_stack"),
        ] {
            let found: Vec<_> = hooks.probes.iter().filter(|probe| probe.program == program).collect();
            let [probe] = found[..] else { panic!("{form:?}: {program:?} {found:?}") };
            assert!((label(&library, start)..label(&library, end)).contains(&probe.offset), "{form:?}: {program:?}");
            library.check_emulated(probe.offset, Emulated::ConditionalJump);
        }
    }
}

#[test]
fn without_such_a_jump_all_returns_serve() {
    let Some(library) = build(&["-DNO_JUMP"]) else { return println!("skipped: no C compiler") };
    let hooks = locate(&library.stripped).unwrap();
    let returns: Vec<u64> =
        hooks.probes.iter().filter(|probe| probe.program == Program::GoRead).map(|probe| probe.offset).collect();
    assert_eq!(returns.len(), 2);
    for offset in returns {
        assert!((label(&library, "read_")..label(&library, "write_")).contains(&offset));
        assert_eq!(library.bytes(offset)[0], 0xc3);
    }
}

#[test]
fn other_forms_of_go_are_refused() {
    const LIMIT: &[u8] = &[0x49, 0x3b, 0x66, 0x10];
    const KEEPS_BUFFER: &[u8] = &[0x48, 0x89, 0x5c, 0x24, 0x38];
    for (flags, what, to, reason) in [
        (FORMS[0], &[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8][..], &[0xfb][..], Reason::OldGo),
        (FORMS[0], &[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], &[0xf2], Reason::Go),
        // The limit by another register: before 1.17 it was not r14.
        (FORMS[0], LIMIT, &[0x49, 0x3b, 0x67], Reason::Go),
        (FORMS[1], LIMIT, &[0x49, 0x3b, 0x67], Reason::OldGo),
        // The buffer is kept elsewhere, or its place above the return address written to again.
        (FORMS[0], KEEPS_BUFFER, &[0x48, 0x89, 0x5c, 0x24, 0x10], Reason::Go),
        (FORMS[0], &[0x48, 0xc7, 0x44, 0x24, 0x08], &[0x48, 0xc7, 0x44, 0x24, 0x38], Reason::Go),
        // `Write` writes records of another type.
        (FORMS[0], &[0xbb, 0x17], &[0xbb, 0x15], Reason::Go),
        (FORMS[0], b"crypto/tls.(*Conn).clientHandshake-fm", b"C", Reason::NotTls),
    ] {
        let Some(library) = build(flags) else { return println!("skipped: no C compiler") };
        let mut file = library.stripped;
        let at = memmem::find(&file, what).unwrap();
        file[at..at + to.len()].copy_from_slice(to);
        assert_eq!(locate(&file), Err(reason), "{what:x?} as {to:x?}");
    }
}

fn sound(form: usize) -> &'static [u8] {
    static SOUND: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let make = || FORMS.iter().map(|form| build(form).map_or_else(Vec::new, |library| library.full)).collect();
    &SOUND.get_or_init(make)[form]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn broken_go_programs_are_refused_in_peace(
        form in 0..FORMS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<u8>()), 1..12),
    ) {
        let mut data = sound(form).to_vec();
        if let (Some(table), Some(code)) = (memmem::find(&data, &[0xff, 0, 0, 1, 8]), memmem::find(&data, &[0x49, 0x3b])) {
            for (index, part, byte) in changes {
                // The table, the functions, or anything.
                let (start, length) = match part {
                    0 => (table.saturating_sub(3), 0x300),
                    1 => (code, 0x200),
                    _ => (0, data.len()),
                };
                let at = start + index.index(length);
                if let Some(place) = data.get_mut(at) {
                    *place = byte;
                }
            }
        }
        quick(&data);
    }
}
