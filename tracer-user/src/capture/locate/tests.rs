//! Sites in small libraries that are compiled on the spot, and hostile files.
//!
//! The truth is the symbol table that the compiler leaves for the `static` functions: [`locate`] gets the library
//! without it.

mod go;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
use proptest::prelude::*;

use super::*;

const PIC: &[&str] = &["-shared", "-fPIC"];

struct Library {
    /// What the compiler made, and the same without `.symtab`.
    full: Vec<u8>,
    stripped: Vec<u8>,
}

/// Compiles `source`, next to this file; `None` without a C compiler that takes `flags`.
fn compile(source: &str, flags: &[&str]) -> Option<Library> {
    let dir = tempfile::tempdir().ok()?;
    let [full, stripped]: [PathBuf; 2] = ["full", "stripped"].map(|name| dir.path().join(name));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/capture/locate/tests").join(source);
    let quiet = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = quiet(Command::new("cc").args(flags).arg("-o").arg(&full).arg(source))
        && quiet(Command::new("strip").arg("-o").arg(&stripped).arg(&full));
    made.then(|| Library { full: std::fs::read(&full).unwrap(), stripped: std::fs::read(&stripped).unwrap() })
}

impl Library {
    /// The file offsets that the function takes up.
    fn range(&self, name: &str) -> Option<std::ops::Range<u64>> {
        let file = object::File::parse(&*self.full).unwrap();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
        let segment =
            file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&symbol.address())).unwrap();
        let start = segment.file_range().0 + (symbol.address() - segment.address());
        Some(start..start + symbol.size())
    }

    fn bytes(&self, offset: u64) -> &[u8] {
        &self.full[usize::try_from(offset).unwrap()..]
    }

    fn check_site(&self, name: &str, site: &Site) {
        let range = self.range(name).unwrap();
        assert!(range.contains(&site.offset), "{name} is {range:x?}: {site:x?}");
        if let Some(emulated) = site.emulated {
            self.check_emulated(site.offset, emulated);
        } else {
            assert_eq!(site.offset, range.start);
        }
    }

    fn check_emulated(&self, offset: u64, emulated: Emulated) {
        let right = matches!(
            (emulated, self.bytes(offset)),
            (Emulated::Push, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..])
                | (Emulated::ConditionalJump, [0x70..=0x7f, ..] | [0x0f, 0x80..=0x8f, ..])
                | (Emulated::Jump, [0xeb | 0xe9, ..])
                | (Emulated::Nop, [0x90, ..])
        );
        assert!(right, "{emulated:?} at {offset:x}: {:x?}", &self.bytes(offset)[..8]);
    }
}

/// Compiles or says why not.
macro_rules! library {
    ($source:expr, $flags:expr) => {{
        let flags: Vec<&str> = $flags;
        match compile($source, &flags) {
            Some(library) => library,
            None => {
                println!("skipped: no C compiler that takes {flags:?}");
                return;
            }
        }
    }};
}

fn check(library: &Library, what: &str) {
    let hooks = locate(&library.stripped).unwrap();
    let method = hooks.method.unwrap_or_else(|| panic!("{what}: the table was not proven"));
    library.check_site("slot_read", &method.read);
    library.check_site("slot_write", &method.write);
    assert!(method.read.registers[..4].iter().all(Option::is_some));
    assert!(method.read.registers[4..].iter().all(Option::is_none));
    let inside = [library.range("slot_read"), library.range("read_any")];
    for one in &method.read_returns {
        assert!(inside.iter().flatten().any(|range| range.contains(&one.offset)), "{what}: {one:x?}");
        library.check_emulated(one.offset, one.emulated);
    }
    for entry in &hooks.exported {
        let name = match entry.function {
            Function::Read => "SSL_read",
            Function::ReadEx => "SSL_read_ex",
            Function::Write => "SSL_write",
            Function::WriteEx => "SSL_write_ex",
            Function::WriteEx2 => "SSL_write_ex2",
            Function::ReceiveRecord => "receive",
            Function::SendRecord => "send",
        };
        library.check_site(name, &entry.site);
    }
    library.check_site("SSL_free", &hooks.free.unwrap());
}

#[test]
fn the_table_is_found_however_it_is_compiled() {
    let mut compiled = 0;
    for optimisation in ["-O0", "-Og", "-O1", "-O2", "-O3", "-Os"] {
        for slots in ["-DSLOTS=7", "-DSLOTS=10"] {
            for extra in [
                &[][..],
                &["-fcf-protection=full"],
                &["-fno-omit-frame-pointer"],
                &["-fstack-protector-strong"],
                &["-fno-plt", "-fno-inline"],
                &["-Wl,-z,pack-relative-relocs"],
                &["-DGLOBAL"],
            ] {
                let flags: Vec<&str> = [PIC, &[optimisation, slots], extra].concat();
                if let Some(library) = compile("table.c", &flags) {
                    check(&library, &format!("{flags:?}"));
                    compiled += 1;
                }
            }
        }
    }
    if compiled == 0 {
        println!("skipped: no C compiler");
    }
    println!("{compiled} builds");
}

#[test]
fn a_fixed_executable_needs_no_relocations() {
    let library = library!("table.c", vec!["-O2", "-fno-pie", "-no-pie", "-DMAIN", "-Wl,--export-dynamic"]);
    check(&library, "fixed");
}

/// Programs and libraries that name nothing, as they carry OpenSSL in themselves.
const UNNAMED: [&[&str]; 4] = [
    &["-shared", "-fPIC", "-fvisibility=hidden"],
    &["-fPIE", "-pie", "-DMAIN"],
    &["-fPIE", "-static-pie", "-nostartfiles", "-DMAIN", "-Wl,-e,main"],
    &["-fno-pie", "-no-pie", "-DMAIN"],
];

#[test]
fn the_table_is_found_without_symbols() {
    let (mut compiled, mut seen) = (0, 0);
    for kind in UNNAMED {
        for level in ["-O1", "-O2", "-O3", "-Os"] {
            for slots in ["-DSLOTS=7", "-DSLOTS=10"] {
                let flags = [kind, &[level, slots, "-DNAMED"]].concat();
                let Some(library) = compile("table.c", &flags) else { continue };
                let hooks = locate(&library.stripped).unwrap_or_else(|reason| panic!("{flags:?}: {reason}"));
                assert_eq!(hooks.library, "openssl");
                assert!(hooks.exported.is_empty());
                // Where writes end: in the function itself, or in the one that it leaves by a call of.
                let returns = hooks.stripped.unwrap().returns.unwrap_or_default();
                let inside = ["slot_write", "write_bytes"].map(|name| library.range(name));
                for offset in &returns {
                    assert!(inside.iter().flatten().any(|range| range.contains(offset)), "{flags:?}: {offset:x}");
                    assert_eq!(library.bytes(*offset)[0], 0xc3, "{flags:?}: {offset:x}");
                }
                let method = hooks.method.unwrap();
                // Reads are never seen by return instructions: without their own places there are none of writes.
                let is_told =
                    |name: &str| returns.iter().any(|at| library.range(name).is_some_and(|is| is.contains(at)));
                let ends = if *level == *"-O1" { "slot_write" } else { "write_bytes" };
                assert_eq!(is_told(ends), !method.read_returns.is_empty(), "{flags:?}: {returns:x?}");
                seen += usize::from(is_told(ends));
                for (name, site) in [
                    ("slot_read", method.read),
                    ("slot_write", method.write),
                    ("slot_free", hooks.free.unwrap()),
                    ("slot_clear", hooks.clear.unwrap()),
                    ("slot_shutdown", hooks.shutdown.unwrap()),
                    ("slot_ctrl", hooks.ctrl.unwrap()),
                ] {
                    library.check_site(name, &site);
                }
                compiled += 1;
            }
        }
    }
    assert!(compiled == 0 || seen > compiled / 2, "the ends of writes are known in {seen} of {compiled} builds");
    println!("{compiled} builds, {seen} with the ends of writes");
}

/// Real builds, of which nothing but the table is looked at: `cargo xtask fixture` fetches them. Node.js names its inner
/// functions.
#[test]
fn writes_end_where_the_inner_function_returns() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures");
    let suites = ["bullseye", "bookworm", "trixie", "sid"];
    let library = |suite: &str, number: &str| format!("libssl-{suite}/usr/lib/x86_64-linux-gnu/libssl.so.{number}");
    let libraries = suites.iter().flat_map(|suite| ["1.1", "3"].map(|number| library(suite, number)));
    let nodes = [20, 22, 24, 26].map(|release| format!("node-{release}/bin/node"));
    let mut read = 0;
    for name in libraries.chain(nodes) {
        let Ok(bytes) = std::fs::read(fixtures.join(&name)) else { continue };
        let hooks = tables::StrippedOpenSsl.hooks(&elf::Elf::parse(&bytes).unwrap()).unwrap().unwrap();
        let returns = hooks.stripped.unwrap().returns.unwrap_or_else(|| panic!("{name}: no returns"));
        let build = Library { full: bytes, stripped: Vec::new() };
        let inside = ["ssl3_write", "ssl3_write_bytes"].map(|name| build.range(name));
        for offset in &returns {
            assert!(matches!(build.bytes(*offset), [0xc3, ..] | [0xf3, 0xc3, ..]), "{name}: {offset:x}");
        }
        if let [Some(outer), Some(inner)] = inside {
            let all = [outer, inner].into_iter().flat_map(|range| {
                let code = build.bytes(range.start)[..usize::try_from(range.end - range.start).unwrap()].to_vec();
                let instructions: Vec<_> =
                    iced_x86::Decoder::with_ip(64, &code, range.start, iced_x86::DecoderOptions::NONE).iter().collect();
                let is_return = |one: &iced_x86::Instruction| one.flow_control() == iced_x86::FlowControl::Return;
                instructions.into_iter().filter(is_return).map(|one| one.ip())
            });
            let mut all: Vec<u64> = all.collect();
            all.sort_unstable();
            assert_eq!(returns, all, "{name}");
        }
        println!("{name}: {} returns", returns.len());
        read += 1;
    }
    if read == 0 {
        println!("skipped: no target/fixtures; `cargo xtask fixture` fetches them");
    }
}

#[test]
fn a_table_is_none_without_the_librarys_name_or_beside_another() {
    for kind in UNNAMED {
        let library = library!("table.c", [kind, &["-O2"]].concat());
        assert_eq!(locate(&library.stripped), Err(Reason::NotTls), "{kind:?}");
        let library = library!("table.c", [kind, &["-O2", "-DNAMED", "-DSECOND"]].concat());
        assert_eq!(locate(&library.stripped), Err(Reason::StrippedOpenSsl), "{kind:?}");
        let library = library!("table.c", [kind, &["-O2", "-DNAMED", "-DPEEK=0", "-fno-ipa-icf"]].concat());
        assert_eq!(locate(&library.stripped), Err(Reason::StrippedOpenSsl), "{kind:?}");
    }
}

#[test]
fn reads_are_seen_after_the_inner_call_in_optimised_builds() {
    for slots in ["-DSLOTS=7", "-DSLOTS=10"] {
        let library = library!("table.c", [PIC, &["-O2", slots]].concat());
        let method = locate(&library.stripped).unwrap().method.unwrap();
        let [first, second] = &method.read_returns[..] else { panic!("{:x?}", method.read_returns) };
        assert_eq!(first.emulated, Emulated::ConditionalJump, "the test for -1");
        assert_ne!(first.offset, second.offset);
        let distinct: std::collections::HashSet<_> =
            [first.ssl, first.buf, first.len, first.done].map(Register::pt_regs_offset).into();
        assert_eq!(distinct.len(), 4, "{first:x?}");
    }
}

#[test]
fn releases_that_pass_no_count_are_hooked_at_their_exports() {
    let library = library!("table.c", [PIC, &["-O2", "-DNO_COUNT"]].concat());
    let hooks = locate(&library.stripped).unwrap();
    assert_eq!(hooks.method, None);
    assert!(hooks.exported.len() >= 4);
}

#[test]
fn a_neighbour_that_does_not_peek_proves_nothing() {
    let library = library!("table.c", [PIC, &["-O2", "-DPEEK=0", "-fno-ipa-icf"]].concat());
    assert_eq!(locate(&library.stripped).unwrap().method, None);
}

#[test]
fn a_call_that_passes_two_exports_is_hooked_once() {
    // Through the procedure linkage table, as in Debian's 3.5 and 3.6.
    let library = library!("table.c", [PIC, &["-O2", "-fno-inline"]].concat());
    let functions: Vec<_> = locate(&library.stripped).unwrap().exported.iter().map(|entry| entry.function).collect();
    assert_eq!(functions, [Function::Read, Function::ReadEx, Function::Write, Function::WriteEx2]);
    // Inlined, both are ways of their own.
    let library = library!("table.c", [PIC, &["-O2", "-fno-semantic-interposition"]].concat());
    let functions: Vec<_> = locate(&library.stripped).unwrap().exported.iter().map(|entry| entry.function).collect();
    assert_eq!(functions.len(), 5, "{functions:?}");
}

/// As an emulator maps it on this machine, or another machine's image on a shared disk.
#[test]
fn a_library_for_another_instruction_set_is_not_hooked() {
    let library = library!("table.c", PIC.to_vec());
    assert!(locate(&library.stripped).is_ok());
    let mut foreign = library.stripped;
    // `e_machine` becomes EM_AARCH64 (183).
    foreign[18] = 183;
    assert_eq!(locate(&foreign), Err(Reason::Architecture));
}

#[test]
fn what_cannot_be_hooked_has_a_reason() {
    assert_eq!(locate(b"#!/bin/sh\n"), Err(Reason::NotElf));
    assert_eq!(locate(b"\x7fELF"), Err(Reason::Architecture));
    assert_eq!(locate(b"\x7fELF\x02\x01\x01"), Err(Reason::Malformed));
    assert_eq!(locate(b"\x7fELF\x01\x01\x01"), Err(Reason::Architecture));
    for (text, use_of_it, reason) in [
        ("../../vendor/boringssl/ssl/ssl_lib.cc", "-DREPORTED=16", Reason::StrippedBoringSsl),
        ("../ssl/ssl_lib.c", "-DREPORTED=20", Reason::StrippedOpenSsl),
        ("/registry/src/rustls-0.23.1/src/conn.rs", "-DPANICS", Reason::Rustls),
        ("/registry/src/rustls-0.21.12/src/conn.rs", "-DPANICS", Reason::Rustls),
        ("/registry/src/rustls-0.19.1/src/session.rs", "-DPANICS", Reason::OldRustls),
        ("external/crates__rtc-dtls-0.20.3/src/conn/mod.rs", "-DPANICS", Reason::WebRtc),
    ] {
        let text = format!("-DTEXT=\"{text}\"");
        for level in ["-O0", "-O2", "-Os"] {
            let library = library!("text.c", [PIC, &[&text, use_of_it, level]].concat());
            assert_eq!(locate(&library.stripped), Err(reason), "{text} {level}");
        }
    }
}

/// What is said by which a library is known, as a program that looks for libraries has it, llmtap among them.
#[test]
fn a_text_alone_is_no_library() {
    for text in [
        "hello",
        "../../vendor/boringssl/ssl/ssl_lib.cc",
        "/registry/src/aws-lc-sys-0.30.0/aws-lc/ssl/ssl_lib.cc",
        "../ssl/ssl_lib.c",
        "/registry/src/rustls-0.23.1/src/conn.rs",
        "/registry/src/rustls-0.19.1/src/session.rs",
    ] {
        let text = format!("-DTEXT=\"{text}\"");
        let library = library!("text.c", [PIC, &[&text]].concat());
        assert_eq!(locate(&library.stripped), Err(Reason::NotTls), "{text}");
    }
    // A program that only checks certificates with it.
    for file in ["lib.rs", "webpki/verify.rs", "crypto/ring/sign.rs"] {
        let text = format!("-DTEXT=\"/registry/src/rustls-0.23.1/src/{file}\"");
        let library = library!("text.c", [PIC, &[&text, "-DPANICS"]].concat());
        assert_eq!(locate(&library.stripped), Err(Reason::NotTls), "{text}");
    }
}

#[test]
fn what_is_not_hooked_is_told_by_what_it_exports() {
    for (name, reason) in
        [("SSL_ImportFD", Reason::Nss), ("JNI_CreateJavaVM", Reason::Java), ("driver_output_term", Reason::Otp)]
    {
        let name = format!("-DNAME={name}");
        let library = library!("name.c", [PIC, &[&name]].concat());
        assert_eq!(locate(&library.stripped), Err(reason));
        assert!(reason.is_tls() && reason.fix().is_some());
    }
}

#[test]
fn the_inner_functions_of_gnutls_are_found() {
    for level in ["-O2", "-O3", "-Os"] {
        let library = library!("gnutls.c", [PIC, &[level]].concat());
        let hooks = locate(&library.stripped).unwrap();
        let functions: Vec<Function> = hooks.exported.iter().map(|entry| entry.function).collect();
        assert_eq!(functions, [Function::ReceiveRecord, Function::SendRecord], "{level}");
        library.check_site("receive", &hooks.exported[0].site);
        library.check_site("send", &hooks.exported[1].site);
        assert_eq!(hooks.exported[0].site.registers[..4].iter().flatten().count(), 4);
        assert_eq!(hooks.exported[1].site.registers.iter().flatten().count(), 6);
        library.check_site("gnutls_bye", &hooks.shutdown.unwrap());
        assert_eq!(hooks.library, "gnutls 3.9.1", "{level}");
    }
    // A function that receives something else is not the one.
    let library = library!("gnutls.c", [PIC, &["-O2", "-DTYPE=ALERT"]].concat());
    assert_eq!(locate(&library.stripped), Err(Reason::GnuTls));
}

/// A library to break: small, with everything in it that is looked at.
fn sound() -> &'static [u8] {
    static SOUND: OnceLock<Vec<u8>> = OnceLock::new();
    SOUND.get_or_init(|| compile("table.c", &[PIC, &["-O2"]].concat()).map_or_else(Vec::new, |library| library.full))
}

fn quick(data: &[u8]) {
    let start = Instant::now();
    fuzz(data);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?} for {} bytes", start.elapsed(), data.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn broken_files_are_refused_in_peace(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..24),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut data = sound().to_vec();
        if !data.is_empty() {
            for (index, early, byte) in changes {
                // Half of the changes hit the headers, the symbols and the dynamic section at the start.
                let end = if early { data.len().min(0x600) } else { data.len() };
                data[index.index(end)] = byte;
            }
            if let Some(cut) = cut {
                data.truncate(cut.index(data.len()));
            }
        }
        quick(&data);
    }

    #[test]
    fn any_code_is_read_in_peace(code in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut data = sound().to_vec();
        if let Ok(hooks) = locate(&data) {
            let start = usize::try_from(hooks.exported[0].site.offset).unwrap_or(0).saturating_sub(0x100);
            let end = (start + code.len()).min(data.len());
            data[start..end].copy_from_slice(&code[..end - start]);
        }
        quick(&data);
    }
}

/// The functions that were not found. A wrong one is the end of the test.
fn missed(library: &Library, what: &str) -> Vec<&'static str> {
    let hooks = locate(&library.stripped).unwrap_or_else(|reason| panic!("{what}: {reason}"));
    assert_eq!(hooks.library, "boringssl");
    let exported = |function| hooks.exported.iter().find(|entry| entry.function == function).map(|entry| entry.site);
    let mut missed = Vec::new();
    for (name, site) in [
        ("SSL_read", exported(Function::Read)),
        ("SSL_write", exported(Function::Write)),
        ("SSL_free", hooks.free),
        ("SSL_shutdown", hooks.shutdown),
        ("SSL_set_tlsext_host_name", hooks.host_name),
    ] {
        match site {
            Some(site) => library.check_site(name, &site),
            None => missed.push(name),
        }
    }
    let returns = hooks.stripped.and_then(|stripped| stripped.returns).unwrap_or_default();
    assert!(returns.len() >= 2, "{what}: {returns:x?}");
    let inside = ["SSL_read", "SSL_write"].map(|name| library.range(name).unwrap());
    for offset in returns {
        assert!(inside.iter().any(|range| range.contains(&offset)), "{what}: {offset:x}");
        assert_eq!(library.bytes(offset)[0], 0xc3, "{what}: {offset:x}");
    }
    missed
}

#[test]
fn functions_without_symbols_are_found_by_what_they_do() {
    const KINDS: [&[&str]; 3] = [
        &["-shared", "-fPIC", "-fvisibility=hidden"],
        &["-static", "-nostdlib", "-no-pie", "-fno-pic", "-Wl,-e,talk", "-Wl,--unresolved-symbols=ignore-all"],
        &["-pie", "-fPIE", "-nostdlib", "-Wl,-e,talk", "-Wl,--unresolved-symbols=ignore-all"],
    ];
    for kind in KINDS {
        for unwinding in ["-fasynchronous-unwind-tables", "-fno-asynchronous-unwind-tables"] {
            for (level, peek) in [("-O1", "-DSEPARATE_PEEK"), ("-O2", "-DSEPARATE_PEEK"), ("-O2", "-g"), ("-O3", "-g")]
            {
                let flags = [kind, &[level, unwinding, peek]].concat();
                let library = library!("reports.c", flags.clone());
                let missed = missed(&library, &format!("{flags:?}"));
                // There, without a table, nothing tells where a function that makes no frame begins.
                let excused: &[&str] = if level == "-O1" { &["SSL_free"] } else { &[] };
                assert!(missed.iter().all(|name| excused.contains(name)), "{flags:?}: {missed:?}");
            }
        }
    }
}
