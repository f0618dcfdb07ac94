//! rustls 0.23, which a Rust program carries in itself, mostly without symbols, with any provider of cryptography.

mod records;
mod values;

use super::elf::Elf;
use super::{Hooks, Probe, Program, Reason, Stack, Stripped};

pub(super) struct Rustls;

/// Panics name the source file, whose path holds the name of the crate and its version.
const CRATE: &[u8] = b"rustls-0.";
/// Releases that one file may name; programs with two are seen.
const MAX_VERSIONS: usize = 8;
/// The interface whose messages the eBPF program reads.
const MINOR: &str = "23";

impl Stack for Rustls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let versions = versions(elf);
        if versions.is_empty() {
            return None;
        }
        let Some(version) = versions.iter().find(|version| version.split('.').nth(1) == Some(MINOR)) else {
            return Some(Err(Reason::OldRustls));
        };
        let sites = records::find(elf);
        let probe = |site: &records::Site, program: Program| {
            Some(Probe { program, offset: elf.offset(site.address)?, place: 0 })
        };
        let sealed = sites.sealed.iter().filter_map(|site| probe(site, Program::RecordSealed(site.place)));
        let opened = sites.opened.iter().filter_map(|site| probe(site, Program::RecordOpened(site.place)));
        let probes: Vec<Probe> = sealed.chain(opened).collect();
        if probes.is_empty() {
            return Some(Err(Reason::Rustls));
        }
        Some(Ok(Hooks {
            library: format!("rustls {version}"),
            stripped: Some(Stripped { returns: Some(Vec::new()), beside: None }),
            probes,
            ..Hooks::default()
        }))
    }
}

/// The releases that the file names, as `0.23.46`.
fn versions(elf: &Elf<'_>) -> Vec<String> {
    let finder = memchr::memmem::Finder::new(CRATE);
    let mut found = Vec::new();
    for bytes in elf.constants() {
        for at in finder.find_iter(bytes) {
            // Other crates end in its name.
            let other =
                at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric() || bytes[before] == b'-');
            let version = bytes[at + "rustls-".len()..].iter().take(16);
            let version: String = version
                .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
                .map(|byte| char::from(*byte))
                .collect();
            if !other && found.len() < MAX_VERSIONS && version.split('.').count() == 3 && !found.contains(&version) {
                found.push(version);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests;
