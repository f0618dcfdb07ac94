//! Where functions begin in code without symbols.
//!
//! The unwinding table tells it, where the file has one and the function stands in it. Otherwise a function is what is
//! called: a search for `call` instructions gives the addresses that something calls, and the nearest one from which the
//! flow of control leads to a place is the function that holds it. Functions that are only reached by pointers are
//! found by the padding before them and the instruction that they begin with.

use std::ops::Range;

use memchr::memchr_iter;

use super::super::disasm::{self, Bounds, Reading};
use super::super::elf::Elf;
use super::super::frames::Frames;

/// Bytes before a place in which the beginning of its function is looked for, and after it for those of others.
const WINDOW: u64 = 16 << 10;
/// Instructions read in one function.
const MAX_INSTRUCTIONS: usize = 2_000;
/// Beginnings that are tried for one place.
const MAX_TRIES: usize = 32;
/// Calls of one function that are looked at.
const MAX_CALLS: usize = 64;
/// Beginnings that are kept. The windows hold some thousands.
const MAX_STARTS: usize = 1 << 16;

pub(super) struct Functions<'a> {
    frames: Option<Frames<'a>>,
    /// Known beginnings near the places that are of interest, ascending.
    starts: Vec<u64>,
}

impl<'a> Functions<'a> {
    /// Prepares for questions about `places`.
    pub(super) fn around(elf: &Elf<'a>, places: impl Iterator<Item = u64>) -> Self {
        let windows = merged(places);
        let frames = Frames::of(elf);
        let mut starts: Vec<u64> = Vec::new();
        for (at, target) in calls(elf) {
            let after = windows.partition_point(|window| window.start <= target);
            let near = after.checked_sub(1).and_then(|index| windows.get(index)).is_some_and(|w| w.contains(&target));
            if near && starts.len() < MAX_STARTS && at.abs_diff(target) > 5 && is_beginning(elf, target) {
                starts.push(target);
            }
        }
        for window in windows {
            let known = frames.iter().flat_map(|frames| frames.starts(window.clone()));
            starts.extend(known.take(MAX_STARTS));
        }
        starts.sort_unstable();
        starts.dedup();
        Self { frames, starts }
    }

    /// Reads the function that begins at `entry`.
    pub(super) fn read(&self, elf: &Elf<'_>, entry: u64) -> Reading {
        disasm::read_within(elf, entry, Bounds { instructions: MAX_INSTRUCTIONS, others: &self.starts })
    }

    /// The beginning of the function that holds the instruction at `place`.
    pub(super) fn holding(&self, elf: &Elf<'_>, place: u64) -> Option<(u64, Reading)> {
        let leads = |entry: u64| {
            let reading = self.read(elf, entry);
            reading.seen.contains(&place).then_some((entry, reading))
        };
        if let Some(range) = self.frames.and_then(|frames| frames.holding(elf, place)) {
            return leads(range.start);
        }
        let below = place.saturating_sub(WINDOW);
        let end = self.starts.partition_point(|start| *start <= place);
        let called = self.starts.get(..end)?.iter().rev().copied().take_while(|start| *start >= below);
        called.take(MAX_TRIES).find_map(leads).or_else(|| self.padded(elf, place).find_map(leads))
    }

    /// Where functions that nobody calls may begin, the nearest first.
    fn padded(&self, elf: &Elf<'_>, place: u64) -> impl Iterator<Item = u64> {
        let aligned = place & !15;
        let candidates = (0..WINDOW / 16).map_while(move |step| aligned.checked_sub(16 * step));
        candidates.filter(|start| begins_with_frame(elf, *start)).take(MAX_TRIES)
    }

    /// The addresses of the instructions that call `target`.
    pub(super) fn calls_of(elf: &Elf<'_>, target: u64) -> Vec<u64> {
        calls(elf).filter(|(_, called)| *called == target).map(|(at, _)| at).take(MAX_CALLS).collect()
    }

    /// The functions that call `target`.
    pub(super) fn callers(elf: &Elf<'a>, target: u64) -> Vec<(u64, Reading)> {
        let places = Self::calls_of(elf, target);
        let functions = Self::around(elf, places.iter().copied());
        let mut found: Vec<(u64, Reading)> = Vec::new();
        for place in places {
            if let Some((entry, reading)) = functions.holding(elf, place)
                && !found.iter().any(|(known, _)| *known == entry)
            {
                found.push((entry, reading));
            }
        }
        found
    }
}

/// Everything that looks like a `call`: its address, and where it leads. Some are the inside of other instructions.
fn calls(elf: &Elf<'_>) -> impl Iterator<Item = (u64, u64)> {
    elf.texts().flat_map(|(start, text)| {
        memchr_iter(0xe8, text).filter_map(move |at| {
            let distance = i32::from_le_bytes(*text.get(at + 1..)?.first_chunk()?);
            let address = start.wrapping_add(at as u64);
            Some((address, address.wrapping_add(5).wrapping_add_signed(i64::from(distance))))
        })
    })
}

/// The windows around the places, ascending and apart.
fn merged(places: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut windows: Vec<Range<u64>> =
        places.map(|place| place.saturating_sub(WINDOW)..place.saturating_add(WINDOW)).collect();
    windows.sort_unstable_by_key(|window| window.start);
    windows.dedup_by(|later, earlier| {
        let joined = later.start <= earlier.end;
        if joined {
            earlier.end = earlier.end.max(later.end);
        }
        joined
    });
    windows
}

/// Whether a function may begin at `address`: it is aligned, or padding or the end of another stands before it.
fn is_beginning(elf: &Elf<'_>, address: u64) -> bool {
    if elf.code(address).is_none() {
        return false;
    }
    // int3, nop, the last byte of a longer nop, ret.
    let ends = |before: &[u8]| matches!(before.first(), Some(0xcc | 0x90 | 0x00 | 0xc3));
    address % 16 == 0 || address.checked_sub(1).and_then(|before| elf.code(before)).is_some_and(ends)
}

/// Padding or an end before it, and the first instruction of a function that makes a frame: `endbr64`, `push`, `sub` of
/// the stack pointer.
fn begins_with_frame(elf: &Elf<'_>, address: u64) -> bool {
    let Some(code) = elf.code(address) else { return false };
    let frame = match code {
        [0xf3, 0x0f, 0x1e, 0xfa, ..] | [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..] | [0x48, 0x81 | 0x83, 0xec, ..] => true,
        _ => false,
    };
    let before = address.checked_sub(1).and_then(|before| elf.code(before)).and_then(|before| before.first());
    frame && matches!(before, Some(0xcc | 0x90 | 0x00 | 0xc3))
}
