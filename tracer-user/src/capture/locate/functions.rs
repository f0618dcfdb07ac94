//! Where functions begin in code without symbols.
//!
//! The unwinding table tells it, where the file has one and the function stands in it. Otherwise a function is what is
//! called: a search for `call` instructions gives the addresses that something calls, and the nearest one from which the
//! flow of control leads to a place is the function that holds it. Functions that are only reached by pointers are
//! found by the padding before them and the instruction that they begin with.

use std::ops::Range;

use memchr::memchr_iter;

use super::disasm::{self, Bounds, Callee, Reading};
use super::elf::Elf;
use super::frames::Frames;

/// Bytes before a place in which the beginning of its function is looked for, and after it for those of others.
const WINDOW: u64 = 16 << 10;
/// Instructions read in one function.
const MAX_INSTRUCTIONS: usize = 2_000;
/// Branches of one function that wait to be read.
const MAX_PATHS: usize = 256;
/// Beginnings that are tried for one place.
const MAX_TRIES: usize = 32;
/// Calls of one function that are looked at.
const MAX_CALLS: usize = 64;
/// Calls of methods that are looked at, of a few hundred near the places.
const MAX_METHOD_CALLS: usize = 512;
/// Functions that one may end in calls of, with those that these end in calls of.
const MAX_LAST_CALLS: usize = 8;
/// Beginnings that are kept. The windows hold some thousands.
const MAX_STARTS: usize = 1 << 16;

pub(super) struct Functions<'a> {
    frames: Option<Frames<'a>>,
    windows: Vec<Range<u64>>,
    /// Known beginnings near the places that are of interest, ascending.
    starts: Vec<u64>,
}

impl<'a> Functions<'a> {
    /// Prepares for questions about `places`.
    pub(super) fn around(elf: &Elf<'a>, places: impl Iterator<Item = u64>) -> Self {
        let windows = merged(places);
        let frames = Frames::of(elf);
        let mut starts: Vec<u64> = Vec::new();
        for (_, target) in calls(elf) {
            if is_in(&windows, target) && starts.len() < MAX_STARTS && is_beginning(elf, target) {
                starts.push(target);
            }
        }
        for window in &windows {
            let known = frames.iter().flat_map(|frames| frames.starts(window.clone()));
            starts.extend(known.take(MAX_STARTS));
        }
        starts.sort_unstable();
        starts.dedup();
        Self { frames, windows, starts }
    }

    /// Reads the function that begins at `entry`.
    pub(super) fn read(&self, elf: &Elf<'_>, entry: u64) -> Reading {
        disasm::read_within(elf, entry, self.bounds())
    }

    fn bounds(&self) -> Bounds<'_> {
        Bounds { instructions: MAX_INSTRUCTIONS, paths: MAX_PATHS, others: &self.starts, parts: false }
    }

    /// Where the function at `entry` returns to its caller: its own return instructions, and those of the functions that it
    /// ends in calls of. `leads` says which function it is that a call by a pointer reaches. `None` if it may end
    /// otherwise.
    pub(super) fn returns(
        &self,
        elf: &Elf<'_>,
        entry: u64,
        leads: impl Fn(&Callee) -> Option<u64>,
    ) -> Option<Vec<u64>> {
        let mut returns = Vec::new();
        let mut entered = vec![entry];
        let mut next = 0;
        while let Some(entry) = entered.get(next).copied() {
            next += 1;
            let reading = disasm::read_within(elf, entry, Bounds { parts: true, ..self.bounds() });
            if !reading.complete || next > MAX_LAST_CALLS {
                return None;
            }
            for call in reading.calls.iter().filter(|call| call.is_last()) {
                let callee = match call.callee {
                    // The flow was followed there, unless a function is known to begin there.
                    Callee::Address(address) if reading.seen.contains(&address) => continue,
                    Callee::Address(address) => address,
                    Callee::Value(_) => leads(&call.callee)?,
                };
                if !entered.contains(&callee) {
                    entered.push(callee);
                }
            }
            returns.extend(reading.returns);
        }
        returns.sort_unstable();
        returns.dedup();
        (!returns.is_empty()).then_some(returns)
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

    /// The functions near the places that call a method: the word at `slot` in a table.
    pub(super) fn calling_slot(&self, elf: &Elf<'_>, slot: u8) -> Vec<(u64, Reading)> {
        let mut found: Vec<(u64, Reading)> = Vec::new();
        let mut tries = 0;
        for (start, text) in elf.texts() {
            for window in &self.windows {
                let at =
                    |address: u64| usize::try_from(address.saturating_sub(start)).unwrap_or(usize::MAX).min(text.len());
                let (from, to) = (at(window.start), at(window.end));
                for at in memchr_iter(slot, &text[from..to]) {
                    // ff, a ModRM byte for `call` with a base and a short distance, the distance.
                    let code = (from + at).checked_sub(2).and_then(|at| text.get(at..at + 2));
                    let is_call =
                        code.is_some_and(|code| code[0] == 0xff && matches!(code[1], 0x50..=0x53 | 0x55..=0x57));
                    let address = start.wrapping_add((from + at) as u64).wrapping_sub(2);
                    if !is_call || tries >= MAX_METHOD_CALLS || found.iter().any(|(_, one)| one.seen.contains(&address))
                    {
                        continue;
                    }
                    tries += 1;
                    if let Some(one) = self.holding(elf, address)
                        && !found.iter().any(|(known, _)| *known == one.0)
                    {
                        found.push(one);
                    }
                }
            }
        }
        found
    }

    /// Where functions that nobody calls may begin, the nearest first.
    fn padded(&self, elf: &Elf<'_>, place: u64) -> impl Iterator<Item = u64> {
        let aligned = place & !15;
        let candidates = (0..WINDOW / 16).map_while(move |step| aligned.checked_sub(16 * step));
        candidates.filter(|start| elf.code(*start).is_some_and(makes_frame)).take(MAX_TRIES)
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

fn is_in(windows: &[Range<u64>], address: u64) -> bool {
    let after = windows.partition_point(|window| window.start <= address);
    after.checked_sub(1).and_then(|index| windows.get(index)).is_some_and(|window| window.contains(&address))
}

/// Whether a function may begin at `address`, which something calls, or seems to: it is aligned, or padding or a return
/// stands before it, or it begins by making a frame.
fn is_beginning(elf: &Elf<'_>, address: u64) -> bool {
    elf.code(address)
        .is_some_and(|code| address.is_multiple_of(16) || follows_an_end(elf, address) || makes_frame(code))
}

/// `int3`, `nop` or `ret` before it.
fn follows_an_end(elf: &Elf<'_>, address: u64) -> bool {
    let before = address.checked_sub(1).and_then(|before| elf.code(before)).and_then(|before| before.first());
    matches!(before, Some(0xcc | 0x90 | 0xc3))
}

/// `endbr64`, `push`, `sub` of the stack pointer.
fn makes_frame(code: &[u8]) -> bool {
    matches!(
        code,
        [0xf3, 0x0f, 0x1e, 0xfa, ..] | [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..] | [0x48, 0x81 | 0x83, 0xec, ..]
    )
}
