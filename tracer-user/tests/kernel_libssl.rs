//! The hooks on real libraries, in the kernel: Debian's libssl of four releases and Node.js of four, TLS 1.2 and 1.3.
//!
//! A client and a server talk in one process that is traced from before its first call. What the hooks saw must be,
//! byte for byte, what both ends really sent and read: writes that were retried, moved or done in part count once,
//! what was only peeked at does not count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at its first failure")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use llmtap::capture::{Counters, Direction, Event, LoadError, Options, Tracer, program::AttachMode};

const PROGRAM: &str = "usr/lib/x86_64-linux-gnu";

/// One traced connection.
#[derive(Default)]
struct Seen {
    sent: Vec<u8>,
    received: Vec<u8>,
    gaps: usize,
    library: String,
    server_name: Option<String>,
}

#[test]
fn every_libssl_is_seen_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let pair = folder.path().join("pair");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_libssl/pair.c");
    if !Command::new("cc").arg("-O1").arg("-o").arg(&pair).arg(source).status().is_ok_and(|status| status.success()) {
        println!("skipped: no C compiler");
        return;
    }
    let (certificate, key) = credentials(folder.path());
    let mut ran = 0;
    for suite in ["bullseye", "bookworm", "trixie", "sid"] {
        let libraries = fixture(&format!("libssl-{suite}")).join(PROGRAM);
        let find = |names: [&str; 2]| names.into_iter().map(|name| libraries.join(name)).find(|path| path.is_file());
        let (Some(ssl), Some(crypto)) =
            (find(["libssl.so.3", "libssl.so.1.1"]), find(["libcrypto.so.3", "libcrypto.so.1.1"]))
        else {
            println!("skipped: libssl of {suite} is not in target/fixtures (cargo xtask fixture libssl)");
            continue;
        };
        for version in ["0x303", "0x304"] {
            let loader = libraries.join("ld-linux-x86-64.so.2");
            let mut command = if loader.is_file() {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(&libraries).arg(&pair);
                command
            } else {
                Command::new(&pair)
            };
            command.arg(&ssl).arg(&crypto).arg(&certificate).arg(&key).arg(version);
            // The kernel's best way, and the one for kernels that have neither sessions nor uprobe_multi.
            for mode in [None, Some(AttachMode::Perf)] {
                ran += u32::from(compare(&format!("{suite} {version}"), &mut command, mode));
            }
        }
    }
    println!("{ran} combinations");
}

#[test]
fn every_node_is_seen_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = credentials(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_libssl/pair.js");
    let mut ran = 0;
    for release in ["20", "22", "24", "26"] {
        let node = fixture(&format!("node-{release}")).join("bin/node");
        if !node.is_file() {
            println!("skipped: Node.js {release} is not in target/fixtures (cargo xtask fixture libssl)");
            continue;
        }
        for version in ["TLSv1.2", "TLSv1.3"] {
            let mut command = Command::new(&node);
            command.arg(&script).arg(&certificate).arg(&key).arg(version);
            ran += u32::from(compare(&format!("Node.js {release} {version}"), &mut command, None));
        }
    }
    println!("{ran} combinations");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures").join(name)
}

fn credentials(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["pair.example".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

/// Runs the program under the tracer and compares; false where this kernel or user cannot trace.
fn compare(what: &str, command: &mut Command, mode: Option<AttachMode>) -> bool {
    let mut tracer = match Tracer::load(&Options { mode, ..Options::default() }) {
        Ok(tracer) => tracer,
        Err(error @ (LoadError::Privileges(_) | LoadError::Btf(_) | LoadError::Kernel(_))) => {
            println!("skipped: {error}");
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"), "{what}");
    tracer.add_target(child.id()).unwrap();
    let verdict = tracer.attach_process(child.id()).unwrap();
    assert!(verdict.hooked.iter().all(|hooked| hooked.preferred), "{what} {mode:?}: {verdict:?}");
    assert_eq!(verdict.hooked.len(), 1, "{what}: {verdict:?}");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"go\n").unwrap();

    let seen = watch(&mut tracer, &mut child);
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{what}");
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let ["pair", _, "sent", client, "and", server] = words[..] else { panic!("{what}: {line}") };
        let (client, server) = (stream(client.parse().unwrap(), 0), stream(server.parse().unwrap(), 1));
        expected.push((client.clone(), server.clone()));
        expected.push((server, client));
    }
    assert!(!expected.is_empty(), "{what}");
    let lost: Vec<_> = tracer.counters().iter().filter(|(_, value)| *value > 0).collect();
    check(what, &expected, &seen, &tracer.counters());
    let bytes: usize = expected.iter().map(|(sent, received)| sent.len() + received.len()).sum();
    println!(
        "{what}: {} connections, {bytes} bytes, all as sent and read ({}, {:?}; counted: {lost:?})",
        seen.len(),
        seen[0].library,
        tracer.attach_mode()
    );
    true
}

fn check(what: &str, expected: &[(Vec<u8>, Vec<u8>)], seen: &[Seen], counters: &Counters) {
    let sizes = |of: &Seen| (of.sent.len(), of.received.len(), of.gaps);
    assert_eq!(seen.len(), expected.len(), "{what}: {:?}", seen.iter().map(sizes).collect::<Vec<_>>());
    let mut left: Vec<_> = expected.iter().collect();
    for one in seen {
        let at = left.iter().position(|(sent, received)| *sent == one.sent && *received == one.received);
        let at = at.unwrap_or_else(|| {
            panic!(
                "{what}: bytes differ: {:?} of {:?}, {counters:?}",
                sizes(one),
                left.iter().map(|(a, b)| (a.len(), b.len())).collect::<Vec<_>>()
            )
        });
        left.remove(at);
        assert_eq!(one.gaps, 0, "{what}");
        assert!(one.library.starts_with("openssl"), "{what}: {}", one.library);
    }
    let named = seen.iter().filter(|one| one.server_name.as_deref() == Some("pair.example")).count();
    assert_eq!(named, expected.len() / 2, "{what}: each client tells the server's name");
}

/// Collects until the process has ended and everything of it has been read.
fn watch(tracer: &mut Tracer, child: &mut Child) -> Vec<Seen> {
    let mut reader = tracer.ring_reader().unwrap();
    let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
    let mut events = Vec::new();
    let mut notices = Vec::new();
    let limit = Instant::now() + Duration::from_secs(60);
    let mut ended = false;
    loop {
        let more = reader.drain(&mut events);
        tracer.on_readable(&mut notices);
        notices.clear();
        for event in events.drain(..) {
            match event {
                Event::Open { key, connection, .. } => {
                    let one = seen.entry(key.0).or_default();
                    one.library = connection.tls.as_deref().unwrap_or_default().to_owned();
                    one.server_name = connection.sni.as_deref().map(str::to_owned);
                }
                Event::Data { key, direction, offset, bytes, .. } => {
                    let one = seen.entry(key.0).or_default();
                    let stream = if direction == Direction::Send { &mut one.sent } else { &mut one.received };
                    assert_eq!(offset, stream.len() as u64, "pieces follow each other");
                    stream.extend_from_slice(&bytes);
                }
                Event::Gap { key, .. } => seen.entry(key.0).or_default().gaps += 1,
                _ => {}
            }
        }
        if !more && ended {
            return seen.into_values().collect();
        }
        if !more {
            ended = child.try_wait().unwrap().is_some();
            if Instant::now() > limit {
                // Ours: started above.
                let _ = child.kill();
                panic!("the program does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What the programs send: the formula stands in both of them.
fn stream(length: usize, side: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 131 + (i >> 8) * 17 + (i >> 16) * 5 + side * 59) as u8).collect()
}
