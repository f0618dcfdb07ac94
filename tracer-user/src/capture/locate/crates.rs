//! Rust crates that a program is made of: panics name source files, whose paths hold the name of the crate and its version.

use std::ops::Range;

use memchr::memmem;

use super::elf::Elf;

/// Behind the version.
const SOURCES: &[u8] = b"/src/";
/// Releases of one crate that a file may name; programs with two are seen.
const MAX_RELEASES: usize = 8;
/// Paths of one release that are looked at. rustls has some forty.
const MAX_NAMES: usize = 64;
/// Longest version, bytes: `0.24.0-dev.2`, with room.
const MAX_VERSION: usize = 24;
/// Longest path of a source file, bytes.
const MAX_PATH: u64 = 1024;

/// A release that the file names.
pub(super) struct Release<'a> {
    /// As `0.23.46`.
    pub(super) version: &'a str,
    /// Its major and minor number.
    pub(super) number: (u32, u32),
    /// What follows [`SOURCES`], and its address. Strings of Rust have no end of their own.
    names: Vec<(u64, &'a [u8])>,
}

impl Release<'_> {
    /// Whether a panic names one of the crate's files that begin so: that is a pointer to the path and its length, side by
    /// side. A path that stands in some text proves nothing.
    pub(super) fn has(&self, elf: &Elf<'_>, files: &[&[u8]]) -> bool {
        /// Each may take a search of the whole file. The first proves it wherever it is one.
        const MAX_TRIES: usize = 4;
        let wanted = self.names.iter().filter(|(_, name)| files.iter().any(|file| name.starts_with(file)));
        wanted.take(MAX_TRIES).any(|(end, _)| {
            let path: Range<u64> = end.saturating_sub(MAX_PATH)..*end;
            elf.pointers_into(path).any(|(place, path)| {
                let length = elf.bytes(place.wrapping_add(8)).and_then(|bytes| bytes.first_chunk().copied());
                let length = length.map(u64::from_le_bytes).filter(|length| *length <= MAX_PATH);
                let text = length.and_then(|length| elf.bytes(path)?.get(..usize::try_from(length).ok()?));
                let is_past = length.is_some_and(|length| path.wrapping_add(length) > *end);
                is_past && text.is_some_and(|text| text.strip_suffix(b"\0").unwrap_or(text).ends_with(b".rs"))
            })
        })
    }
}

/// The releases of a crate that the file names, ascending. `name` ends with a hyphen.
pub(super) fn releases<'a>(elf: &Elf<'a>, name: &[u8]) -> Vec<Release<'a>> {
    let finder = memmem::Finder::new(name);
    let mut found: Vec<Release<'a>> = Vec::new();
    for bytes in elf.constants() {
        for at in finder.find_iter(bytes) {
            // Other crates end in its name.
            let other =
                at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric() || bytes[before] == b'-');
            let rest = &bytes[at + name.len()..];
            let is_version = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
            let length = rest.iter().take(MAX_VERSION).take_while(is_version).count();
            let (version, rest) = rest.split_at(length);
            let Some(file) = rest.strip_prefix(SOURCES).filter(|_| !other) else { continue };
            let version = std::str::from_utf8(version).ok().and_then(|text| Some((text, number(text)?)));
            let (Some((version, number)), Some(end)) = (version, elf.address(elf.position(file))) else { continue };
            match found.iter().position(|known| known.version == version) {
                Some(index) if found[index].names.len() < MAX_NAMES => found[index].names.push((end, file)),
                None if found.len() < MAX_RELEASES => {
                    found.push(Release { version, number, names: vec![(end, file)] });
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| (a.number, a.version).cmp(&(b.number, b.version)));
    found
}

/// The first two of three numbers.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    patch.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
