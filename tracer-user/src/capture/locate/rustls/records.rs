//! Where rustls seals and opens records.
//!
//! A connection keeps its two ciphers as trait objects, the sealing one first, and counts the records of each direction.
//! Whatever the compiler makes of the functions around, a record passes one of two places:
//!
//! - **sealed**: the first method of a trait object is called with the object, the message and a count, all but the message
//!   out of one structure, after one more than that count was written back;
//! - **opened**: the same, but the count is written back after the call, where the result is good. This is the place that
//!   only successfully opened records pass.
//!
//! The distance between the count and the object must be the same in both directions but for one word, as the two objects
//! stand side by side, and so do the two counts. Where a build has no place of one direction, those of the other stand
//! alone. What remains is checked at run time: see the eBPF program.

use std::collections::{BTreeMap, VecDeque};

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register as R};
use memchr::{memchr_iter, memchr2_iter};

use super::super::elf::Elf;
use super::super::frames::Frames;
use super::super::{Address, MessageForm, RecordPlace};
use super::values::{Origin, Place, State, Value, Values};

/// Where a trait's first method stands in the table of a trait object: after the destructor, the size and the alignment.
const METHOD: u8 = 0x18;
/// A trait object: its data and its table.
const OBJECT: i64 = 16;
/// Distance of two counts.
const COUNT: i64 = 8;
/// Bytes before a call in which its arguments are prepared.
const SETUP: usize = 112;
/// Bytes of code before a call that are read: those, and what it takes for instructions to fall into step.
const BEFORE: usize = 192;
/// Beginnings in it that are tried: instructions of unknown bounds soon fall into step.
const TRIES: usize = 16;
/// Of which so many must meet the call, and agree.
const AGREEING: usize = 4;
/// Instructions read after a call, on all paths together.
const AFTER: usize = 320;
/// Paths that wait to be read.
const PATHS: usize = 16;
/// Calls in one file that are looked at. Codex, of 294 MB, has 6,300.
const MAX_CALLS: usize = 1 << 16;
/// Places of one direction in one file. The largest number seen is 6.
const MAX_SITES: usize = 64;
/// Longest function, bytes, whose bounds are used to check that a place is an instruction.
const MAX_FUNCTION: u64 = 1 << 20;
/// Farthest that a field may be from the register that points to its structure, bytes.
const MAX_FIELD: i64 = 1 << 16;

/// A place for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) address: u64,
    pub(super) place: RecordPlace,
}

#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) sealed: Vec<Site>,
    pub(super) opened: Vec<Site>,
}

/// One found place, before it is compared with those of the other direction.
struct Found {
    site: Site,
    /// From the trait object to the count.
    distance: i64,
}

/// `form` is that of the messages.
pub(super) fn find(elf: &Elf<'_>, form: MessageForm) -> Sites {
    let frames = Frames::of(elf);
    let (mut sealed, mut opened): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    let mut looked_at = 0;
    for (start, text) in elf.texts() {
        for at in calls(text) {
            looked_at += 1;
            if looked_at > MAX_CALLS {
                return Sites::default();
            }
            let call = |tries| Call::of(&before(start, text, at, tries)?, start + at as u64, &text[at..], form);
            let Some(call) = call(1).and_then(|_| call(TRIES)) else { continue };
            if let Some(found) = call.sealed() {
                sealed.push(found);
            } else {
                opened.extend(call.opened(elf));
            }
        }
    }
    let pairs = |sealed: &Found, opened: &Found| sealed.distance == opened.distance + COUNT;
    // Where only one direction has places, the other one is missed; places of any other kind were not seen in any build.
    if !sealed.is_empty() && !opened.is_empty() {
        sealed.retain(|one| opened.iter().any(|other| pairs(one, other)));
        opened.retain(|other| sealed.iter().any(|one| pairs(one, other)));
    }
    Sites { sealed: agreeing(elf, frames, sealed), opened: agreeing(elf, frames, opened) }
}

/// Each address once. Where two calls lead to one address they must agree on what stands where.
fn agreeing(elf: &Elf<'_>, frames: Option<Frames<'_>>, found: Vec<Found>) -> Vec<Site> {
    let mut sites: BTreeMap<u64, Option<RecordPlace>> = BTreeMap::new();
    for Found { site, .. } in found {
        let known = sites.entry(site.address).or_insert(Some(site.place));
        *known = known.filter(|known| *known == site.place);
    }
    let whole = sites.len() <= MAX_SITES;
    let sites = sites.into_iter().filter_map(|(address, place)| Some(Site { address, place: place? }));
    sites.filter(|site| whole && frames.is_none_or(|frames| begins(elf, frames, site.address))).collect()
}

/// Whether an instruction begins at the address, as far as the unwinding table tells.
fn begins(elf: &Elf<'_>, frames: Frames<'_>, address: u64) -> bool {
    let Some(function) = frames.holding(elf, address) else { return true };
    if function.end - function.start > MAX_FUNCTION {
        return true;
    }
    let Some(code) = elf.code(function.start) else { return false };
    let mut decoder = Decoder::with_ip(64, code, function.start, DecoderOptions::NONE);
    while decoder.ip() < address && decoder.can_decode() {
        let _ = decoder.decode();
    }
    decoder.ip() == address
}

/// Where a first method may be called: `call [table+0x18]`, or `call register` after `mov register, [table+0x18]`.
fn calls(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr_iter(0xff, text).filter_map(|at| {
        let before = &text[at.saturating_sub(SETUP)..at];
        let is_call = match text[at + 1..] {
            // The lower bits are the register; 4 stands for a form with one more byte.
            [0x50..=0x53 | 0x55..=0x57, METHOD, ..] | [0x54, 0x24, METHOD, ..] => true,
            [0xd0..=0xd7, ..] => memchr_iter(METHOD, before).any(|at| at > 1 && before[at - 2] == 0x8b),
            _ => false,
        };
        // The upper eight registers take a prefix.
        let at = if before.last() == Some(&0x41) { at - 1 } else { at };
        (is_call && prepares(before)).then_some(at)
    })
}

/// Spares most calls a closer look: whether the second and the fourth argument are set, and two neighbouring words
/// fetched.
fn prepares(code: &[u8]) -> bool {
    let mut seen = [0; SETUP];
    let mut number = 0;
    let (mut second, mut fourth, mut object) = (false, false, false);
    for at in memchr2_iter(0x8b, 0x89, code) {
        let byte = |distance: usize| code.get(at + distance).copied().unwrap_or(0);
        let Some(prefix) = at.checked_sub(1).map(|at| code[at]).filter(|prefix| prefix & 0xf8 == 0x48) else {
            continue;
        };
        let form = byte(1);
        let is_load = code[at] == 0x8b;
        // The register written to, if it is one of the lower eight.
        let target = match (is_load, form >> 6) {
            (true, _) if prefix & 4 == 0 => form >> 3 & 7,
            (false, 3) if prefix & 1 == 0 => form & 7,
            _ => 0,
        };
        second |= target == R::RSI.number() as u8;
        fourth |= target == R::RCX.number() as u8;
        // The stack pointer, and its neighbour in the upper half, take one more byte.
        let first = if form & 7 == 4 { 3 } else { 2 };
        let offset = match form >> 6 {
            _ if !is_load => continue,
            0 => 0,
            1 => i32::from(byte(first).cast_signed()),
            2 => i32::from_le_bytes([byte(first), byte(first + 1), byte(first + 2), byte(first + 3)]),
            _ => continue,
        };
        object |= seen[..number].iter().any(|known: &i32| known.abs_diff(offset) == 8);
        seen[number] = offset;
        number += 1;
    }
    second && fourth && object
}

/// The instructions that lead to the one at `at` without a call or a jump in between, as far as they are certain.
fn before(start: u64, text: &[u8], at: usize, tries: usize) -> Option<Vec<Instruction>> {
    let from = at.saturating_sub(BEFORE);
    let mut agreed: Option<Vec<Instruction>> = None;
    let mut met = 0;
    for begin in from..(from + TRIES).min(at) {
        let mut decoder = Decoder::with_ip(64, &text[begin..at], start + begin as u64, DecoderOptions::NONE);
        let read: Vec<Instruction> = decoder.iter().collect();
        if read.last().is_none_or(Instruction::is_invalid) {
            continue;
        }
        met += 1;
        agreed = Some(match agreed {
            None => read,
            Some(known) => {
                let same = known.iter().rev().zip(read.iter().rev()).take_while(|(a, b)| a.ip() == b.ip()).count();
                known[known.len() - same..].to_vec()
            }
        });
        if met == tries {
            break;
        }
    }
    let mut agreed = agreed.filter(|_| met >= AGREEING.min(tries))?;
    let leaves = |one: &Instruction| !matches!(one.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
    let first = agreed.iter().rposition(|one| leaves(one) || one.is_invalid()).map_or(0, |last| last + 1);
    Some(agreed.split_off(first))
}

/// A call of a first method, with the object and the count out of one structure.
struct Call {
    values: Values,
    /// The instructions before, each with what is known there.
    before: Vec<(Instruction, State)>,
    /// What is known at the call.
    state: State,
    next: u64,
    address: u64,
    object: Place,
    count: Value,
    form: MessageForm,
}

impl Call {
    fn of(before: &[Instruction], address: u64, code: &[u8], form: MessageForm) -> Option<Self> {
        let mut values = Values::new();
        let mut state = values.state();
        let mut steps = Vec::with_capacity(before.len());
        for instruction in before {
            steps.push((*instruction, state.clone()));
            state.step(&mut values, instruction);
        }
        let call = Decoder::with_ip(64, code, address, DecoderOptions::NONE).decode();
        let word = |register: R| match values.origin(state.register(register)) {
            Origin::Word(place) => Some(place),
            _ => None,
        };
        let object = word(R::RSI)?;
        let method = match (call.code(), call.op0_kind()) {
            (Code::Call_rm64, OpKind::Register) => word(call.op0_register())?,
            (Code::Call_rm64, OpKind::Memory) => state.operand(&values, &call)?,
            _ => return None,
        };
        let is_object = method.offset == i64::from(METHOD)
            && matches!(values.origin(method.base), Origin::Word(table) if table == object.plus(8));
        let count = state.register(R::RCX);
        is_object.then_some(Self { values, before: steps, state, next: call.next_ip(), address, object, count, form })
    }

    /// The count was raised before.
    fn sealed(&self) -> Option<Found> {
        let raised = self.values.place(self.count).plus(1);
        let is_raised = |at: &Place, value: Value| at.base == self.object.base && self.values.place(value) == raised;
        let (at, _) = self.state.stores().find(|(at, value)| is_raised(at, *value))?;
        let distance = at.offset - self.object.offset;
        let message = self.values.place(self.state.register(R::RDX));
        let found = |address: u64, state: &State, raised: bool| {
            let message = match state.registers().find(|(number, _)| *number == R::RDX.number()) {
                Some((number, value)) if self.values.place(value) == message => {
                    Address { register: number as u8, offset: 0 }
                }
                _ => self::address(&self.values, state, message)?,
            };
            let object = self::address(&self.values, state, self.object)?;
            let count_distance = i32::try_from(distance).ok()?;
            let place = RecordPlace { object, message, count_distance, raised, form: self.form };
            Some(Found { site: Site { address, place }, distance })
        };
        if !is_near(distance) {
            return None;
        }
        // The call itself, or the last instruction before where the structure is still known, down to the one that
        // raises the count. The message must be whole there.
        found(self.address, &self.state, true).or_else(|| {
            for (instruction, state) in self.before.iter().rev() {
                let writes = instruction.op0_kind() == OpKind::Memory && instruction.mnemonic() != Mnemonic::Cmp;
                let last = writes || instruction.flow_control() != FlowControl::Next;
                let raises = writes && state.operand(&self.values, instruction) == Some(at);
                let found = found(instruction.ip(), state, !raises);
                if found.is_some() && (raises || !last) {
                    return found;
                }
                if last {
                    break;
                }
            }
            None
        })
    }

    /// All places after the call where the count is raised.
    fn opened(mut self, elf: &Elf<'_>) -> Vec<Found> {
        let result = self.values.place(self.state.register(R::RDI));
        self.state.call(&mut self.values);
        let mut paths = VecDeque::from([(self.next, self.state.clone())]);
        let (mut found, mut left) = (Vec::new(), AFTER);
        // The nearest branches first: what the call has come to is looked at soon, and errors are handled at length.
        while let Some((address, mut state)) = paths.pop_front() {
            let Some(code) = elf.code(address) else { continue };
            for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
                left = left.saturating_sub(1);
                if left == 0 || instruction.is_invalid() {
                    break;
                }
                if let Some(one) = self.raised(&state, &instruction, result) {
                    found.push(one);
                    break;
                }
                match instruction.flow_control() {
                    FlowControl::Next => state.step(&mut self.values, &instruction),
                    FlowControl::ConditionalBranch if paths.len() < PATHS => {
                        paths.push_back((instruction.near_branch_target(), state.clone()));
                    }
                    FlowControl::UnconditionalBranch if instruction.op0_kind() == OpKind::NearBranch64 => {
                        paths.push_back((instruction.near_branch_target(), state));
                        break;
                    }
                    _ => break,
                }
            }
        }
        found
    }

    /// Whether the instruction writes the raised count back: to the structure that the object came from, or, if the
    /// compiler has fetched the address of that structure anew, to the same distance in another.
    fn raised(&mut self, state: &State, instruction: &Instruction, result: Place) -> Option<Found> {
        let writes = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Inc | Mnemonic::Add | Mnemonic::Sub);
        if !writes || instruction.op0_kind() != OpKind::Memory || instruction.memory_size().size() != 8 {
            return None;
        }
        let at = state.operand(&self.values, instruction)?;
        let mut after = state.clone();
        let old = state.load(&mut self.values, at);
        after.step(&mut self.values, instruction);
        let new = after.load(&mut self.values, at);
        let raises = |count: Value| self.values.place(new) == self.values.place(count).plus(1);
        let same = match self.values.origin(self.count) {
            Origin::Word(from) if from.base == self.object.base => {
                from.offset == at.offset && (raises(self.count) || raises(old))
            }
            // It was fetched long before.
            _ => at.base == self.object.base && raises(self.count),
        };
        let distance = at.offset - self.object.offset;
        if !same || !is_near(distance) {
            return None;
        }
        // The sealing object stands before the opening one.
        let object = Place { base: at.base, offset: self.object.offset - OBJECT };
        let place = RecordPlace {
            object: address(&self.values, state, object)?,
            message: address(&self.values, state, result)?,
            count_distance: i32::try_from(OBJECT + distance).ok()?,
            raised: false,
            form: self.form,
        };
        Some(Found { site: Site { address: instruction.ip(), place }, distance })
    }
}

/// A register from which the place is reached; the stack pointer first.
fn address(values: &Values, state: &State, place: Place) -> Option<Address> {
    let stack = R::RSP.number();
    let registers = || state.registers();
    let ordered = registers().filter(|(number, _)| *number == stack).chain(registers());
    ordered.map(|(number, value)| (number, values.place(value))).find(|(_, held)| held.base == place.base).and_then(
        |(number, held)| {
            let offset = place.offset.checked_sub(held.offset)?;
            Some(Address { register: u8::try_from(number).ok()?, offset: i32::try_from(offset).ok()? })
        },
    )
}

fn is_near(distance: i64) -> bool {
    distance > 0 && distance < MAX_FIELD && distance % 8 == 0
}
