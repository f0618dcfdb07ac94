//! Hook sites in real libraries: Debian's libssl and GnuTLS of four releases and the official Node.js of four.
//!
//! `cargo xtask fixture libssl` fetches them into `target/fixtures`. The truth is of two kinds: the symbols of the
//! internal functions where the file has them (Node.js), and sites that were checked by hand against a disassembly, for
//! the builds whose build ID is known here. Both are on top of what holds for every build.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at its first failure")]

use std::{
    collections::HashSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use llmtap::capture::locate::{Emulated, Function, Hooks, Method, Peek, Register, Site, locate, version};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

/// A build whose sites were read in its disassembly.
struct Known {
    /// The first bytes of the build ID.
    build: [u8; 4],
    version: &'static str,
    read: u64,
    write: u64,
    read_returns: [u64; 2],
    /// Which register holds the fourth argument of `ssl_read` at its site.
    done: Register,
}

const KNOWN: [Known; 8] = [
    Known {
        build: [0x9e, 0xf1, 0x8f, 0x79],
        version: "1.1.1w",
        read: 0x2d745,
        write: 0x2d5d0,
        read_returns: [0x2d6b1, 0x2d71a],
        done: Register::R8,
    },
    Known {
        build: [0xaa, 0x0e, 0xee, 0xe4],
        version: "3.0.20",
        read: 0x297a5,
        write: 0x29650,
        read_returns: [0x29713, 0x2978a],
        done: Register::R8,
    },
    Known {
        build: [0xd4, 0x16, 0xf7, 0xe2],
        version: "3.5.7",
        read: 0x2effa,
        write: 0x2ee27,
        read_returns: [0x2ef36, 0x2efad],
        done: Register::Rcx,
    },
    Known {
        build: [0x2c, 0xb7, 0xed, 0x1f],
        version: "3.6.5",
        read: 0x2ef77,
        write: 0x2edc7,
        read_returns: [0x2eeb5, 0x2ef2c],
        done: Register::Rcx,
    },
    Known {
        build: [0xeb, 0xea, 0xf2, 0xdf],
        version: "3.0.19",
        read: 0x165_c2a0,
        write: 0x165_c1e0,
        read_returns: [0x165_c30a, 0x165_c37b],
        done: Register::Rcx,
    },
    Known {
        build: [0xa9, 0xb4, 0x2b, 0xa4],
        version: "3.5.8",
        read: 0x1b3_8ec3,
        write: 0x1b3_8dc3,
        read_returns: [0x1b3_8f41, 0x1b3_8fae],
        done: Register::Rcx,
    },
    Known {
        build: [0xbd, 0x05, 0xd6, 0x40],
        version: "3.5.8",
        read: 0x183_2b43,
        write: 0x183_2a53,
        read_returns: [0x183_2bbd, 0x183_2c2b],
        done: Register::Rcx,
    },
    Known {
        build: [0x93, 0x2b, 0xe8, 0x57],
        version: "3.5.8",
        read: 0x184_29d0,
        write: 0x184_2853,
        read_returns: [0x184_2ab2, 0x184_2afb],
        done: Register::Rcx,
    },
];

#[test]
fn every_fetched_build_has_sites_that_hold() {
    let builds = builds();
    if builds.is_empty() {
        println!("skipped: no target/fixtures; `cargo xtask fixture libssl` fetches them");
        return;
    }
    for path in builds {
        let file = fs::read(&path).unwrap();
        let start = Instant::now();
        let hooks = locate(&file).unwrap_or_else(|reason| panic!("{} {reason}", path.display()));
        let took = start.elapsed();
        let method = hooks.method.as_ref().unwrap_or_else(|| panic!("{}: table not proven", path.display()));
        let named = check_symbols(&file, method);
        check_bytes(&file, &hooks, method);
        let known = check_known(&file, &path, &hooks, method);
        println!(
            "{}: {} in {took:?}{}{}",
            path.display(),
            hooks.library,
            if named { ", as its symbols say" } else { "" },
            if known { ", as checked by hand" } else { "" },
        );
        assert!(known || named || path.to_string_lossy().contains("libssl"), "nothing to compare with");
    }
}

/// GnuTLS: the inner functions' entries, read in disassemblies, by the first bytes of the build ID.
#[test]
fn every_fetched_gnutls_has_sites_that_hold() {
    const KNOWN: [([u8; 4], &str, [u64; 2]); 4] = [
        ([0x42, 0x73, 0x03, 0x31], "3.7.1", [0x3b3f0, 0x38460]),
        ([0x2a, 0x74, 0xc5, 0xf0], "3.7.9", [0x3e8b0, 0x3b700]),
        ([0x79, 0x7c, 0xa3, 0xc7], "3.8.9", [0x40544, 0x3d614]),
        ([0x5a, 0xc7, 0xd2, 0x5b], "3.8.13", [0x42904, 0x3f9e4]),
    ];
    let mut ran = 0;
    for suite in ["bullseye", "bookworm", "trixie", "sid"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../target/fixtures/gnutls-{suite}/usr/lib/x86_64-linux-gnu"));
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let is_one = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"libgnutls.so.30."))
        };
        let Some(path) = files.into_iter().find(is_one) else {
            println!("skipped: no GnuTLS of {suite} in target/fixtures; `cargo xtask fixture` fetches it");
            continue;
        };
        let file = fs::read(&path).unwrap();
        let hooks = locate(&file).unwrap_or_else(|reason| panic!("{} {reason}", path.display()));
        let [receive, send] = &hooks.exported[..] else { panic!("{:?}", hooks.exported) };
        assert_eq!([receive.function, send.function], [Function::ReceiveRecord, Function::SendRecord]);
        for (site, arguments) in [(receive.site, 4), (send.site, 6)] {
            assert_eq!(site.emulated, Some(Emulated::Push), "{suite}");
            assert_eq!(site.registers.iter().flatten().count(), arguments);
            let at = usize::try_from(site.offset).unwrap();
            assert!(matches!(file[at..], [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..]));
        }
        assert!(hooks.free.is_some() && hooks.shutdown.is_some() && hooks.host_name.is_some());
        let build = object::File::parse(&*file).unwrap().build_id().ok().flatten().unwrap_or_default().to_owned();
        if let Some((_, version, sites)) = KNOWN.iter().find(|(known, ..)| build.starts_with(known)) {
            assert_eq!([receive.site.offset, send.site.offset], *sites);
            assert_eq!(hooks.library, format!("gnutls {version}"));
            ran += 1;
        }
        println!("{suite}: {} {:x?}", hooks.library, [receive.site.offset, send.site.offset]);
    }
    println!("{ran} builds as checked by hand");
}

/// The shared objects and executables with TLS in them.
fn builds() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures");
    let folders = fs::read_dir(fixtures).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut builds: Vec<PathBuf> = folders
        .flat_map(|folder| {
            ["bin/node", "usr/lib/x86_64-linux-gnu/libssl.so.1.1", "usr/lib/x86_64-linux-gnu/libssl.so.3"]
                .map(|file| folder.join(file))
        })
        .filter(|path| path.is_file())
        .collect();
    builds.sort();
    builds
}

/// Where the file has symbols of internal functions, the sites are in the functions of those names.
fn check_symbols(file: &[u8], method: &Method) -> bool {
    let object = object::File::parse(file).unwrap();
    let range = |name: &str| -> Option<Range<u64>> {
        let symbol = object.symbols().find(|symbol| symbol.name() == Ok(name) && symbol.is_definition())?;
        let address = symbol.address();
        let segment = object.segments().find(|s| (s.address()..s.address() + s.size()).contains(&address))?;
        let start = segment.file_range().0 + (address - segment.address());
        Some(start..start + symbol.size())
    };
    let (Some(read), Some(peek), Some(write)) = (range("ssl3_read"), range("ssl3_peek"), range("ssl3_write")) else {
        return false;
    };
    assert!(read.contains(&method.read.offset));
    assert!(write.contains(&method.write.offset));
    let inner = range("ssl3_read_internal");
    for one in &method.read_returns {
        assert!(!peek.contains(&one.offset));
        assert!(read.contains(&one.offset) || inner.as_ref().is_some_and(|inner| inner.contains(&one.offset)));
    }
    true
}

/// What holds for every build: the instructions are what they are said to be, no two hooks share a place, and the
/// inner call's result meets a comparison with -1 before the first return site.
fn check_bytes(file: &[u8], hooks: &Hooks, method: &Method) {
    let at = |offset: u64| &file[usize::try_from(offset).unwrap()..];
    let is = |emulated: Emulated, offset: u64| {
        matches!(
            (emulated, at(offset)),
            (Emulated::Push, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..])
                | (Emulated::ConditionalJump, [0x70..=0x7f, ..] | [0x0f, 0x80..=0x8f, ..])
                | (Emulated::Jump, [0xeb | 0xe9, ..])
                | (Emulated::Nop, [0x90, ..])
        )
    };
    for site in [method.read, method.write] {
        assert!(is(site.emulated.expect("emulated in every build seen"), site.offset));
        assert_eq!(site.registers[..3], [Register::Rdi, Register::Rsi, Register::Rdx].map(Some));
        assert!(site.registers[3].is_some() && site.registers[4].is_none());
    }
    assert_eq!(method.read_returns.len(), 2);
    for one in &method.read_returns {
        assert!(is(one.emulated, one.offset));
        let registers: HashSet<u16> = [one.ssl, one.buf, one.len, one.done].map(Register::pt_regs_offset).into();
        assert_eq!(registers.len(), 4);
    }
    let first = &method.read_returns[0];
    assert_ne!(first.peek, Peek::Lost);
    let before = usize::try_from(first.offset).unwrap();
    assert_eq!(file[before - 3..before], [0x83, 0xf8, 0xff], "cmp $-1,%eax");

    let offsets: Vec<u64> = [&hooks.free, &hooks.shutdown, &hooks.clear, &hooks.ctrl]
        .into_iter()
        .map(|site: &Option<Site>| site.unwrap().offset)
        .chain(hooks.exported.iter().map(|entry| entry.site.offset))
        .chain([method.read.offset, method.write.offset])
        .chain(method.read_returns.iter().map(|one| one.offset))
        .collect();
    assert_eq!(offsets.iter().collect::<HashSet<_>>().len(), offsets.len(), "{offsets:x?}");
    let functions: HashSet<Function> = hooks.exported.iter().map(|entry| entry.function).collect();
    assert!([Function::Read, Function::ReadEx, Function::Write].iter().all(|function| functions.contains(function)));
    assert!(functions.contains(&Function::WriteEx) || functions.contains(&Function::WriteEx2));
}

fn check_known(file: &[u8], path: &Path, hooks: &Hooks, method: &Method) -> bool {
    let object = object::File::parse(file).unwrap();
    let build = object.build_id().ok().flatten().unwrap_or_default();
    let Some(known) = KNOWN.iter().find(|known| build.starts_with(&known.build)) else { return false };
    assert_eq!((method.read.offset, method.write.offset), (known.read, known.write));
    assert_eq!(method.read.registers[3], Some(known.done));
    let returns: Vec<u64> = method.read_returns.iter().map(|one| one.offset).collect();
    assert_eq!(returns, known.read_returns);
    // Debian's libssl 3 leaves the version to libcrypto, which lies beside it.
    let beside = |name: &str| fs::read(path.with_file_name(name)).ok().and_then(|file| version(&file));
    let told = version(file).or_else(|| beside("libcrypto.so.3")).or_else(|| beside("libcrypto.so.1.1"));
    assert_eq!(told.as_deref(), Some(known.version));
    assert!(hooks.library.starts_with("openssl"));
    true
}
