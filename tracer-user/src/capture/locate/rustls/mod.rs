//! rustls from 0.20 to 0.23, which a Rust program carries in itself, mostly without symbols, with any provider of
//! cryptography.

mod records;
mod values;

use super::crates::{self, Release};
use super::elf::Elf;
use super::{Hooks, MessageForm, Probe, Program, Reason, Stack, Stripped};

pub(super) struct Rustls;

const CRATE: &[u8] = b"rustls-";
/// Files of the code that makes connections. Programs that only check certificates with it have none of them.
const CONNECTIONS: [&[u8]; 7] =
    [b"record_layer.rs", b"conn.rs", b"conn/", b"common_state.rs", b"client/", b"server/", b"session.rs"];

impl Stack for Rustls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let mut releases = crates::releases(elf, CRATE);
        if releases.len() > 1 {
            releases.retain(|release| release.has(elf, &CONNECTIONS));
        }
        // Of two the newer one's form is taken; what is not of it is left alone at run time.
        let known = releases.iter().rev().find_map(|release| Some((release.version, form(release)?)));
        let refused = |reason| releases.iter().any(|release| release.has(elf, &CONNECTIONS)).then_some(Err(reason));
        let Some((version, form)) = known else { return refused(Reason::OldRustls) };
        let sites = records::find(elf, form);
        let probe = |site: &records::Site, program: Program| {
            Some(Probe { program, offset: elf.offset(site.address)?, place: 0 })
        };
        let sealed = sites.sealed.iter().filter_map(|site| probe(site, Program::RecordSealed(site.place)));
        let opened = sites.opened.iter().filter_map(|site| probe(site, Program::RecordOpened(site.place)));
        let probes: Vec<Probe> = sealed.chain(opened).collect();
        if probes.is_empty() {
            return refused(Reason::Rustls);
        }
        Some(Ok(Hooks {
            library: format!("rustls {version}"),
            stripped: Some(Stripped { returns: Some(Vec::new()), beside: None }),
            probes,
            ..Hooks::default()
        }))
    }
}

/// How a release's messages lie in memory; `None` where that is not known.
fn form(release: &Release<'_>) -> Option<MessageForm> {
    match release.number {
        (0, 20..=22) => Some(MessageForm::Buffer),
        (0, 23) => Some(MessageForm::Slices),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
