//! rustls from 0.20 to 0.23, which a Rust program carries in itself, mostly without symbols, with any provider of
//! cryptography.

mod records;
mod values;

use std::ops::Range;

use super::elf::Elf;
use super::{Hooks, MessageForm, Probe, Program, Reason, Stack, Stripped};

pub(super) struct Rustls;

/// Panics name the source file, whose path holds the name of the crate and its version.
const CRATE: &[u8] = b"rustls-";
/// Behind the version.
const SOURCES: &[u8] = b"/src/";
/// Releases that one file may name; programs with two are seen.
const MAX_RELEASES: usize = 8;
/// Longest version, bytes: `0.24.0-dev.2`, with room.
const MAX_VERSION: usize = 24;
/// Longest path of a source file, bytes.
const MAX_PATH: u64 = 1024;

impl Stack for Rustls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let mut releases = releases(elf);
        if releases.len() > 1 {
            releases.retain(|release| release.is_compiled_in(elf));
        }
        // Of two the newer one's form is taken; what is not of it is left alone at run time.
        let known = releases.iter().rev().find_map(|release| Some((&release.version, release.form()?)));
        let refused = |reason| releases.iter().any(|release| release.is_compiled_in(elf)).then_some(Err(reason));
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

/// A release that the file names.
struct Release {
    /// As `0.23.46`.
    version: String,
    /// Its major and minor number.
    number: (u32, u32),
    /// Where its names lie, up to the end of [`SOURCES`]: addresses.
    names: Vec<u64>,
}

impl Release {
    /// How its messages lie in memory; `None` where that is not known.
    fn form(&self) -> Option<MessageForm> {
        match self.number {
            (0, 20..=22) => Some(MessageForm::Buffer),
            (0, 23) => Some(MessageForm::Slices),
            _ => None,
        }
    }

    /// Whether a panic names one of its files: that is a pointer to the path and its length, side by side. A path that
    /// stands in some text proves nothing.
    fn is_compiled_in(&self, elf: &Elf<'_>) -> bool {
        self.names.iter().any(|end| {
            let start: Range<u64> = end.saturating_sub(MAX_PATH)..*end;
            elf.pointers_into(start).any(|(place, path)| {
                let length = elf.bytes(place.wrapping_add(8)).and_then(|bytes| bytes.first_chunk().copied());
                let length = length.map(u64::from_le_bytes).filter(|length| *length <= MAX_PATH);
                let text = length.and_then(|length| elf.bytes(path)?.get(..usize::try_from(length).ok()?));
                let is_past = length.is_some_and(|length| path.wrapping_add(length) > *end);
                is_past && text.is_some_and(|text| text.strip_suffix(b"\0").unwrap_or(text).ends_with(b".rs"))
            })
        })
    }
}

/// The releases that the file names, ascending.
fn releases(elf: &Elf<'_>) -> Vec<Release> {
    /// Names of one release that are looked at: some forty files have one.
    const MAX_NAMES: usize = 8;
    let finder = memchr::memmem::Finder::new(CRATE);
    let mut found: Vec<Release> = Vec::new();
    for bytes in elf.constants() {
        for at in finder.find_iter(bytes) {
            // Other crates end in its name.
            let other =
                at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric() || bytes[before] == b'-');
            let rest = &bytes[at + CRATE.len()..];
            let is_version = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
            let length = rest.iter().take(MAX_VERSION).take_while(is_version).count();
            let (version, rest) = rest.split_at(length);
            if other || !rest.starts_with(SOURCES) {
                continue;
            }
            let Some((version, number)) =
                std::str::from_utf8(version).ok().and_then(|text| Some((text, number(text)?)))
            else {
                continue;
            };
            let Some(end) = elf.address(elf.position(bytes) + at + CRATE.len() + length + SOURCES.len()) else {
                continue;
            };
            match found.iter().position(|known| known.version == version) {
                Some(index) if found[index].names.len() < MAX_NAMES => found[index].names.push(end),
                None if found.len() < MAX_RELEASES => {
                    found.push(Release { version: version.to_owned(), number, names: vec![end] });
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| (a.number, &a.version).cmp(&(b.number, &b.version)));
    found
}

/// The first two of three numbers.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    patch.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests;
